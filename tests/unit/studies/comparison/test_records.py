import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aajr.arena.records.evaluation import Score
from aajr.report.provenance import machine_facts, version_facts
from aajr.studies.comparison.records import Results, Run, read_results, write_results
from tests.unit.studies.comparison.synthetic_results import make_results, make_run


@pytest.fixture
def written(tmp_path):
    """Writes the synthetic results after an edit of the JSON value."""

    def write(edit):
        path = tmp_path / "results.json"
        write_results(make_results(seeds=1), path)
        value = json.loads(path.read_text())
        edit(value)
        path.write_text(json.dumps(value))
        return path

    return write


def test_round_trip_is_exact(tmp_path):
    results = make_results(protocol={"nested": {"list": [1, [2.5, None]], "flag": True}})
    write_results(results, tmp_path / "deep" / "results.json")
    assert read_results(tmp_path / "deep" / "results.json") == results
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["results.json"]


@given(
    success=st.floats(0, 1),
    returns=st.floats(-1e12, 1e12),
    attack=st.text(min_size=1).filter(str.strip),
)
def test_round_trip_keeps_every_bit(tmp_path_factory, success, returns, attack):
    path = tmp_path_factory.mktemp("bits") / "results.json"
    score = Score(attack, 0.1, success=success, episodes=7, mean_return=returns)
    run = Run(method="plain", seed=0, split="final", threat="full", scores=(score,))
    write_results(Results(preset="smoke", runs=(run,)), path)
    back = read_results(path).runs[0].scores[0]
    assert back == score
    assert math.copysign(1, back.mean_return) == math.copysign(1, returns)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda v: v.update(schema_version=3),
            r"schema_version=3: .* less than or equal to 2; run",
        ),
        (lambda v: v.update(schema_version=True), r"schema_version=True"),
        (lambda v: v.pop("schema_version"), r"schema_version=None"),
        (lambda v: v.pop("preset"), r"preset: Field required; run `aajr reproduce`"),
        (lambda v: v.update(extra=1), r"extra=1: Unexpected"),
        (lambda v: v.update(runs={}), r"runs={}: .* valid tuple"),
        (lambda v: v.update(machine=[]), r"machine=\[\]: .* valid dictionary"),
        (lambda v: v.update(reference_epsilon=0), r"reference_epsilon=0: .* greater than 0"),
        (lambda v: v["runs"].append(3), r"runs\[8\]=3: .* dictionary"),
        (lambda v: v["runs"].append(v["runs"][0]), r"'plain'.*more than once"),
        (lambda v: v["runs"][3].pop("seed"), r"runs\[3\]\.seed: Field required"),
        (lambda v: v["runs"][1].update(split="test"), r"runs\[1\]\.split='test'.*'validation'"),
        (lambda v: v["runs"][1].update(threat=[]), r"runs\[1\]\.threat=\[\]: .*'full'"),
        (lambda v: v["runs"][1].update(weight="big"), r"runs\[1\]\.weight='big'"),
        (lambda v: v["runs"][1].update(selected=1), r"runs\[1\]\.selected=1: .*boolean"),
        (lambda v: v["runs"][1].update(scores="x"), r"runs\[1\]\.scores='x': .*tuple"),
        (lambda v: v["runs"][1].update(critic_r2=[1.5]), r"runs\[1\]\.critic_r2\[0\]=1.5"),
        (
            lambda v: v["runs"][1].update(gradient_norm={"mean": 1}),
            r"gradient_norm: the keys are \['mean'\]",
        ),
        (lambda v: v["runs"][1].update(diagnostics={"a": None}), r"diagnostics\.a=None"),
        (
            lambda v: v["runs"][2]["scores"][1].update(success=1.7),
            r"results.json: runs\[2\]\.scores\[1\]\.success=1.7: .* less than or equal to 1; run",
        ),
        (lambda v: v["runs"][2]["scores"][1].update(success=10**400), r"success=1000"),
        (lambda v: v["runs"][2]["scores"][1].update(episodes=0), r"episodes=0"),
        (lambda v: v["runs"][2]["scores"].append(v["runs"][2]["scores"][0]), r"more than once"),
        (lambda v: v["floors"][0]["scores"][0].pop("attack"), r"floors\[0\]\.scores\[0\]\.attack"),
    ],
)
def test_corrupt_values_are_named(written, edit, message):
    path = written(edit)
    with pytest.raises(ValueError, match=message) as caught:
        read_results(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not whole JSON"),
        ('{"schema_version": 1, "preset": "smo', "not whole JSON"),
        ("[" * 100_000, "not whole JSON"),
        ("[]", r"top level=\[\]: "),
        ("null", "top level=None: "),
        (
            '{"schema_version": 1, "preset": "a", "reference_epsilon": NaN}',
            "reference_epsilon=nan: .*finite",
        ),
        (
            '{"schema_version": 1, "preset": "a", "reference_epsilon": 1e999}',
            "reference_epsilon=inf: .*finite",
        ),
    ],
)
def test_corrupt_files_are_named(tmp_path, text, message):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_results(path)


def test_binary_missing_and_directory(tmp_path):
    (tmp_path / "binary.json").write_bytes(b"\x80\x04\x95\xff")
    with pytest.raises(ValueError, match="not whole JSON"):
        read_results(tmp_path / "binary.json")
    with pytest.raises(ValueError, match="not whole JSON"):
        read_results(tmp_path)
    with pytest.raises(FileNotFoundError, match="aajr reproduce"):
        read_results(tmp_path / "none.json")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), True, None, "0.5", -0.1, 1.1])
def test_scores_refuse_what_is_no_success(bad):
    with pytest.raises(ValueError, match=r"Score\nsuccess\n.*Input should be"):
        Score("none", 0.0, success=bad, episodes=500, mean_return=0.0)


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_results(make_results(seeds=1), path)
    before = path.read_bytes()
    monkeypatch.setattr(json, "dumps", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_results(make_results(seeds=2), path)
    assert path.read_bytes() == before


def test_records_are_frozen_and_copy_their_mappings():
    facts = {"mean": 1.0, "variance": 0.0, "largest_over_median": 1.0}
    run = make_run("plain", 0, 0.7, 1.0, gradient_norm=facts)
    facts["mean"] = 9.0
    assert run.gradient_norm["mean"] == 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.seed = 3


def test_facts_fit_into_results_and_name_no_host():
    import platform

    results = Results(preset="smoke", machine=machine_facts(), versions=version_facts())
    assert results.machine["logical_cores"] >= 1
    assert results.versions["torch"] == torch.__version__
    assert platform.node() not in json.dumps(results.machine)
    assert version_facts(("no-such-package",)) == {}
