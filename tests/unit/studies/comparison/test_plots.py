import dataclasses
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from PIL import Image

from aajr.report.figures import save
from aajr.studies.comparison import plots as drawing
from aajr.studies.comparison.analysis import analyse
from aajr.studies.comparison.records import Results
from aajr.studies.comparison.response_plots import response_plot
from aajr.studies.methods import LOOKS
from tests.unit.studies.comparison.synthetic_results import make_results, make_run

KINDS = ("frontier", "success", "heatmap", "gradients", "sensitivity", "cost")


def draw(results):
    return [plot for found in analyse(results) for plot in drawing.draw(results, found)]


@pytest.fixture(scope="module")
def plots():
    return draw(make_results())


def test_every_plot_is_written_twice_and_opens(plots, tmp_path):
    paths = save(plots, tmp_path / "plots")
    expected = {f"{kind}_others.{suffix}" for kind in KINDS for suffix in ("png", "svg")}
    assert {path.name for path in paths} == expected
    for path in paths:
        if path.suffix == ".svg":
            assert ET.parse(path).getroot().tag.endswith("svg")
            continue
        pixels = np.asarray(Image.open(path).convert("L"))
        assert min(pixels.shape) > 150
        most = 0.9 if path.name.startswith("heatmap") else 0.5
        assert 0.005 < (pixels < 200).mean() < most


def test_bytes_depend_on_the_results_alone(plots, tmp_path):
    first = save(plots, tmp_path / "a")
    np.random.seed(1)
    second = save(draw(make_results()), tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert b"<dc:date>" not in (tmp_path / "a" / "cost_others.svg").read_bytes()


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    draw(make_results(seeds=1))
    assert dict(matplotlib.rcParams) == before


def test_frontier_shows_every_policy_where_it_is(plots):
    axis = plots[0].figure.axes[0]
    drawn = {
        (round(x, 6), round(y, 6))
        for group in axis.collections
        for x, y in group.get_offsets().tolist()
    }
    results = make_results()
    expected = set()
    for run in results.runs:
        if run.method != "plain":
            worst = min(score.success for score in run.scores if score.epsilon == 0.2)
            expected.add((round(100 * run.scores[0].success, 6), round(100 * worst, 6)))
    assert drawn == expected


def test_success_lines_have_the_heights_of_the_table(plots):
    axis = plots[1].figure.axes[0]
    labels = axis.get_legend_handles_labels()[1]
    assert labels == ["plain", "adversarial", "global", "AAJR"]
    clean = {
        run.seed: run.scores[0].success for run in make_results().runs if run.method == "plain"
    }
    middle = sorted(clean.values())[1:4]
    line = axis.get_legend_handles_labels()[0][0].lines[0]
    assert line.get_ydata()[0] == pytest.approx(100 * np.mean(middle))


def test_a_floor_is_one_line_at_the_mean_of_its_seeds():
    results = make_results()
    twice = tuple(
        dataclasses.replace(
            run,
            seed=9,
            scores=tuple(dataclasses.replace(s, success=s.success + 0.2) for s in run.scores),
        )
        for run in results.floors
    )
    axis = draw(dataclasses.replace(results, floors=results.floors + twice))[1].figure.axes[0]
    told = {text.get_text(): text.xy[1] for text in axis.texts}
    assert len(axis.texts) == len(told) == len({run.method for run in results.floors})
    for run in results.floors:
        assert told[run.method] == pytest.approx(100 * (run.scores[0].success + 0.1))


@pytest.mark.parametrize(
    ("results", "kinds"),
    [
        (Results(preset="smoke"), ()),
        (make_results(seeds=1), KINDS),
        (make_results(seeds=2, floors=()), KINDS),
        (
            Results(
                preset="smoke",
                runs=(
                    make_run(
                        "a $name_{x",
                        0,
                        0.5,
                        0.0,
                        diagnostics={},
                        gradient_norm={},
                        seconds_per_update=None,
                    ),
                ),
            ),
            ("success", "heatmap"),
        ),
    ],
)
def test_little_data_gives_fewer_plots(results, kinds, tmp_path):
    found = draw(results)
    assert tuple(plot.name.partition("_")[0] for plot in found) == kinds
    save(found, tmp_path)


def test_zero_gradients_and_wide_spreads_are_drawn(tmp_path):
    spikes = (0.0, 1.0, 1e6)
    runs = tuple(
        make_run(
            "plain",
            seed,
            0.5,
            0.1,
            gradient_norm={"mean": 0.0, "variance": 0.0, "largest_over_median": spike},
        )
        for seed, spike in enumerate(spikes)
    )
    save(draw(Results(preset="smoke", runs=runs)), tmp_path)


def test_each_threat_has_its_own_plots():
    results = make_results(seeds=1)
    moved = tuple(dataclasses.replace(run, threat="full") for run in results.runs)
    both = draw(dataclasses.replace(results, runs=results.runs + moved))
    assert len({plot.name for plot in both}) == len(both) == 2 * len(KINDS)


def test_methods_of_one_colour_differ_in_line_and_marker():
    looks = list(LOOKS.values())
    assert len(set(looks)) == len(looks)
    for colour in {look[0] for look in looks}:
        _, markers, lines = zip(*(look for look in looks if look[0] == colour), strict=True)
        assert len(set(markers)) == len(markers)
        assert len(set(lines)) == len(lines)


def test_responses_stand_beside_the_mean_and_the_median():
    lies = {"lie": (0.0, 1.0, 2.0), "belief": (0.0, 0.5, 0.25), "angle": (0.0, 0.1, 0.2)}
    estimates = {"mean": (0.0, 0.4, 0.8), "median": (0.0, 0.1, 0.1)}
    runs = [
        make_run("aajr", seed, 0.8, 1.0, response=lies | estimates | {"belief": (0.0, 0.5, end)})
        for seed, end in enumerate((0.25, 0.75))
    ]
    results = Results(preset="x", runs=tuple(runs))
    (analysis,) = analyse(results)
    belief, angle = response_plot(results, analysis).figure.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in belief.lines}
    assert lines["AAJR"] == [0.0, 0.5, 0.5]
    assert lines["median of the reports"] == [0.0, 0.1, 0.1]
    assert len(angle.lines) == 2  # one method, and the dotted ε
    bare = dataclasses.replace(results, runs=(make_run("aajr", 0, 0.8, 1.0),))
    assert response_plot(bare, *analyse(bare)) is None
