"""A task's page in a real Chromium, on the embedded models: a press on the image shows why a pixel has its label."""

import re
from collections.abc import Iterator

import numpy as np
import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from backend.pages.blueprint import add_pages
from backend.serving.http.app import create_app
from backend.settings import LabelStudioSettings, ServerSettings, Settings
from ovdiff.bank.lessons import LessonSource
from ovdiff.engines.learning import Learns
from ovdiff.learning.annotation import Annotation
from ovdiff.tinyworld.world import render, sample_scene
from ovdiff.vocabulary import Vocabulary
from tests.end_to_end.test_page import (
    PRESET,
    TIMEOUT_S,
    asked_nobody_else,
    axe,
    looks_right_everywhere,
    press,
    show,
    tab_to,
)
from tests.fakes.label_studio import LEGACY_TOKEN, PROJECT_UID, FakeLabelStudio, running
from tests.fakes.pictures import encoded
from tests.fakes.sockets import listening, port_of
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.browser

__all__ = ["axe"]  # a fixture

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="car" background="#E53935"/><Label value="sky" background="#1E88E5"/></BrushLabels></View>'
)
SIDE_PX = 128
_TEXT = "return document.getElementById('main')?.innerText ?? '';"
_LOADED = "return Array.from(document.images).every((image) => image.complete && image.naturalWidth > 0);"
_SHOWN = "return Array.from(document.querySelectorAll('.stage input')).filter((each) => each.offsetWidth > 0).length;"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A backend with a project of two words that are ready, and a task of a drawn scene."""
    folder = tmp_path_factory.mktemp("task-page")
    (folder / "quick.toml").write_text(PRESET)
    scene = encoded(render(sample_scene(50001, "test"), SIDE_PX).image)
    task = {"id": 7, "data": {"image": "/data/upload/1/scene.png"}, "total_annotations": 0}
    fake = FakeLabelStudio(files={"/data/upload/1/scene.png": ("image/png", scene)}, tasks=[task], label_config=CONFIG)
    server = ServerSettings(port=0)
    with running(fake):
        settings = Settings(
            data_dir=folder / "data",
            preset=str(folder / "quick.toml"),
            label_studio=LabelStudioSettings(url=fake.url, api_key=LEGACY_TOKEN),
            server=server,
        )
        app = create_app(settings, add_pages=add_pages)
        try:
            with listening(app, server) as listener:
                address = f"http://127.0.0.1:{port_of(listener)}"
                requests.post(f"{address}/setup", json={"project": PROJECT_UID, "schema": CONFIG}, timeout=30)
                status = lambda: requests.get(f"{address}/status", timeout=30).json()["projects"][PROJECT_UID]  # noqa: E731
                assert eventually(lambda: status()["counts"].get("ready") == 2, TIMEOUT_S)
                take_lesson(app.extensions["ovdiff"].engine)
                yield address
        finally:
            app.extensions["ovdiff"].stop()


def wait_for_text(browser: webdriver.Chrome, text: str) -> None:
    """Wait until the page shows a text, also one that a press is just leading to."""
    shown = lambda: str(browser.execute_script(_TEXT))  # noqa: E731
    assert eventually(lambda: text in shown(), TIMEOUT_S), f"{text!r} in {shown()!r}"


def take_lesson(engine: Learns) -> None:
    """Have the engine learn from another scene, as somebody annotated it who knows the truth."""
    words, drawn = Vocabulary(["car", "sky"]), render(sample_scene(50003, "test"), SIDE_PX)
    labels = np.zeros(drawn.image.shape[:2], dtype=np.int32)
    for number, name in enumerate(words.names, start=1):
        labels[drawn.mask(name)] = number
    source = LessonSource("1", "3", "30", "ann@example.org", "2026-11-21T10:00:00Z")
    engine.learn(drawn.image, Annotation(labels, words), source)


def told_pixel(browser: webdriver.Chrome) -> tuple[int, int]:
    """Return the pixel that the page speaks of."""
    title = re.fullmatch(r"Pixel (\d+), (\d+) is .+", browser.find_element(By.ID, "evidence-title").text)
    assert title is not None
    return int(title[1]), int(title[2])


def press_pixel(browser: webdriver.Chrome, x: int, y: int) -> None:
    """Press the image where it shows a pixel of the scene."""
    assert browser.execute_script(_SHOWN) == 1, "one size of the image is seen"
    image = next(each for each in browser.find_elements(By.CSS_SELECTOR, ".stage input") if each.is_displayed())
    size = image.size
    across, down = (
        round((value + 0.5) / SIDE_PX * side - side / 2)
        for value, side in zip((x, y), (size["width"], size["height"]), strict=True)
    )
    ActionChains(browser).move_to_element_with_offset(image, across, down).click().perform()


def test_a_press_on_the_image_shows_why_the_pixel_has_its_label(browser: webdriver.Chrome, url: str, axe: str) -> None:
    browser.get(f"{url}/page/projects/1/tasks")
    looks_right_everywhere(browser, axe)
    browser.find_element(By.LINK_TEXT, "Task 7").click()
    wait_for_text(browser, "What was found")
    assert "sky" in browser.find_element(By.CLASS_NAME, "regions").text
    looks_right_everywhere(browser, axe)

    show(browser, "light", 1200)
    press_pixel(browser, 100, 10)
    wait_for_text(browser, "Winner by votes")
    assert told_pixel(browser) == pytest.approx((100, 10), abs=1)
    assert "at600.x=" in browser.current_url
    for text in ("Runner-up", "Margin", "Step by step", "A smart keypoint here", "of the votes"):
        wait_for_text(browser, text)
    assert eventually(lambda: bool(browser.execute_script(_LOADED)) or _scrolled(browser)), "support images are there"
    looks_right_everywhere(browser, axe)
    asked_nobody_else(browser, url)

    show(browser, "light", 400)
    browser.get(f"{url}/page/projects/1/tasks/7")
    press_pixel(browser, 30, 60)
    assert eventually(lambda: "at320.x=" in browser.current_url, TIMEOUT_S)
    wait_for_text(browser, "Winner by votes")
    assert told_pixel(browser) == pytest.approx((30, 60), abs=1), "the small image tells the same pixels"


def _scrolled(browser: webdriver.Chrome) -> bool:
    """Scroll on, because images below are loaded when they come near."""
    browser.execute_script("window.scrollBy(0, 600)")
    return False


def test_masks_can_be_put_away_and_a_pixel_be_given_by_keyboard(browser: webdriver.Chrome, url: str) -> None:
    browser.get(f"{url}/page/projects/1/tasks/7")
    masks = browser.find_element(By.CSS_SELECTOR, ".masks")
    assert masks.is_displayed()
    browser.find_element(By.CSS_SELECTOR, ".show-masks").click()
    assert not masks.is_displayed()
    tab_to(browser, "x")
    press(browser, "5", Keys.TAB, "6", Keys.ENTER)
    wait_for_text(browser, "Pixel 5, 6 is ")


def test_lessons_are_measured_and_switched_off(browser: webdriver.Chrome, url: str, axe: str) -> None:
    browser.get(f"{url}/page/projects/1/lessons")
    wait_for_text(browser, "1 of 1")
    browser.find_element(By.CSS_SELECTOR, "#live-curve button").click()
    wait_for_text(browser, "Measure it again")
    looks_right_everywhere(browser, axe)
    browser.find_element(By.CSS_SELECTOR, ".lessons button").click()
    wait_for_text(browser, "0 of 1")
    wait_for_text(browser, "Switch on")
    looks_right_everywhere(browser, axe)
    asked_nobody_else(browser, url)


@pytest.mark.parametrize(("kind", "found"), [("next", "Annotate these first"), ("candidates", "What was looked at")])
def test_a_search_shows_its_result_by_itself(
    browser: webdriver.Chrome, url: str, axe: str, kind: str, found: str
) -> None:
    browser.get(f"{url}/page/projects/1/{kind}")
    browser.find_element(By.CSS_SELECTOR, ".actions button").click()
    wait_for_text(browser, found)
    wait_for_text(browser, "1 task looked at.")
    looks_right_everywhere(browser, axe)
    asked_nobody_else(browser, url)


def test_the_real_server_answers_hostile_addresses_in_words(url: str) -> None:
    for path, status in (
        ("/page/projects/1/tasks/%00", 404),
        ("/page/projects/%F0%9F%92%A9/tasks/1", 404),
        (f"/page/projects/{'1' * 4000}/tasks/1", 404),
        ("/page/projects/1/tasks/7?x=128&y=0", 400),
        ("/page/projects/1/tasks/7?x=%FF&y=1", 400),
        ("/page/projects/1/tasks/7?at9999.x=1&at9999.y=1", 200),
        ("/page/projects/1/tasks/7?image=%3Cscript%3E", 404),
        ("/page/projects/3/tasks", 404),
        ("/page/pictures/%2e%2e%2fstate.sqlite", 404),
    ):
        answer = requests.get(url + path, timeout=30)
        assert answer.status_code == status, path
        assert "Traceback" not in answer.text
        assert "<script>" not in answer.text
