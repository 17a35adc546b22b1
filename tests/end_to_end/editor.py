"""Label Studio's editor in a headless browser: logging in, opening a task, tools, waiting for what the page shows."""

from collections.abc import Sequence
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import WebDriverWait

from backend.demo.session import Session

SETTLE_S = 90.0
REGION = ".lsf-outliner-item"  # an entry of the list of regions
LEAST_WIDTH_PX = 200  # of the labelled image; the list of tasks shows small copies
SMART_POINT = '.lsf-tool_smart[aria-label="key-point-tool"]'
_PRESSES = 5
_MOVE_MS = 30  # of a stroke, from point to point

# In one go in the page: elements found one by one may be gone when they are asked for their place.
_LARGEST_IMAGE_BOX = """
    const boxes = Array.from(document.images).map((image) => image.getBoundingClientRect());
    const box = boxes.reduce((a, b) => (b.width > a.width ? b : a), new DOMRect());
    return [box.x, box.y, box.width, box.height];
"""

_SWITCH_ON = """
    if (document.querySelector(arguments[0])) return true;
    const found = document.querySelector("[data-testid=bottombar-auto-annotation-toggle]");
    const toggle = found?.querySelector("input") ?? found;
    if (toggle && !toggle.checked) toggle.click();
    return false;
"""


def log_in(browser: webdriver.Chrome, session: Session) -> None:
    """Log in as the session's person."""
    browser.get(f"{session.label_studio.url}/user/login/")
    browser.find_element(By.NAME, "email").send_keys(session.label_studio.login.email)
    browser.find_element(By.NAME, "password").send_keys(session.label_studio.login.password)
    browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    WebDriverWait(browser, SETTLE_S).until(lambda page: "/user/login" not in page.current_url)


def open_task(browser: webdriver.Chrome, session: Session, project: int, task: int) -> None:
    """Log in as the session's person, and open a task in the editor."""
    log_in(browser, session)
    show_task(browser, session, project, task)


def show_task(browser: webdriver.Chrome, session: Session, project: int, task: int) -> None:
    """Open a task in the editor, and wait for its image; somebody is logged in.

    Label Studio may draw its editor, throw it away, and draw another one seconds later. What is pressed in the first
    one is forgotten, so wait for the image, which comes last.
    """
    browser.get(f"{session.label_studio.url}/projects/{project}/data?task={task}")
    WebDriverWait(browser, SETTLE_S).until(lambda page: largest_image_box(page)[2] >= LEAST_WIDTH_PX)


def largest_image_box(browser: webdriver.Chrome) -> tuple[float, float, float, float]:
    """Return (x, y, width, height), in pixels of the window, of the page's largest image; all 0 if there is none."""
    x, y, width, height = browser.execute_script(_LARGEST_IMAGE_BOX)
    return x, y, width, height


def wait_for(browser: webdriver.Chrome, selector: str) -> WebElement:
    """Return the element of a CSS selector as soon as the page has it."""
    found = expected_conditions.presence_of_element_located((By.CSS_SELECTOR, selector))
    element: WebElement = WebDriverWait(browser, SETTLE_S).until(found)
    return element


def press(browser: webdriver.Chrome, selector: str) -> None:
    """Press the element of a CSS selector as soon as the page has it, whatever lies over it.

    The page may draw itself anew between finding the element and pressing it; then it is looked for again.
    """
    for _ in range(_PRESSES):
        element: Any = wait_for(browser, selector)
        try:
            browser.execute_script("arguments[0].click()", element)
        except StaleElementReferenceException:
            continue
        return
    raise AssertionError(f"{selector} was drawn anew {_PRESSES} times while it was pressed")


def type_keys(browser: webdriver.Chrome, keys: str) -> None:
    """Type on the page, such as the hotkey of a label."""
    ActionChains(browser).send_keys(keys).perform()


def switch_on_auto_annotation(browser: webdriver.Chrome) -> None:
    """Switch Auto-Annotation on, again if a new editor has forgotten it, until the smart tools are there."""
    WebDriverWait(browser, SETTLE_S).until(lambda page: page.execute_script(_SWITCH_ON, SMART_POINT))


def delete_region(browser: webdriver.Chrome, label: str) -> None:
    """Delete the only region of a label from the list of regions, and wait until it is gone."""
    entry = f"//*[contains(concat(' ', @class, ' '), ' {REGION[1:]} ')][.//*[text()='{label}']]"
    WebDriverWait(browser, SETTLE_S).until(expected_conditions.presence_of_element_located((By.XPATH, entry)))

    def is_gone(page: webdriver.Chrome) -> bool:
        found = page.find_elements(By.XPATH, entry)
        if found:
            found[0].click()
            type_keys(page, Keys.BACKSPACE)
        return not found

    WebDriverWait(browser, SETTLE_S, ignored_exceptions=[StaleElementReferenceException]).until(is_gone)


def click_at(browser: webdriver.Chrome, x: float, y: float) -> None:
    """Click on a place of the largest image; x and y are shares of its width and height, from 0 to 1."""
    draw(browser, [[(x, y)]])


def draw(browser: webdriver.Chrome, strokes: Sequence[Sequence[tuple[float, float]]]) -> None:
    """Draw strokes over the largest image with the tool that is chosen: press at the first point, move to the others.

    Points are (x, y), shares of the image's width and height, from 0 to 1.
    """
    left, top, width, height = largest_image_box(browser)
    actions = ActionChains(browser, duration=_MOVE_MS)
    pointer = actions.w3c_actions.pointer_action
    for stroke in strokes:
        for number, (x, y) in enumerate(stroke):
            pointer.move_to_location(round(left + x * width), round(top + y * height))
            if number == 0:
                pointer.pointer_down()
        pointer.pointer_up()
    actions.perform()
