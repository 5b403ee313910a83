"""What a study leaves behind, and figures with their intervals."""

import json

import numpy as np
import pytest
from rich.text import Text

from aajr.report.figures import Plot, blank_figure, heat_map
from aajr.report.study import StudyReport
from aajr.report.tables import Table
from aajr.report.wording import with_interval
from aajr.statistics.intervals import Interval

RESULTS = {"command": "aajr something", "value": 3}


def dot(results):
    figure = blank_figure(2, 2)
    figure.subplots().plot([results["value"]], [0], "o")
    return Plot("dot", "A dot.", figure)


def test_it_writes_results_tables_and_plots(tmp_path):
    table = Table("Heights", ("name", "metres\nof each"), (("A|da", "1.6\n1.5–1.7"),), ("A note.",))
    report = StudyReport(
        "Title of {value}",
        lambda results: [table, table],
        (dot,),
        lambda results: Text("It stands."),
    )
    report.write(RESULTS, tmp_path / "new")
    assert json.loads((tmp_path / "new/results.json").read_text()) == RESULTS
    section = (
        "## Heights\n\n| name | metres of each |\n|---|---:|\n| A\\|da | 1.6 1.5–1.7 |\n\nA note.\n"
    )
    expected = f"# Title of 3\n\n`aajr something`\n\nIt stands.\n\n{section}\n{section}"
    assert (tmp_path / "new/table.md").read_text() == expected
    assert {path.name for path in (tmp_path / "new/plots").iterdir()} == {"dot.png", "dot.svg"}


def test_without_plots_there_is_no_folder_for_them(tmp_path):
    StudyReport("Title", lambda results: []).write(RESULTS, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "table.md"}


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(0.614, 0.55, 0.66, 5), "0.61 (0.55 to 0.66)"),
        (Interval(0.614, None, None, 2), "0.61"),
    ],
)
def test_a_figure_with_its_interval(interval, text):
    assert with_interval(interval, "{:.2f}") == text
    assert with_interval(interval, "{:.2f}", "–") == text.replace(" to ", "–")


def test_a_heat_map_writes_each_number_in_its_cell():
    axis = blank_figure(3, 3).subplots()
    values = np.array([[10.0, 60.0], [np.nan, 99.6]])
    marks = {(0, 1): "*"}
    image = heat_map(
        axis, values, ["a", "b"], ["c", "d"], mark=lambda *cell: marks.get(cell, ""), rotation=30
    )
    written = {text.get_position(): (text.get_text(), text.get_color()) for text in axis.texts}
    assert written == {(0, 0): ("10", "white"), (1, 0): ("60*", "black"), (1, 1): ("100", "black")}
    assert image.get_clim() == (0, 100)
    assert [label.get_text() for label in axis.get_xticklabels()] == ["c", "d"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
