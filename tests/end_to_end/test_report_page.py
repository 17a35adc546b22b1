"""The report of corrections in a real Chromium: it is drawn whole, and asks for nothing that its policy forbids."""

from pathlib import Path

import pytest
from PIL import Image
from selenium import webdriver

from converters.label_studio.label_config import parse_label_config
from converters.report.evaluate_corrections import evaluate_corrections, write_evaluation
from converters.report.links import LabelStudioPages

pytestmark = pytest.mark.browser

_GOLDEN = Path(__file__).parents[1] / "converters/golden"
_TELEPHONE_PX = 400

# Everything that has no size although it should be seen, and images that could not be decoded.
_NOT_DRAWN = """
    const seen = [...document.querySelectorAll("h1, h2, .tile, svg[role=img], svg[role=img] text, figcaption")];
    const empty = seen.filter((e) => !(e.getBoundingClientRect().width > 0)).map((e) => e.outerHTML.slice(0, 80));
    return seen.length ? empty : ["nothing at all"];
"""
_OVERFLOW_PX = "return document.documentElement.scrollWidth - window.innerWidth;"
# Tables whose first column is so narrow that its words break letter by letter, and the order of the first sections.
_SQUEEZED = """
    const cells = [...document.querySelectorAll("section:not(.first) > .wide > table td:first-child")];
    return cells.filter((cell) => cell.getBoundingClientRect().width < 100).map((cell) => cell.innerText);
"""
_TITLES = "return [...document.querySelectorAll('h2')].map((title) => title.innerText);"
_COLOURS = "return ['backgroundColor', 'color'].map((name) => getComputedStyle(document.body)[name]);"


@pytest.fixture
def page(tmp_path: Path) -> str:
    """The report on the golden corrections, with pictures; its address."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(5):
        Image.new("RGB", (64, 48), (40 * number, 120, 90)).save(images / f"img{number}.png")
    config = parse_label_config((_GOLDEN / "corrections_config.xml").read_text(encoding="utf-8"))
    evaluation = evaluate_corrections(_GOLDEN / "corrections_snapshot.json", config)
    pages = LabelStudioPages("http://127.0.0.1:8080", 7)
    return write_evaluation(evaluation, tmp_path / "out", images=images, pages=pages)[2].as_uri()


def test_the_page_is_drawn_in_light_and_dark_and_on_a_telephone(browser: webdriver.Chrome, page: str) -> None:
    colours = []
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.get(page)
        assert browser.execute_script(_NOT_DRAWN) == []
        colours.append(browser.execute_script(_COLOURS))
    assert colours[0] != colours[1]
    metrics = {"width": _TELEPHONE_PX, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page)
    assert browser.execute_script(_OVERFLOW_PX) == 0
    assert len(browser.find_elements("css selector", "image")) == 2
    assert browser.execute_script(_SQUEEZED) == []
    assert browser.execute_script(_TITLES)[:5] == [
        "What to do first",
        "Categories",
        "Regions",
        "Annotators",
        "Sizes of objects",
    ]
    assert [link.get_attribute("href") for link in browser.find_elements("css selector", "figcaption a")] == [
        f"http://127.0.0.1:8080/projects/7/data?task={task}" for task in (2, 1)
    ]
    assert browser.get_log("browser") == [], "no request, no script, nothing against the policy"
