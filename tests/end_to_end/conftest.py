"""The headless browser of the browser tests, what takes its picture, and a personal access token."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from backend.demo.session import Session
from tests.fakes.fixtures import make_app

__all__ = ["make_app"]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1400,1100",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
    # Nothing but this machine: a page that wants more than that fails here, as it would for an offline user.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)

_PAGE_WIDTH_PX, _HIGH_PX = 1080, 2000
_END_PX = "return document.querySelector(arguments[0]).getBoundingClientRect().bottom + scrollY + 24"


@pytest.fixture(scope="session")
def personal_token(session: Session) -> str:
    """A personal access token of the session's person; Label Studio makes no second one while the first is valid."""
    return str(session.maker.api.call("POST", "/api/token/")["token"])


@pytest.fixture(scope="session")
def chromium(
    tmp_path_factory: pytest.TempPathFactory, skip_for_want_of: Callable[[str], None]
) -> Iterator[webdriver.Chrome]:
    """A headless Chromium for all tests, confined to loopback; Debian's, never a download. Its start takes 2 s."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        skip_for_want_of("Chromium and its driver are not installed: `make chromium` can, as root on Debian.")
    options = webdriver.ChromeOptions()
    options.binary_location = str(binary)
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=Service(str(driver)))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The Chromium with one new tab, which nobody is logged in to; of earlier tests it has the cache alone."""
    _forget(chromium, set())  # a page that was closed may have had an answer on its way, with a cookie
    try:
        yield chromium
    finally:
        seen = _visited(chromium)
        _only_a_new_tab(chromium)
        _forget(chromium, seen)


def _visited(browser: webdriver.Chrome) -> set[str]:
    """Return the origins of all pages that the tabs have shown."""
    addresses = []
    for tab in browser.window_handles:
        browser.switch_to.window(tab)
        addresses += [each["url"] for each in browser.execute_cdp_cmd("Page.getNavigationHistory", {})["entries"]]
    parts = map(urlsplit, addresses)
    return {f"{each.scheme}://{each.netloc}" for each in parts if each.scheme == "http"}


def _only_a_new_tab(browser: webdriver.Chrome) -> None:
    """Close all tabs, with what is emulated in them, and leave a new one."""
    old = browser.window_handles
    browser.switch_to.new_window("tab")
    new = browser.current_window_handle
    for tab in old:
        browser.switch_to.window(tab)
        browser.close()
    browser.switch_to.window(new)


def _forget(browser: webdriver.Chrome, origins: set[str]) -> None:
    """Delete all cookies, what the pages of some origins have stored, and what was written to the console."""
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    for origin in origins:
        browser.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
    browser.get_log("browser")


@pytest.fixture
def take_picture(browser: webdriver.Chrome, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Write a screenshot under a name into the folder of `--pictures`; without that option, take none.

    `last` is for pages of the backend: as wide as documentation is, down to the end of this CSS selector's element.
    """
    folder: Path | None = request.config.getoption("--pictures")

    def take(name: str, last: str | None = None) -> None:
        if folder is None:
            return
        if last is not None:
            _resize(browser, _HIGH_PX)
            _resize(browser, round(browser.execute_script(_END_PX, last)))
        browser.save_screenshot(str(folder / name))
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        Image.open(folder / name).convert("RGB").save(folder / name, optimize=True)

    return take


def _resize(browser: webdriver.Chrome, height_px: int) -> None:
    metrics = {"width": _PAGE_WIDTH_PX, "height": height_px, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
