"""Label Studio's editor in a headless browser: logging in, opening a task, waiting for what the page shows."""

from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import WebDriverWait

from backend.demo.session import Session

SETTLE_S = 90.0
_PRESSES = 5

# In one go in the page: elements found one by one may be gone when they are asked for their place.
_LARGEST_IMAGE_BOX = """
    const boxes = Array.from(document.images).map((image) => image.getBoundingClientRect());
    const box = boxes.reduce((a, b) => (b.width > a.width ? b : a), new DOMRect());
    return [box.x, box.y, box.width, box.height];
"""


def open_task(browser: webdriver.Chrome, session: Session, project: int, task: int) -> None:
    """Log in as the session's person, and open a task in the editor."""
    browser.get(f"{session.label_studio.url}/user/login/")
    browser.find_element(By.NAME, "email").send_keys(session.label_studio.login.email)
    browser.find_element(By.NAME, "password").send_keys(session.label_studio.login.password)
    browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    WebDriverWait(browser, SETTLE_S).until(lambda page: "/user/login" not in page.current_url)
    browser.get(f"{session.label_studio.url}/projects/{project}/data?task={task}")


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
