"""The page as Chromium shows it: quiet, complete, and as wide as the screen."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limbeck.report import write_codec_curve, write_page, write_trials
from limbeck.results import write_results
from tests.conftest import missing
from tests.report import examples
from tests.report.test_codec_curve import POINTS
from tests.report.test_trials import SEARCH

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_PLOTS = {
    "helped_images": 7,
    "regression": 4,
    "language_model": 5,
    "hostile": 7,
    "bare": 0,
    "codecs": 1,
    "trials": 5,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        missing("no chromium on the PATH")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield found
        found.close()


class _Visit:
    """A page that was opened, what it asked for and what it complained about."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.tab = browser.new_page(**options)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("dialog", self._dismiss)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.goto(path.as_uri())
        self.wait_until("[...document.images].every(image => image.complete)")

    def wait_until(self, condition: str, argument: Any = None) -> None:
        """Ask from outside: the page's own policy lets nothing within it evaluate words."""
        until = time.monotonic() + 30
        while not self.tab.evaluate(condition, argument):
            assert time.monotonic() < until, f"never so: {condition}"
            time.sleep(0.02)

    def _dismiss(self, dialog: Any) -> None:
        self.complaints.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def count(self, selector: str) -> int:
        return int(self.tab.locator(selector).count())

    def resize(self, width: int) -> None:
        """Make the window so wide, and wait until every plot is as wide as its place."""
        self.tab.set_viewport_size({"width": width, "height": 900})
        self.wait_until(
            "[...document.querySelectorAll('.js-plotly-plot')].every("
            "plot => plot._fullLayout.width === plot.clientWidth)"
        )

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(self.tab.evaluate("document.documentElement.scrollWidth - innerWidth"))


def _written(folder: Path, name: str) -> Path:
    if name == "codecs":
        return write_codec_curve(folder, POINTS, title="mine", rows="Of twelve rows. " * 9)
    if name == "trials":
        return write_trials(folder, **SEARCH)
    write_results(folder, *getattr(examples, name)())
    return write_page(folder)


@pytest.mark.parametrize("name", _PLOTS)
def test_the_page_is_complete_and_quiet_and_fits(browser, tmp_path, name):
    path = _written(tmp_path, name)
    visit = _Visit(browser, path, viewport={"width": 375, "height": 900})
    for width in (375, 1280):
        visit.resize(width)
        assert visit.count(".js-plotly-plot") == visit.count("[data-figure]") == _PLOTS[name]
        drawn = visit.tab.evaluate(
            "[...document.querySelectorAll('.js-plotly-plot')].map("
            "plot => plot.querySelectorAll('svg .trace').length)"
        )
        assert all(traces > 0 for traces in drawn)
        assert visit.overflow() <= 0
        screenshot = tmp_path / f"{width}.png"
        visit.tab.screenshot(path=screenshot, full_page=True)
        assert screenshot.stat().st_size > 10_000
    assert visit.complaints == []
    assert visit.requests == [path.as_uri()]
    visit.tab.close()


@pytest.fixture(scope="module")
def narrow(browser, tmp_path_factory) -> Iterator[_Visit]:
    """On a narrow screen, the page of a run in which everyone scores the same."""
    folder = tmp_path_factory.mktemp("narrow")
    write_results(folder, *examples.all_equal())
    visit = _Visit(browser, write_page(folder), viewport={"width": 390, "height": 900})
    yield visit
    visit.tab.close()


@pytest.mark.parametrize("plot", ["score_and_size", "validation"])
def test_an_axis_of_fractions_ends_at_0_and_100_percent(narrow, plot):
    low, high = narrow.tab.evaluate(
        "name => document.querySelector(`[data-figure=${name}]`)._fullLayout.yaxis.range", plot
    )
    assert 0 <= low < high <= 1


def test_each_heading_ends_where_its_column_ends(narrow):
    ends = narrow.tab.evaluate(
        """[...document.querySelectorAll('.models tr')].map(row => [...row.cells].slice(1).map(
            cell => {
                const words = document.createRange();
                words.selectNodeContents(cell.firstChild);
                return words.getBoundingClientRect().right;
            }))"""
    )
    assert len(ends) > 5
    for row in ends:
        assert row == pytest.approx(ends[0], abs=1)


@pytest.fixture(scope="module")
def at_night(browser, tmp_path_factory) -> Iterator[_Visit]:
    """The page of images on a dark screen; opened once, because that takes seconds."""
    path = _written(tmp_path_factory.mktemp("night"), "helped_images")
    visit = _Visit(browser, path, color_scheme="dark", viewport={"width": 1280, "height": 900})
    yield visit
    visit.tab.close()


def test_plots_have_the_colours_of_the_page_by_night_and_by_day(at_night):
    for scheme, colour in (("dark", "#f0934d"), ("light", "#bf5712"), ("dark", "#f0934d")):
        at_night.tab.emulate_media(color_scheme=scheme)
        at_night.wait_until(
            "colour => document.querySelector('[data-figure=training_loss]')"
            ".data.at(-1).line.color === colour",
            colour,
        )
        shown = "getComputedStyle(document.documentElement).getPropertyValue('--student').trim()"
        assert at_night.tab.evaluate(shown) == colour


def test_on_paper_the_page_is_light_and_its_plots_fit(at_night):
    at_night.tab.evaluate(
        "addEventListener('beforeprint', () => { window.printed = "
        "[...document.querySelectorAll('.js-plotly-plot')].map(plot => "
        "[plot._fullLayout.width, plot._fullLayout.font.color]) })"
    )
    assert at_night.tab.pdf(format="A4").startswith(b"%PDF")
    printed = at_night.tab.evaluate("window.printed")
    assert len(printed) == _PLOTS["helped_images"]
    assert all(width <= 640 and colour == "#1d1f23" for width, colour in printed)


def test_a_few_pixels_are_shown_as_pixels(at_night):
    at_night.tab.wait_for_selector(".cards img.tiny")
    assert at_night.count(".cards img.tiny") == at_night.count(".cards img") == 7


def test_the_name_of_a_class_is_not_broken_in_a_card(at_night):
    lines = at_night.tab.evaluate(
        """[...document.querySelectorAll('.cards .said')].map(cell => {
            cell.textContent = 'trousers';
            const line = parseFloat(getComputedStyle(cell).lineHeight);
            return cell.getBoundingClientRect().height / line;
        })"""
    )
    assert len(lines) == 14
    assert max(lines) < 1.5
