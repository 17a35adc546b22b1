"""The page of an evaluation in a real Chromium: drawn whole in light and dark and on a telephone, clean by axe-core.

make pictures    # takes its picture for README.md, too: of the tiny preset on drawn scenes
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

from backend.command import cli
from backend.command.evaluation.comparison_pages import comparison_to_html
from backend.command.evaluation.examples import examples_of
from backend.command.evaluation.page import result_to_html
from ovdiff.evaluation.comparison import compare_evaluations
from ovdiff.evaluation.ranking import RankedImages
from ovdiff.evaluation.result import Result
from tests.end_to_end.test_page import axe
from tests.fakes.coloured_dataset import Squares
from tests.fakes.engine import FakeEngine
from tests.fakes.evaluations import HalfBlind, evaluated
from tests.fakes.explaining_engine import ExplainingEngine

__all__ = ["axe"]  # a fixture

pytestmark = pytest.mark.browser

_TELEPHONE_PX, _WIDE_PX = 400, 1000
_PICTURE_PX = (920, 645)
_OVERFLOW_PX = "return document.documentElement.scrollWidth - document.documentElement.clientWidth;"
_LOADED = "return performance.getEntriesByType('resource').map((entry) => entry.name).filter((n) => !/^data:/.test(n));"
_RUN_AXE = "const done = arguments[arguments.length - 1]; axe.run(document).then(done);"
_NOT_DRAWN = """
    const seen = [...document.querySelectorAll("h1, h2, h3, .tile, svg[role=img], figcaption, .triple img")];
    return seen.filter((e) => !(e.getBoundingClientRect().width > 0) || e.naturalWidth === 0).map((e) => e.outerHTML);
"""
_SHOW_IMAGES = """
    const title = [...document.querySelectorAll("h2")].find((each) => each.innerText === "Images");
    title.closest("section").scrollIntoView();
"""


@pytest.fixture
def evaluation(tmp_path: Path) -> Result:
    """Evaluate coloured squares by an engine that explains."""
    return evaluated(tmp_path / "one", ExplainingEngine(tmp_path / "bank", "sees"), Squares(12)())


def _page(tmp_path: Path, result: Result) -> str:
    engine, dataset = ExplainingEngine(tmp_path / "bank", "sees"), Squares(12)()
    ranked = RankedImages(dataset.images[:3], dataset.images[3:5], dataset.images[5:7])
    examples = tuple(examples_of(engine, dataset, ranked, dict.fromkeys(dataset.images, 0.5)))
    path = tmp_path / "report.html"
    path.write_text(result_to_html(result, examples))
    return path.as_uri()


def _with_many_classes(result: Result, count: int = 171) -> Result:
    row = result.figures["categories"][1]
    confusion = [[0] * (count + 1) for _ in range(count + 1)]
    for label in range(count + 1):
        confusion[label][label] = 90
        confusion[label][(label * 7) % (count + 1)] += 10
    rows = [{**row, "name": f"a class with a long name {number}"} for number in range(count)]
    categories = tuple({"name": each["name"], "prompts": [each["name"]], "kind": ""} for each in rows)
    figures = {**result.figures, "categories": rows, "confusion": confusion}
    return replace(result, figures=figures, categories=categories)


def _require_clean(browser: webdriver.Chrome, page: str, axe_script: str) -> None:
    """Make sure that a page is drawn whole and asks for nothing, light and dark, wide and on a telephone."""
    for scheme, width_px in (("light", _WIDE_PX), ("dark", _WIDE_PX), ("dark", _TELEPHONE_PX)):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        metrics = {"width": width_px, "height": 900, "deviceScaleFactor": 1, "mobile": width_px == _TELEPHONE_PX}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(page)
        browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; });")
        assert browser.execute_script(_NOT_DRAWN) == []
        assert browser.execute_script(_OVERFLOW_PX) == 0, (scheme, width_px)
        assert browser.execute_script(_LOADED) == []
        browser.execute_script(axe_script)
        found: dict[str, Any] = browser.execute_async_script(_RUN_AXE)
        assert len(found["passes"]) > 20, "axe looked at the page"
        # axe cannot judge the contrast of text in a chart, nor of cells that are scrolled out of sight
        unsure = [
            each["id"]
            for each in found["incomplete"]
            if each["impact"] in ("serious", "critical") and each["id"] != "color-contrast"
        ]
        assert [each["id"] for each in found["violations"]] == [] == unsure, (scheme, width_px)
    assert browser.get_log("browser") == [], "nothing against the policy"


def test_the_page_is_drawn_and_clean(browser: webdriver.Chrome, tmp_path: Path, evaluation: Result, axe: str) -> None:
    _require_clean(browser, _page(tmp_path, evaluation), axe)
    assert len(browser.find_elements("css selector", ".triple img")) == 21


def test_the_page_of_many_classes_can_be_read(browser: webdriver.Chrome, tmp_path: Path, evaluation: Result) -> None:
    browser.get(_page(tmp_path, _with_many_classes(evaluation)))
    assert browser.execute_script(_NOT_DRAWN) == []
    assert browser.execute_script(_OVERFLOW_PX) == 0
    chart = browser.find_element("css selector", 'svg[aria-label^="Confusion matrix"]')
    assert chart.size["width"] > 171 * 12, "its labels keep their size, so it is scrolled"


def test_a_comparison_is_drawn_and_clean(browser: webdriver.Chrome, tmp_path: Path, axe: str) -> None:
    evaluated(tmp_path / "a", FakeEngine(tmp_path / "bank", "sees"), Squares(12)())
    evaluated(tmp_path / "b", HalfBlind(tmp_path / "bank"), Squares(12)())
    (tmp_path / "page.html").write_text(comparison_to_html(compare_evaluations((tmp_path / "a", tmp_path / "b"))))
    _require_clean(browser, (tmp_path / "page.html").as_uri(), axe)


def test_its_picture_is_taken(browser: webdriver.Chrome, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder: Path | None = request.config.getoption("--pictures")
    if folder is None:
        pytest.skip("It evaluates for a minute, for a picture that only `make pictures` wants.")
    bank, out = tmp_path / "bank", tmp_path / "out"
    line = f"evaluate drawn --preset tinyworld --limit 9 --bank {bank} --out {out} --quiet"
    assert cli.main(line.split()) == 0
    width, height = _PICTURE_PX
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get((out / "report.html").as_uri())
    browser.execute_script(_SHOW_IMAGES)
    browser.save_screenshot(str(folder / "evaluation.png"))
