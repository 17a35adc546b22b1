import html
import io
import re
import threading
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image, ImageColor
from werkzeug.test import TestResponse

from backend.pages.blueprint import add_pages
from backend.settings import Settings
from ovdiff.vocabulary import Category
from tests.backend.pages.conftest import words
from tests.fakes.curating_engine import CuratingEngine
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio
from tests.fakes.waiting import eventually

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red" background="#0a1e32"/><Label value="blue"/></BrushLabels></View>'
)
ABOUT = {"project": PROJECT_UID, "name": "red"}


@pytest.fixture
def engine(settings: Settings) -> CuratingEngine:
    return CuratingEngine(settings.bank_dir)


@pytest.fixture
def browser(
    make_app: MakeApp, settings: Settings, engine: CuratingEngine, label_studio: FakeLabelStudio
) -> FlaskClient:
    label_studio.tasks = [{"id": number, "data": {"image": "/data/upload/1/picture.png"}} for number in (3, 8)]
    client = make_app(settings, engine, add_pages=add_pages).test_client()
    connect(client)
    return client


def connect(client: FlaskClient) -> None:
    client.post("/setup", json={"project": PROJECT_UID, "schema": CONFIG})
    client.post("/predict", json={"project": PROJECT_UID, "label_config": CONFIG, "tasks": []})


def post(browser: FlaskClient, path: str, **fields: Any) -> TestResponse:
    shown = browser.get("/page/category", query_string=ABOUT).text
    token, drawn = (re.findall(rf'name="{name}" value="([^"]+)"', shown)[0] for name in ("token", "drawn"))
    return browser.post(path, data={**ABOUT, "token": token, "drawn": drawn, **fields})


def page(browser: FlaskClient) -> str:
    return browser.get("/page/preview", query_string=ABOUT).text


def hidden(browser: FlaskClient, path: str) -> dict[str, str]:
    """Return what a form of the preview's page says by itself."""
    form = page(browser).partition(f'action="{path}"')[2].partition("</form>")[0]
    return dict(re.findall(r'name="(seen|act)" value="([^"]+)"', form))


def press(browser: FlaskClient, path: str, **fields: str) -> TestResponse:
    """Press the button of a form of the preview's page."""
    return post(browser, path, **hidden(browser, path), **fields)


def looked(browser: FlaskClient, text: str) -> str:
    """Return the page as soon as it shows a text."""
    assert eventually(lambda: text in words(page(browser))), words(page(browser))
    return page(browser)


def test_a_change_is_seen_before_it_is_in_force_applied_and_undone(
    browser: FlaskClient, engine: CuratingEngine
) -> None:
    answer = post(browser, "/page/preview", change="reject", number="0", why="blurred")
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/page/preview?project={PROJECT_UID}&name=red"
    shown = looked(browser, "of this image would get another label")
    assert engine.curator.curations == {}, "nothing is in force yet"
    assert "Before After Of the image red background 12.50 %" in words(shown)
    assert "It is task 3" in words(shown)
    pictures = re.findall(r'src="(/page/preview.png[^"]+)"', shown)
    answers = [browser.get(address.replace("&amp;", "&")) for address in pictures]
    assert [each.status_code for each in answers] == [200] * 4
    assert len({each.data for each in answers}) == 4
    assert "#0a1e32" in re.findall(r'fill="(#[0-9a-f]{6})"', shown), "the colour of the label config, as an attribute"
    image, before = (np.asarray(Image.open(io.BytesIO(each.data)).convert("RGB"), dtype=float) for each in answers[:2])
    in_colour = np.abs(before - (image + ImageColor.getrgb("#0a1e32")) / 2).max(axis=2) <= 1
    assert np.mean(in_colour) > 0.1, "what is red before is tinted in the label's colour"

    press(browser, "/page/preview/again", task="8")
    assert "It is task 8" in words(looked(browser, "It is task 8"))
    built = len(engine.built)
    assert press(browser, "/page/preview/apply").status_code == 303
    (curation,) = engine.curator.curations.values()
    assert (curation.rejected_numbers(), curation.reason(0)) == ({0}, "blurred")
    assert "Applied" in words(page(browser)) and "Undo" in words(page(browser))
    mark = hidden(browser, "/page/preview/apply")["seen"]
    assert "Undo it first." in words(post(browser, "/page/preview/again", seen=mark, task="3").text)
    browser.get("/status")
    assert len(engine.built) == built, "what the draft built is what is in force"
    press(browser, "/page/preview/apply")
    assert next(iter(engine.curator.curations.values())).identity() == {}
    assert "Applied" not in words(page(browser)) and "Apply" in words(page(browser))


def test_who_presses_twice_applies_once_and_undoes_once(browser: FlaskClient, engine: CuratingEngine) -> None:
    post(browser, "/page/preview", change="reject", number="0")
    looked(browser, "would get another label")
    for act, numbers in (("apply", {0}), ("undo", set())):
        form = hidden(browser, "/page/preview/apply")
        assert form["act"] == act
        for _ in range(2):
            assert post(browser, "/page/preview/apply", **form).status_code == 303
            assert next(iter(engine.curator.curations.values())).rejected_numbers() == numbers


def test_a_change_that_somebody_else_had_looked_at_is_not_applied_by_an_older_page(
    browser: FlaskClient, engine: CuratingEngine
) -> None:
    post(browser, "/page/preview", change="reject", number="0")
    looked(browser, "would get another label")
    older, (picture, *_) = (
        hidden(browser, "/page/preview/apply"),
        re.findall(r'src="(/page/preview.png[^"]+)"', page(browser)),
    )
    assert browser.get(html.unescape(picture)).status_code == 200
    post(browser, "/page/preview", change="reject", number="1")
    looked(browser, "Nothing of this image would change")
    for path, fields in (("/page/preview/apply", older), ("/page/preview/again", older | {"task": "8"})):
        answer = post(browser, path, **fields)
        assert answer.status_code == 400 and "another change of this label was looked at since" in words(answer.text)
    assert browser.get(html.unescape(picture)).status_code == 400, "the browser would keep another picture there"
    assert engine.curator.curations == {}


def test_a_change_that_changes_nothing_on_this_image_says_so(browser: FlaskClient) -> None:
    post(browser, "/page/preview", change="reject", number="1", task="3")
    looked(browser, "Nothing of this image would change.")


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(browser: FlaskClient, engine: CuratingEngine) -> None:
    post(browser, "/page/preview", change="reject", number="0")
    looked(browser, "would get another label")
    post(browser, "/page/category/reject", number="1")
    answer = press(browser, "/page/preview/apply")
    assert answer.status_code == 400
    assert "'red' was changed since this was looked at, so nothing was done." in words(answer.text)
    assert next(iter(engine.curator.curations.values())).rejected_numbers() == {1}


def test_a_look_at_images_of_other_words_is_refused_and_nothing_of_it_is_applied(
    browser: FlaskClient, engine: CuratingEngine
) -> None:
    post(browser, "/page/preview", change="reject", number="0")
    looked(browser, "would get another label")
    old = engine.curator.drawn_key(Category("red"))
    other = CONFIG.replace('value="red"', 'value="red" prompts="a ship"')
    browser.post("/setup", json={"project": PROJECT_UID, "schema": other})
    answer = post(browser, "/page/preview", change="reject", number="0", drawn=old)
    assert answer.status_code == 400 and "the page is old" in words(answer.text)
    answer = press(browser, "/page/preview/apply")
    assert answer.status_code == 400 and "says other words of 'red' now" in words(answer.text)
    assert engine.curator.curations == {}


def test_a_second_look_while_one_goes_on_is_refused_so_nobody_applies_anothers_change(
    browser: FlaskClient, engine: CuratingEngine
) -> None:
    gate = threading.Event()
    engine.on_segment = lambda: gate.wait(60)
    assert [post(browser, "/page/preview", change="reject", number="0").status_code for _ in range(2)] == [303, 303]
    answer = post(browser, "/page/preview", change="reject", number="1")
    assert answer.status_code == 503 and "is still to be finished" in words(answer.text)
    gate.set()
    assert "red background 12.50 %" in words(looked(browser, "would get another label"))


def test_two_people_who_want_the_same_look_wait_for_the_same(browser: FlaskClient, engine: CuratingEngine) -> None:
    gate, other = threading.Event(), browser.application.test_client()
    engine.on_segment = lambda: gate.wait(60)
    assert [post(each, "/page/preview", change="reject", number="0").status_code for each in (browser, other)] == [
        303,
        303,
    ]
    gate.set()


def test_a_look_at_a_background_of_an_old_page_is_refused(browser: FlaskClient, engine: CuratingEngine) -> None:
    old = engine.category_key(Category("red"))
    engine.curator.reject(Category("red"), [1])
    answer = post(browser, "/page/preview", change="ban", number="1", key=old)
    assert answer.status_code == 400 and "the page is old" in words(answer.text)


def test_prompts_on_trial_are_seen_too_and_are_taken_in_the_label_config(browser: FlaskClient) -> None:
    assert "No other prompts of 'red' are on trial" in words(post(browser, "/page/preview", change="trial").text)
    post(browser, "/page/category/try", prompts="green")
    trial = "See what they would change"
    assert eventually(lambda: trial in words(browser.get("/page/category", query_string=ABOUT).text))
    post(browser, "/page/preview", change="trial")
    shown = looked(browser, "red background")
    assert f'href="/page/take?project={PROJECT_UID}&amp;name=red">Take them</a>' in shown
    assert "/page/preview/apply" not in shown
    assert press(browser, "/page/preview/apply").status_code == 400


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"change": "explode"}, "'explode' is no change of a label; there are ban, draw, "),
        ({"change": "reject"}, "No image is ticked"),
        ({"change": "reject", "number": "0", "task": "x"}, "The request lacks the task."),
        ({"change": "add-exemplar"}, "The form lacks an image."),
    ],
)
def test_a_form_that_lacks_something_is_refused(browser: FlaskClient, fields: dict[str, str], said: str) -> None:
    answer = post(browser, "/page/preview", **fields)
    assert answer.status_code == 400
    assert said in words(answer.text)


def test_what_fails_while_it_is_looked_at_is_told_on_the_page(
    browser: FlaskClient, label_studio: FakeLabelStudio
) -> None:
    assert "Nothing is being looked at." in words(page(browser))
    assert browser.get("/page/preview.png", query_string=ABOUT | {"number": "0"}).status_code == 404
    post(browser, "/page/preview", change="reject", number="7")
    looked(browser, "failed 'red' has no drawn image 7; there are 0, 1.")
    post(browser, "/page/preview", change="reject", number="0", task="9")
    looked(browser, "failed Project 1 has no task 9, or it was deleted.")
    assert press(browser, "/page/preview/apply").status_code == 404
    label_studio.tasks = []
    post(browser, "/page/preview", change="reject", number="0")
    looked(browser, "failed Project 1 has no task to look at. Import one.")


def test_a_label_that_is_not_ready_has_no_before(
    make_app: MakeApp, settings: Settings, engine: CuratingEngine, label_studio: FakeLabelStudio
) -> None:
    label_studio.tasks = [{"id": 3, "data": {"image": "/data/upload/1/picture.png"}}]
    engine.failing = frozenset({"red"})
    client = make_app(settings, engine, add_pages=add_pages).test_client()
    connect(client)
    post(client, "/page/preview", change="reject", number="0")
    looked(client, "failed 'red' is not ready, so there is no before.")


def test_an_engine_without_support_sets_refuses(make_app: MakeApp, settings: Settings) -> None:
    client = make_app(settings, FakeEngine(settings.bank_dir), add_pages=add_pages).test_client()
    connect(client)
    answer = client.post("/page/preview", data=ABOUT | {"change": "reject", "number": "0"})
    assert answer.status_code == 400, "there is no form, so there is no token"
