"""The headless browser of the browser tests, and a personal access token."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
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
    # Nothing but this machine: a page that wants more than that fails here, as it would for an offline user.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


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
