"""The forms of a label's page in a real Chromium: all without any script, and the newest ones by keyboard alone.

The labels are drawn by a stand-in of the method, so that this takes seconds.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

from backend.pages.blueprint import add_pages
from backend.settings import LabelStudioSettings, ServerSettings, Settings
from ovdiff.vocabulary import Category
from tests.backend.pages.test_annotated_tasks import annotated, half, region
from tests.end_to_end.page import shown, wait_for_text
from tests.end_to_end.test_page import axe, findings, focused, looks_right_everywhere, press, tab_to
from tests.fakes.curating_engine import CuratingEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import LEGACY_TOKEN, PROJECT_UID, FakeLabelStudio, running
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.sockets import listening, port_of
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.browser

__all__ = ["axe"]  # a fixture

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red"/><Label value="blue" treshold="1"/></BrushLabels></View>'
)
TAKEN = CONFIG.replace('value="red"', 'value="red" prompts="crimson; ruby"')
WITHIN_S = 30.0


@pytest.fixture
def label_studio() -> Iterator[FakeLabelStudio]:
    picture = {"/data/upload/1/picture.png": ("image/png", encoded(red_and_blue()))}
    fake = FakeLabelStudio(files=picture, label_config=CONFIG, tasks=[annotated(3, region("red", half()))])
    with running(fake):
        yield fake


@pytest.fixture
def url(make_app: MakeApp, label_studio: FakeLabelStudio, tmp_path: Path) -> Iterator[str]:
    """A backend whose project has two labels that are ready, and a task that somebody annotated."""
    server = ServerSettings(port=0)
    host = LabelStudioSettings(url=label_studio.url, api_key=LEGACY_TOKEN)
    settings = Settings(data_dir=tmp_path / "data", label_studio=host, server=server)
    app = make_app(settings, CuratingEngine(settings.bank_dir), add_pages=add_pages)
    with listening(app, server) as listener:
        address = f"http://127.0.0.1:{port_of(listener)}"
        requests.post(f"{address}/setup", json={"project": PROJECT_UID, "schema": CONFIG}, timeout=30)
        engine = app.extensions["ovdiff"].engine
        assert eventually(lambda: all(engine.has(Category(name)) for name in ("red", "blue")), WITHIN_S)
        yield address


class Person:
    """Somebody whose browser runs no script: they press buttons and load the page again."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        """Open the page of a label."""
        self.browser, self.own = browser, f"{url}/page/category?project={PROJECT_UID}&name=red"
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        browser.get(self.own)

    def press(self, form: str, button: str = "button") -> None:
        """Press a button of the form that is sent to an address, and wait until the next page takes the place."""
        pressed = self.browser.find_element(By.CSS_SELECTOR, f"form[action='{form}'] {button}")
        pressed.click()
        WebDriverWait(self.browser, WITHIN_S).until(expected_conditions.staleness_of(pressed))

    def write(self, name: str, text: str) -> None:
        """Fill a field, the first of its name."""
        field = self.browser.find_element(By.NAME, name)
        if field.get_attribute("type") != "file":
            field.clear()
        field.send_keys(text)

    def reads(self, text: str) -> None:
        """Load the page again until it says a text."""

        def is_there() -> bool:
            self.browser.refresh()
            return text in shown(self.browser)

        assert text in shown(self.browser) or eventually(is_there, WITHIN_S), (text, shown(self.browser))

    def back(self) -> None:
        """Go to the label's page."""
        self.browser.get(self.own)


def test_each_form_works_without_any_script(
    url: str, browser: webdriver.Chrome, label_studio: FakeLabelStudio, tmp_path: Path
) -> None:
    person = Person(browser, url)
    assert not browser.find_element(By.ID, "trial").find_elements(By.XPATH, "//button[text()='Copy']")
    _support_images(person)
    _own_images(person, tmp_path)
    _background(person)
    _other_prompts(person, label_studio)
    browser.get(f"{url}/page/category?project={PROJECT_UID}&name=nothing")
    assert "has no label 'nothing'" in shown(browser)


def _support_images(person: Person) -> None:
    person.browser.find_element(By.CSS_SELECTOR, "input[name=number][value='0']").click()
    person.write("why", "blurred")
    person.press("/page/category/reject", "button[value=reject]")
    person.reads("of this image would get another label")
    person.press("/page/preview/apply")
    person.reads("Applied")
    person.press("/page/preview/apply")
    person.reads("Leave it as it is")
    person.back()
    person.browser.find_element(By.CSS_SELECTOR, "input[name=number][value='1']").click()
    person.press("/page/category/reject", "button:not(.second)")
    person.reads("Image 1 was left out on ")
    person.press("/page/category/restore")
    person.reads("Nothing: the label is as it was drawn.")


def _own_images(person: Person, folder: Path) -> None:
    person.write("from", "3")
    person.press("/page/category/add-annotated", "button:not(.second)")
    person.reads("The image picture.png was added on ")
    person.press("/page/category/remove-exemplar")
    person.reads("Nothing: the label is as it was drawn.")
    for name, levels in (("image", red_and_blue()), ("mask", half().astype(np.uint8) * 255)):
        Image.fromarray(levels).save(folder / f"{name}.png")
        person.write(name, str(folder / f"{name}.png"))
    person.press("/page/category/add-exemplar", "button:not(.second)")
    person.reads("The image image.png was added on ")
    person.press("/page/category/remove-exemplar")
    person.reads("Nothing: the label is as it was drawn.")


def _background(person: Person) -> None:
    person.press("/page/category/look-for-background")
    person.reads("75% of the background")
    person.press("/page/category/ban")
    person.reads("was ruled out on ")
    person.press("/page/category/unban")
    person.reads("Nothing: the label is as it was drawn.")
    person.browser.find_element(By.CSS_SELECTOR, "details.promote summary").click()
    person.write("into", "blue")
    person.press("/page/category/promote")
    person.reads("and made part of blue.")
    person.press("/page/category/demote")
    person.reads("Nothing: the label is as it was drawn.")


def _other_prompts(person: Person, label_studio: FakeLabelStudio) -> None:
    person.write("prompts", "crimson; ruby")
    person.press("/page/category/try")
    person.reads("On trial: crimson; ruby")
    line = person.browser.find_element(By.CSS_SELECTOR, ".line pre")
    assert line.text == 'prompts="crimson; ruby"'
    assert line.value_of_css_property("user-select") == "all", "a press on the line selects all of it"
    assert not person.browser.find_element(By.CSS_SELECTOR, "button.copy").is_displayed(), "it needs the script"
    person.browser.find_element(By.LINK_TEXT, "Take them").click()
    person.press("/page/take")
    person.reads("Other prompts were taken")
    assert label_studio.label_config == TAKEN
    person.press("/page/take/undo")
    person.reads("Draw them")
    assert "Other prompts were taken" not in shown(person.browser)
    assert label_studio.label_config == CONFIG


def test_prompts_are_taken_by_keyboard_alone_and_every_new_part_is_for_all(
    url: str, browser: webdriver.Chrome, label_studio: FakeLabelStudio, axe: str
) -> None:
    browser.get(f"{url}/")
    wait_for_text(browser, "What might be better")
    assert browser.find_element(By.TAG_NAME, "h1").text == "Ready"
    browser.get(f"{url}/page/category?project={PROJECT_UID}&name=red")
    tab_to(browser, "Show where it came from")
    press(browser, Keys.ENTER)
    wait_for_text(browser, "75% of the background")
    tab_to(browser, "prompts")
    press(browser, *[Keys.BACKSPACE] * len("red"), "crimson; ruby", Keys.ENTER)
    wait_for_text(browser, "See what they would change")
    tab_to(browser, "It is another label")
    press(browser, Keys.ENTER)
    wait_for_text(browser, "cover at least 2 %")
    press(browser, Keys.TAB)
    assert focused(browser) == "into", "the field comes behind what opens it"
    looks_right_everywhere(browser, axe)
    tab_to(browser, "Copy")
    press(browser, Keys.ENTER)
    wait_for_text(browser, "Copied")
    assert focused(browser) == "Copied", "focus stays where it was"
    browser.find_element(By.CSS_SELECTOR, "details[open] summary").click()
    tab_to_again(browser, "Take them")
    press(browser, Keys.ENTER)
    wait_for_text(browser, "Nothing is changed yet.")
    looks_right_everywhere(browser, axe)
    tab_to(browser, "Take it")
    press(browser, Keys.ENTER)
    wait_for_text(browser, "Other prompts were taken")
    assert label_studio.label_config == TAKEN
    assert findings(browser, axe) == []
    tab_to(browser, "Undo it")
    press(browser, Keys.ENTER)
    assert eventually(lambda: label_studio.label_config == CONFIG, WITHIN_S)
    wait_for_text(browser, "Phrases, separated by semicolons")
    assert browser.get_log("browser") == [], "no script error, nothing against the policy"


def tab_to_again(browser: webdriver.Chrome, text: str) -> None:
    """Go on by Tab from the top of the page."""
    browser.execute_script("document.activeElement.blur(); document.getElementById('main').focus();")
    tab_to(browser, text)
