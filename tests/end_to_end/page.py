"""The backend's own pages in a headless browser: what they show, and waiting for it."""

import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.support.wait import WebDriverWait

TIMEOUT_S = 120.0


def shown(browser: webdriver.Chrome) -> str:
    """Return the text that the page shows now, in one look: an element may be replaced between two.

    While the next page is being loaded there may be none.
    """
    return str(browser.execute_script("return document.getElementById('main')?.innerText ?? ''"))


def wait_for_text(browser: webdriver.Chrome, text: str) -> None:
    """Wait until the page shows a text; nobody loads it anew."""
    try:
        WebDriverWait(browser, TIMEOUT_S, 0.1).until(lambda _: text in shown(browser))
    except TimeoutException:
        pytest.fail(f"{text!r} is not in {shown(browser)!r}")


_PRESS = """
    const fits = (each) => each.innerText.trim() === arguments[0] && !each.disabled;
    const found = [...document.querySelectorAll("a, button, summary")].find(fits);
    found?.click();
    return Boolean(found);
"""
_ROWS = """
    const rows = [...document.querySelectorAll("table.labels tbody tr")];
    return Object.fromEntries(rows.map((row) => [row.cells[0].innerText, row.querySelector(".state").innerText]));
"""
_UNSEEN_PICTURES = "return [...document.images].filter((each) => !each.complete || !each.naturalWidth).length"


def press_words(browser: webdriver.Chrome, words: str) -> None:
    """Press the first link or button that has these words, in one go: an element may be replaced between two."""
    try:
        WebDriverWait(browser, TIMEOUT_S, 0.1).until(lambda _: browser.execute_script(_PRESS, words))
    except TimeoutException:
        pytest.fail(f"Nothing to press says {words!r} on {browser.current_url}: {shown(browser)!r}")


def label_states(browser: webdriver.Chrome) -> dict[str, str]:
    """Return the state of each label of the first project, as the first page shows them now."""
    return dict(browser.execute_script(_ROWS))


def wait_for_pictures(browser: webdriver.Chrome) -> None:
    """Wait until all pictures of the page are there; those that load when they are scrolled to are scrolled to."""
    browser.execute_script("for (const each of document.images) each.loading = 'eager';")
    WebDriverWait(browser, TIMEOUT_S).until(lambda _: browser.execute_script(_UNSEEN_PICTURES) == 0)
