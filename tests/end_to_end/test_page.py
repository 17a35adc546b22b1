"""The pages in a real Chromium, of a real backend that asks for a password: looks, keyboard, axe, live progress.

What is drawn is small (three images of two steps), so that this takes seconds.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from backend.demo.processes import LOOPBACK, ProcessGroups, free_port, is_listening, wait_until_ready
from tests.conftest import CACHE, ROOT
from tests.end_to_end.page import TIMEOUT_S, shown, wait_for_text
from tests.fakes.label_studio import LEGACY_TOKEN, PROJECT_UID, FakeLabelStudio, running

pytestmark = pytest.mark.browser

PRESET = (
    'base = "tinyworld"\nname = "quick"\n[generation]\nimages = 3\nsteps = 2\n[extractors]\nuse = ["clip"]\n'
    '[matching]\nextractors = ["clip"]\n'
)
CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="boat" treshold="0.4"/><Label value="fish" prompts="fish; red fish"/></BrushLabels></View>'
)
USER, PASSWORD = "ann", "pass-word"
AXE = CACHE / "axe-0.1.8/axe_playwright_python/axe.min.js"
_TELEPHONE_PX = 400
_OVERFLOW_PX = "return document.documentElement.scrollWidth - document.documentElement.clientWidth;"
_RUN_AXE = "const done = arguments[arguments.length - 1]; axe.run(document).then(done);"
_LOADED = "return performance.getEntriesByType('resource').map((entry) => entry.name);"


class Backend(NamedTuple):
    """A running backend; `address` has the password in it, as a browser takes it."""

    url: str
    address: str


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    folder, port = tmp_path_factory.mktemp("page"), free_port(9600)
    (folder / "quick.toml").write_text(PRESET)
    image = ("image/png", (ROOT / "examples/scene.png").read_bytes())
    tasks = [{"id": 5, "data": {"image": "/data/upload/1/scene.png"}}]
    fake = FakeLabelStudio(label_config=CONFIG, files={"/data/upload/1/scene.png": image}, tasks=tasks)
    with running(fake) as label_studio, ProcessGroups() as groups:
        environment = {
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "OVDIFF_DATA_DIR": str(folder / "data"),
            "OVDIFF_PRESET": str(folder / "quick.toml"),
            "OVDIFF_PORT": str(port),
            "OVDIFF_BASIC_USER": USER,
            "OVDIFF_BASIC_PASSWORD": PASSWORD,
            "LABEL_STUDIO_URL": label_studio.url,
            "LABEL_STUDIO_API_KEY": LEGACY_TOKEN,
        }
        command = [sys.executable, "-m", "backend.command.cli", "serve"]
        child = groups.start("The backend", command, environment, folder / "backend.log")
        url = f"http://{LOOPBACK}:{port}"
        wait_until_ready(child, lambda: is_listening(port), TIMEOUT_S, lambda _s: None)
        yield Backend(url, f"http://{USER}:{PASSWORD}@{LOOPBACK}:{port}")


@pytest.fixture
def connected(backend: Backend) -> Backend:
    """The backend with a project of two labels, as Label Studio connects it."""
    body = {"project": PROJECT_UID, "schema": CONFIG}
    requests.post(f"{backend.url}/setup", json=body, auth=(USER, PASSWORD), timeout=30).raise_for_status()
    return backend


@pytest.fixture(scope="module")
def axe(skip_for_want_of: Callable[[str], None]) -> str:
    if not AXE.is_file():
        skip_for_want_of(f"There is no axe-core at {AXE}: `make test` fetches it.")
    return AXE.read_text("utf-8")


def show(browser: webdriver.Chrome, scheme: str, width_px: int) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    metrics = {"width": width_px, "height": 900, "deviceScaleFactor": 1, "mobile": width_px == _TELEPHONE_PX}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def findings(browser: webdriver.Chrome, axe: str) -> list[str]:
    """Return what axe finds, and what it could not judge where that would be serious."""
    browser.execute_script(axe)
    found: dict[str, Any] = browser.execute_async_script(_RUN_AXE)
    assert len(found["passes"]) > 20, "axe looked at the page"
    unsure = [each for each in found["incomplete"] if each["impact"] in ("serious", "critical")]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in [*found["violations"], *unsure]]


def looks_right_everywhere(browser: webdriver.Chrome, axe: str) -> None:
    colours = set()
    for scheme in ("light", "dark"):
        for width_px in (1200, _TELEPHONE_PX):
            show(browser, scheme, width_px)
            assert findings(browser, axe) == [], (scheme, width_px)
            assert browser.execute_script(_OVERFLOW_PX) <= 0, (scheme, width_px)
        colours.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2, "light and dark differ"
    show(browser, "light", 1200)


def asked_nobody_else(browser: webdriver.Chrome, url: str) -> None:
    loaded = browser.execute_script(_LOADED)
    assert {f"http://{urlsplit(address).netloc.rpartition('@')[2]}" for address in loaded} == {url}, loaded
    assert browser.get_log("browser") == [], "no script error, nothing against the policy, no failed request"


def press(browser: webdriver.Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def focused(browser: webdriver.Chrome) -> str:
    return str(browser.execute_script("const e = document.activeElement; return e.innerText || e.name || e.id"))


def tab_to(browser: webdriver.Chrome, text: str) -> None:
    for _ in range(40):
        press(browser, Keys.TAB)
        if focused(browser) == text:
            outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", "focus is seen"
            return
    pytest.fail(f"{text!r} is not reached by the keyboard")


def test_the_pages_show_progress_by_themselves_and_a_word_is_changed_by_keyboard(
    connected: Backend, browser: webdriver.Chrome, axe: str
) -> None:
    browser.get(f"{connected.address}/")
    wait_for_text(browser, "2 of 2\nlabels are ready")  # by the script alone
    assert "treshold=" in shown(browser)
    assert LEGACY_TOKEN not in browser.page_source and PASSWORD not in browser.page_source
    looks_right_everywhere(browser, axe)
    asked_nobody_else(browser, connected.url)

    browser.get(f"{connected.url}/")  # the browser knows the password by now
    press(browser, Keys.TAB)
    assert focused(browser) == "Skip to the content"
    press(browser, Keys.ENTER)
    assert browser.execute_script("return document.activeElement.id") == "main"
    tab_to(browser, "fish")
    press(browser, Keys.ENTER)
    wait_for_text(browser, "Support images")
    assert browser.execute_script("return document.images.length") == 4, "three, and the brand"
    looks_right_everywhere(browser, axe)

    tab_to(browser, "number")
    press(browser, Keys.SPACE)
    tab_to(browser, "why")
    press(browser, "blurred", Keys.ENTER)
    wait_for_text(browser, "Image 0 was left out on ")
    wait_for_text(browser, "State\nready")  # built again, and told by the script
    (status,) = requests.get(f"{connected.url}/status", auth=(USER, PASSWORD), timeout=30).json()["projects"].values()
    assert {entry["name"]: entry["state"] for entry in status["categories"]} == {"boat": "ready", "fish": "ready"}
    (curation,) = find_curations(browser)
    assert "blurred" in curation
    looks_right_everywhere(browser, axe)
    asked_nobody_else(browser, connected.url)
    tab_to(browser, "Take it back")
    press(browser, Keys.ENTER)
    wait_for_text(browser, "Nothing: the label is as it was drawn.")
    browser.execute_script("document.getElementById('live-background').dataset.live = 'busy'; look()")
    calm = "return document.getElementById('live-background').dataset.live === ''"  # though nothing else changed in it
    WebDriverWait(browser, TIMEOUT_S).until(lambda _: browser.execute_script(calm))


def test_a_change_is_seen_on_an_image_before_it_is_applied_and_undone(
    connected: Backend, browser: webdriver.Chrome, axe: str
) -> None:
    browser.get(f"{connected.address}/page/category?project={PROJECT_UID}&name=boat")
    wait_for_text(browser, "State\nready")
    for box in browser.find_elements(By.CSS_SELECTOR, "input[name=number]")[:2]:
        box.click()
    browser.find_element(By.CSS_SELECTOR, "button[value=reject]").click()
    wait_for_text(browser, "It is task 5")
    drawn = "return [...document.querySelectorAll('figure img')].map((image) => image.naturalWidth)"
    WebDriverWait(browser, TIMEOUT_S).until(lambda _: browser.execute_script(drawn) == [480] * 4)
    looks_right_everywhere(browser, axe)
    button = (By.CSS_SELECTOR, "form[action='/page/preview/apply'] button")
    browser.find_element(*button).click()
    wait_for_text(browser, "Applied")
    browser.get(f"{connected.url}/page/category?project={PROJECT_UID}&name=boat")
    assert len(find_curations(browser)) == 2
    wait_for_text(browser, "State\nready")  # nothing is built for it: the look did that
    browser.get(f"{connected.url}/page/preview?project={PROJECT_UID}&name=boat")
    browser.find_element(*button).click()
    wait_for_text(browser, "Leave it as it is")
    browser.get(f"{connected.url}/page/category?project={PROJECT_UID}&name=boat")
    assert find_curations(browser) == []
    assert browser.get_log("browser") == []


def find_curations(browser: webdriver.Chrome) -> list[str]:
    lines = "return [...document.querySelectorAll('#live-changes li')].map((line) => line.innerText)"
    return list(browser.execute_script(lines))


def test_without_scripts_everything_is_there(connected: Backend, browser: webdriver.Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(f"{connected.address}/page/category?project={PROJECT_UID}&name=boat")
    browser.find_element(By.NAME, "prompts").clear()
    browser.find_element(By.NAME, "prompts").send_keys("red boat")
    browser.find_element(By.CSS_SELECTOR, "#live-trial button").click()
    wait_for_text(browser, "On trial: red boat")
    browser.find_element(By.CSS_SELECTOR, "#live-trial form button").click()
    wait_for_text(browser, "Phrases, separated by semicolons")


@pytest.mark.parametrize("token", ["stolen", "real"])
def test_a_form_of_another_site_changes_nothing(
    connected: Backend, browser: webdriver.Chrome, tmp_path: Path, token: str
) -> None:
    """The browser knows the password; another page makes it send a form all the same.

    With the real token, which fits the cookie that the browser has, only the lack of that cookie can refuse the form.
    """
    browser.get(f"{connected.address}/page/category?project={PROJECT_UID}&name=boat")
    if token == "real":
        token = str(browser.find_element(By.NAME, "token").get_attribute("value"))
    fields = {"project": PROJECT_UID, "name": "boat", "number": "0", "token": token}
    page = tmp_path / "evil.html"
    inputs = "".join(f"<input name={name} value={json.dumps(value)}>" for name, value in fields.items())
    page.write_text(
        f"<form method=post action={connected.url}/page/category/reject>{inputs}<button>win</button></form>"
    )
    browser.get(page.as_uri())
    browser.find_element(By.TAG_NAME, "button").click()
    wait_for_text(browser, "Nothing was changed")
    browser.get(f"{connected.url}/page/category?project={PROJECT_UID}&name=boat")
    assert find_curations(browser) == []
