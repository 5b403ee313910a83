"""Records survive their JSON files, those that are committed included."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aajr.arena.records.evaluation import (
    Assessment,
    Evaluation,
    Score,
    Trial,
    read_evaluation,
    write_evaluation,
)
from aajr.studies.comparison.records import Results, Run, read_results, write_results

RESULTS = Path(__file__).parents[4] / "results"

names = st.text(min_size=1).filter(str.strip)
shares = st.floats(0, 1)
amounts = st.floats(0, 1e300)
reals = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(1, 2**70)
plain = st.none() | st.booleans() | st.integers() | reals | st.text()
facts = st.dictionaries(
    st.text(),
    st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)),
    max_size=3,
)


@st.composite
def scores(draw, **fixed):
    made = {
        "attack": draw(names),
        "epsilon": draw(amounts),
        "success": draw(shares),
        "episodes": draw(counts),
        "mean_return": draw(reals),
        "changed_actions": draw(shares),
        "largest_perturbation": draw(amounts),
    }
    return Score(**made | fixed)


@st.composite
def trials(draw, **fixed):
    won = draw(st.text("01", min_size=1, max_size=9))
    return Trial(
        score=draw(scores(episodes=len(won), **fixed)),
        kind=draw(names),
        unit=draw(names),
        fixed=draw(st.booleans()) if not fixed else False,
        won=won,
        forward_passes=draw(amounts),
        backward_passes=draw(amounts),
        zero_gradients=draw(st.booleans()),
        coordination=draw(facts),
    )


@st.composite
def assessments(draw):
    clean = draw(trials(attack="none", epsilon=0.0))
    attacked = draw(trials(attack="noise", epsilon=draw(st.floats(0.1, 9))))
    return Assessment(
        checkpoint=draw(st.text()),
        method=draw(names),
        seed=draw(st.integers()),
        trials=(clean, attacked),
        preparation=draw(facts),
    )


@given(parts=st.lists(assessments(), max_size=2), text=st.text(), facts=facts, count=counts)
def test_any_evaluation_survives_its_file(tmp_path_factory, parts, text, facts, count):
    path = tmp_path_factory.mktemp("evaluation") / "evaluation.json"
    found = Evaluation(
        suite=facts,
        threat=text,
        unit=text,
        episodes=count,
        seed=count,
        opponents=(text,),
        assessments=tuple(parts),
        machine=facts,
    )
    write_evaluation(found, path, {"any": 1})
    assert read_evaluation(path) == found


@given(st.data())
def test_any_results_survive_their_file(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("results") / "results.json"
    optional = st.none() | amounts
    run = Run(
        method=data.draw(names),
        seed=data.draw(st.integers(0)),
        split=data.draw(st.sampled_from(["validation", "final"])),
        threat=data.draw(st.sampled_from(["full", "others", "actions"])),
        scores=tuple(data.draw(st.lists(scores(), max_size=1))),
        family=data.draw(st.none() | names),
        weight=data.draw(optional),
        selected=data.draw(st.booleans()),
        diagnostics=data.draw(st.dictionaries(names, amounts, max_size=2)),
        seconds_per_update=data.draw(optional),
        critic_r2=tuple(data.draw(st.lists(st.floats(-1e300, 1), max_size=2))),
        history={"success": tuple(data.draw(st.lists(reals, max_size=3)))},
    )
    found = Results(preset=data.draw(names), runs=(run,), protocol=data.draw(facts))
    write_results(found, path)
    assert read_results(path) == found


def test_the_committed_evaluation_is_written_again_byte_for_byte(tmp_path):
    committed = RESULTS / "evaluation/evaluation.json"
    found = read_evaluation(committed)
    write_evaluation(found, tmp_path / "again.json", json.loads(committed.read_text())["standings"])
    assert (tmp_path / "again.json").read_bytes() == committed.read_bytes()


@pytest.mark.parametrize("version", [1, 2])
def test_the_committed_results_stay_readable(tmp_path, version):
    facts = json.loads((RESULTS / "quick/results.json").read_text())
    if version == 1:  # lacks only the history
        facts["schema_version"] = 1
        for run in facts["runs"] + facts["floors"]:
            del run["history"]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(facts))
    found = dataclasses.asdict(read_results(path))
    assert found["schema_version"] == 2
    if version == 1:
        for run in found["runs"] + found["floors"]:
            assert run.pop("history") == {}
        found["schema_version"] = 1
    assert json.loads(json.dumps(found)) == facts
