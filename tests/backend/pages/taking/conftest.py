"""A project of two labels, one of which has other prompts on trial, beside a Label Studio that has its label config."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from backend.pages.blueprint import add_pages
from backend.settings import Settings
from tests.fakes.curating_engine import CuratingEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio

CONFIG = (
    '<View><!-- ours -->\n  <Image name=\'image\' value="$image"/><BrushLabels name="b" toName="image">\n'
    '    <Label  value=\'red\' hotkey="1" />\n    <Label value="blue"/></BrushLabels></View>'
)
TAKEN = CONFIG.replace('hotkey="1" />', 'hotkey="1" prompts="red boat; ship" />')
ABOUT = {"project": PROJECT_UID, "name": "red"}


@pytest.fixture
def engine(settings: Settings) -> CuratingEngine:
    return CuratingEngine(settings.bank_dir)


@pytest.fixture
def browser(
    make_app: MakeApp, settings: Settings, engine: CuratingEngine, label_studio: FakeLabelStudio
) -> FlaskClient:
    client = make_app(settings, engine, add_pages=add_pages).test_client()
    label_studio.label_config = CONFIG
    client.post("/setup", json={"project": PROJECT_UID, "schema": CONFIG})
    client.post("/predict", json={"project": PROJECT_UID, "label_config": CONFIG, "tasks": []})
    return client


def post(browser: FlaskClient, path: str, **fields: Any) -> TestResponse:
    """Send a form of the label's page, with its token."""
    shown = browser.get("/page/category", query_string=ABOUT).text
    (token, *_) = re.findall(r'name="token" value="([^"]+)"', shown)
    return browser.post(path, data={**ABOUT, "token": token, **fields})


def try_prompts(browser: FlaskClient, prompts: str = "red boat; ship") -> None:
    assert post(browser, "/page/category/try", prompts=prompts).status_code == 303


def seen(browser: FlaskClient) -> str:
    """Return what the page that shows the change was made from."""
    (found,) = re.findall(r'name="seen" value="([^"]+)"', browser.get("/page/take", query_string=ABOUT).text)
    return str(found)
