"""The page says what the result files say, and nothing else."""

import json
import re
import tomllib
from html import unescape
from html.parser import HTMLParser

import pytest

from limbeck._errors import DataError, StorageError
from limbeck.report import write_page
from limbeck.results import write_results
from tests.report import examples


class _Page(HTMLParser):
    """Tags, attributes, and the text outside of scripts and styles."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.code: list[str] = []
        self._inside = ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "code":
            self.code.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "code":
            self.code[-1] += data
        if self._inside not in ("script", "style"):
            self.text += data


@pytest.fixture
def page(tmp_path):
    def build(report, details):
        write_results(tmp_path, report, details)
        return _Page(write_page(tmp_path).read_text(encoding="utf-8"))

    return build


def _words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("make", [examples.helped_images, examples.hurt, examples.regression])
def test_the_verdict_is_the_one_heading_on_top(page, make):
    report, details = make()
    built = page(report, details)
    assert [tag for tag, _ in built.tags].count("h1") == 1
    assert report.verdict.sentence in _words(built.text)
    assert f"verdict {report.verdict.outcome.replace(' ', '-')}" in {
        attributes.get("class") for _, attributes in built.tags
    }


def test_the_table_shows_each_model_in_human_units(page):
    text = _words(page(*examples.helped_images()).text)
    for shown in ("97.2 %", "86.3 ± 0.7 %", "93.2 ± 0.6 %", "n = 5", "132 k", "4.81 k"):
        assert shown in text
    for shown in ("528 KB", "264 k", "0.092 ms", "1.61 ms", "9.4 %", "27\u00d7 smaller"):
        assert shown in text


def test_several_students_have_a_table_of_all(page):
    assert "All students" in page(*examples.helped_images()).text
    assert "All students" not in page(*examples.hurt()).text


def test_warnings_are_shown(page):
    report, details = examples.hurt()
    assert report.warnings[0] in page(report, details).text


def test_a_lower_score_that_is_better_is_a_gain(page):
    text = _words(page(*examples.language_model()).text)
    assert "lower is better" in text
    assert "+0.0416" in text
    assert "above 0: a lower cross entropy" in text


def test_what_does_not_apply_is_left_out(page):
    text = _words(page(*examples.regression()).text)
    for absent in ("Calibration", "Agreement", "Gain by class", "Reliability", "disagree", "KL"):
        assert absent not in text
    assert "There is no break-even" in text
    assert "None" not in text


def test_almost_empty_results_still_make_a_page(page):
    built = page(*examples.bare())
    assert "Nothing was stored" in built.text
    assert "None" not in built.text
    assert "script" not in {tag for tag, attributes in built.tags if "type" not in attributes}


def test_counts_are_grouped_in_one_way(page):
    report, details = examples.helped_images()
    data = {"train": 12_345, "labelled": 1_234, "validation": 2_345, "test": 3_456}
    text = page(report.model_copy(update={"data": data}), details).text
    for count in ("the 1\u202f234 labelled samples", "12\u202f345 train", "1\u202f234 labelled,"):
        assert count in _words(text.replace("\u202f", "_")).replace("_", "\u202f")
    assert not re.search(r"\d,\d{3}", text)


def test_how_the_targets_were_stored_is_told(page):
    text = _words(page(*examples.language_model()).text)
    for shown in ("topk", "42.3 B per row", "260 B", "0.012", "99.97 %", "Biased: what was not"):
        assert shown in text


def test_the_recipe_on_the_page_is_the_recipe_of_the_run(page):
    report, details = examples.hostile()
    shown = page(report, details).code[-1]

    def said(value):
        if isinstance(value, dict):
            return {key: said(inner) for key, inner in value.items() if inner is not None}
        return value

    assert tomllib.loads(shown) == said(report.recipe)
    assert "hidden = [64, 16]" in shown


def test_the_command_that_runs_it_again_is_there(page):
    assert "limbeck run recipe.toml" in page(*examples.hurt()).code


def test_text_from_data_makes_no_tag(page):
    expected = [tag for tag, _ in page(*examples.hostile()).tags]
    report, details = examples.hostile()
    tame = json.loads(
        json.dumps([report.model_dump(mode="json"), details.model_dump(mode="json")])
        .replace("<", "(")
        .replace(">", ")")
    )
    built = page(type(report).model_validate(tame[0]), type(details).model_validate(tame[1]))
    assert expected == [tag for tag, _ in built.tags]
    assert "img" in expected  # the sample's image is the only one
    assert expected.count("img") == 1


def test_text_from_data_is_shown_as_it_is(page):
    report, details = examples.hostile()
    built = page(report, details)
    assert report.recipe["name"] in built.text
    assert examples.HOSTILE in built.text


def test_data_in_scripts_cannot_end_them(tmp_path):
    write_results(tmp_path, *examples.hostile())
    source = write_page(tmp_path).read_text(encoding="utf-8")
    block = re.search(r'<script id="figures" type="application/json">(.*?)</script>', source, re.S)
    assert block is not None
    assert "<" not in block[1]
    names = json.loads(block[1])["class_gain"]["layout"]["yaxis"]["ticktext"]
    assert unescape(names[0]).startswith(examples.HOSTILE[:20])


def test_only_so_many_disagreements_are_shown(page):
    report, details = examples.helped_images()
    many = details.model_copy(update={"disagreements": details.disagreements * 5})
    built = page(report, many)
    assert [tag for tag, _ in built.tags].count("img") == 24
    assert "The first 24 of 35" in _words(built.text)


def test_nothing_on_the_page_is_asked_from_elsewhere(page):
    built = page(*examples.hostile())
    places = [
        attributes[name] or ""
        for _, attributes in built.tags
        for name in ("src", "href", "action", "srcset")
        if name in attributes
    ]
    assert places
    assert all(place.startswith("data:") for place in places)


def test_the_plotting_library_is_in_the_file_once(tmp_path):
    write_results(tmp_path, *examples.helped_images())
    source = write_page(tmp_path).read_text(encoding="utf-8")
    assert source.count("* plotly.js v") == 1
    assert len(source) < 5_500_000


def test_missing_results_are_an_error_that_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match=r"no result file .*report\.json. Run `limbeck run"):
        write_page(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    write_results(tmp_path, *examples.bare())
    (tmp_path / "report.html").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*report\.html"):
        write_page(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"details.json", "report.json", "report.html"}
