"""Part of a label's background is made another label, and that is undone, through the application."""

import html
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from backend.pages.blueprint import add_pages
from backend.settings import Settings
from ovdiff.curation.curation import UNCURATED
from ovdiff.vocabulary import Category
from tests.backend.pages.conftest import words
from tests.fakes.curating_engine import CuratingEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import PROJECT_UID
from tests.fakes.waiting import eventually

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red"/><Label value="sea" prompts="blue sea"/></BrushLabels></View>'
)
ABOUT = {"project": PROJECT_UID, "name": "red"}
RED, SEA = Category("red"), Category("sea", ("blue sea",))


@pytest.fixture
def engine(settings: Settings) -> CuratingEngine:
    return CuratingEngine(settings.bank_dir)


@pytest.fixture
def browser(make_app: MakeApp, settings: Settings, engine: CuratingEngine) -> FlaskClient:
    client = make_app(settings, engine, add_pages=add_pages).test_client()
    client.post("/setup", json={"project": PROJECT_UID, "schema": CONFIG})
    client.post("/predict", json={"project": PROJECT_UID, "label_config": CONFIG, "tasks": []})
    post(client, "look-for-background")
    assert eventually(lambda: "It is another label" in page(client))
    return client


def page(browser: FlaskClient, name: str = "red") -> str:
    return browser.get("/page/category", query_string=ABOUT | {"name": name}).text


def post(browser: FlaskClient, what: str, /, **fields: Any) -> TestResponse:
    (token, *_) = re.findall(r'name="token" value="([^"]+)"', page(browser))
    return browser.post(f"/page/category/{what}", data={**ABOUT, "token": token, **fields})


def key(browser: FlaskClient) -> str:
    return re.findall(r'name="key" value="([^"]+)"', page(browser))[0]


def test_a_background_becomes_part_of_another_label_and_that_is_undone(
    browser: FlaskClient, engine: CuratingEngine
) -> None:
    assert "cover at least 2 %" in words(page(browser)), "what it means is said before"
    assert '<option value="sea">' in page(browser) and '<option value="red">' not in page(browser)
    assert post(browser, "promote", number="1", into=" sea ", key=key(browser)).status_code == 303
    said = "was ruled out on 2026-11-22, and made part of sea. Undo it"
    assert eventually(lambda: said in words(page(browser)))
    assert [each.source for each in engine.curator.curation(SEA).exemplars] == ["background of 'red'"]
    assert "red-1 was added on 2026-11-22, from background of 'red'" in words(page(browser, "sea"))
    assert eventually(lambda: engine.has(SEA)), "the worker builds the other label too"
    (places,) = re.findall(r'name="places" value="([^"]+)"', page(browser))
    for _ in range(2):  # somebody presses twice
        assert post(browser, "demote", places=places).status_code == 303
    assert engine.curator.curation(RED).bans == engine.curator.curation(SEA).exemplars == ()
    assert "Nothing: the label is as it was drawn." in words(page(browser))


def test_a_word_that_is_no_label_yet_gets_its_images_and_the_line_to_paste(
    browser: FlaskClient, engine: CuratingEngine
) -> None:
    post(browser, "promote", number="1", into='jetty "old"', key=key(browser))
    assert eventually(lambda: "is no label of this project yet" in words(page(browser)))
    assert '<Label value="jetty &quot;old&quot;"/>' in html.unescape(page(browser))
    assert len(engine.curator.curation(Category('jetty "old"')).exemplars) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"into": " "}, "Nothing was changed: write the label that it is"),
        ({"into": "x" * 201}, "Nothing was changed: write the label that it is"),
        ({"into": "red"}, "it is part of the background of 'red'. Write another label."),
        ({"into": "sea", "number": "x"}, "The request lacks the number."),
        ({"into": "sea", "key": "old"}, "Nothing was changed: the page is old."),
    ],
)
def test_what_cannot_be_meant_is_refused(
    browser: FlaskClient, engine: CuratingEngine, fields: dict[str, str], said: str
) -> None:
    answer = post(browser, "promote", **{"number": "1", "key": key(browser), **fields})
    assert answer.status_code == 400
    assert said in words(answer.text)
    assert engine.curator.curations == {}


def test_two_labels_at_once_cannot_be_previewed(browser: FlaskClient, engine: CuratingEngine) -> None:
    (token, *_) = re.findall(r'name="token" value="([^"]+)"', page(browser))
    form = {**ABOUT, "token": token, "number": "1", "into": "sea", "key": key(browser), "change": "promote"}
    assert browser.post("/page/preview", data=form).status_code == 400
    assert engine.curator.curation(SEA) == UNCURATED
