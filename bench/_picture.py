"""Take a picture of a page, for the docs."""

import shutil
from pathlib import Path

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def picture(page: Path, selector: str, to: Path, *, width: int = 900) -> None:
    """Save what `selector` finds on a page as a PNG, drawn by the installed Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.goto(page.resolve().as_uri())
        place = tab.locator(selector).first
        place.evaluate("element => { element.style.padding = '8px'; }")
        tab.evaluate("dispatchEvent(new Event('resize'))")
        place.screenshot(path=to)
        browser.close()
