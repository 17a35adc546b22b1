"""The headless browser of the browser tests, what takes its picture, and a personal access token."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

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


@pytest.fixture
def browser(tmp_path: Path, skip_for_want_of: Callable[[str], None]) -> Iterator[webdriver.Chrome]:
    """A headless Chromium with a fresh profile, confined to loopback; Debian's, never a download."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        skip_for_want_of("Chromium and its driver are not installed: `make chromium` can, as root on Debian.")
    options = webdriver.ChromeOptions()
    options.binary_location = str(chromium)
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=Service(str(driver)))
    try:
        yield chrome
    finally:
        chrome.quit()


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
