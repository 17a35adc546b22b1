"""Label Studio's pages of a project's settings in a headless browser, used as a person uses them."""

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from backend.demo.session import Session
from tests.end_to_end.editor import SETTLE_S, press, wait_for


def connect_model(browser: webdriver.Chrome, session: Session, project: int, url: str) -> None:
    """Connect a backend by *Settings -> Model -> Connect model*, with *Interactive preannotations* switched on."""
    browser.get(f"{session.label_studio.url}/projects/{project}/settings/ml")
    press(browser, "[aria-label='Add machine learning model']")
    wait_for(browser, "input[name=title]").send_keys("OVDiff")
    wait_for(browser, "input[name=url]").send_keys(url)
    press(browser, "input[name=is_interactive]")
    press(browser, "[aria-label='Save machine learning form']")
    WebDriverWait(browser, SETTLE_S).until(lambda _: session.maker.api.backends(project))


def add_label(browser: webdriver.Chrome, session: Session, project: int, name: str) -> None:
    """Add a label to the first control of labels by *Settings -> Labeling Interface -> Add label names*, and save."""
    browser.get(f"{session.label_studio.url}/projects/{project}/settings/labeling")
    wait_for(browser, ".lsf-configure__visual [aria-label='Add labels']")
    wait_for(browser, ".lsf-configure__visual textarea").send_keys(name)
    press(browser, ".lsf-configure__visual [aria-label='Add labels']")
    press(browser, "[aria-label='Save configuration']")
    saved = f'value="{name}"'
    WebDriverWait(browser, SETTLE_S).until(lambda _: saved in session.maker.api.label_config(project))
