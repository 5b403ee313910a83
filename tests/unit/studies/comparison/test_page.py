import dataclasses
import re
from html.parser import HTMLParser

import pytest

from aajr.studies.comparison.page import Chapter, write_report
from aajr.studies.comparison.records import Results, read_results
from tests.unit.studies.comparison.synthetic_results import make_results, make_run

VOID = {"meta", "img", "br"}
HOSTILE = "<script>alert('x')</script>&\"' onerror=1"


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that every element is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.links, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def parse(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    write_report(Chapter(make_results()), directory)
    return directory


def test_all_files_are_written(report):
    assert read_results(report / "results.json") == make_results()
    assert len(list((report / "plots").glob("*.png"))) == 6
    assert len(list((report / "plots").glob("*.svg"))) == 6
    assert {path.name for path in report.iterdir()} == {"results.json", "plots", "report.html"}


def test_the_page_needs_nothing_else(report):
    reader = parse(report / "report.html")
    assert not {"script", "link", "iframe"} & set(reader.tags)
    assert len(reader.links) == 6
    assert all(link.startswith("data:image/svg+xml;base64,") for link in reader.links)
    style = (report / "report.html").read_text().partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_the_page_tells_all(report):
    text = " ".join("".join(parse(report / "report.html").words).split())
    for needed in (
        "78†",
        "not reproduced",
        "aajr reproduce --preset synthetic",
        "final seeds0, 1, 2, 3, 4",
        "hiders: 5; seekers: 5",
        "logical cores2",
        "aajr0.1.0",
        "L∞ radius in units of the observation",
        "What this preset can and cannot show",
        "AAJR does not win beyond chance: at matched clean success its frontier lies above global.",
    ):
        assert needed in text, needed


def test_the_same_results_give_the_same_bytes(report, tmp_path):
    write_report(Chapter(read_results(report / "results.json")), tmp_path)
    for path in report.rglob("*.*"):
        assert (tmp_path / path.relative_to(report)).read_bytes() == path.read_bytes(), path


def test_hostile_text_is_escaped(tmp_path):
    run = make_run(HOSTILE, 0, 0.5, 0.1, family=HOSTILE, weight=0.1)
    results = Results(
        preset=HOSTILE,
        runs=(run,),
        floors=(dataclasses.replace(run, method=HOSTILE),),
        command=HOSTILE,
        scope=HOSTILE,
        protocol={HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]},
        machine={"cpu": HOSTILE},
        versions={HOSTILE: HOSTILE},
    )
    write_report(Chapter(results), tmp_path)
    page = (tmp_path / "report.html").read_text()
    reader = parse(tmp_path / "report.html")
    assert "script" not in reader.tags
    assert "<script" not in page
    assert HOSTILE in "".join(reader.words)


@pytest.mark.parametrize("results", [Results(preset="smoke"), make_results(seeds=1)])
def test_little_data_gives_a_page(results, tmp_path):
    write_report(Chapter(results), tmp_path / "new" / "folder")
    text = "".join(parse(tmp_path / "new" / "folder" / "report.html").words)
    assert ("No run was finished" in text) == (not results.runs)
    assert re.search(r"Preset '(smoke|synthetic)'", text)
