import io
import re
import threading
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from backend.pages.blueprint import add_pages
from backend.settings import Settings
from ovdiff.vocabulary import Category
from tests.backend.pages.conftest import words
from tests.backend.pages.test_annotated_tasks import annotated, region
from tests.fakes.curating_engine import CuratingEngine
from tests.fakes.engine import FakeEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio
from tests.fakes.waiting import eventually

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red"/><Label value="dark/blue &amp; &quot;so&quot;"/></BrushLabels></View>'
)
ABOUT = {"project": PROJECT_UID, "name": "red"}
CHANGES = (
    "reject",
    "restore",
    "draw",
    "add-exemplar",
    "add-annotated",
    "remove-exemplar",
    "unban",
    "ban",
    "promote",
    "demote",
    "try",
    "end-trial",
)
RED = Category("red")


@pytest.fixture
def engine(settings: Settings) -> CuratingEngine:
    return CuratingEngine(settings.bank_dir)


@pytest.fixture
def browser(make_app: MakeApp, settings: Settings, engine: FakeEngine) -> FlaskClient:
    client = make_app(settings, engine, add_pages=add_pages).test_client()
    client.post("/setup", json={"project": PROJECT_UID, "schema": CONFIG})
    client.post("/predict", json={"project": PROJECT_UID, "label_config": CONFIG, "tasks": []})
    return client


def page(browser: FlaskClient, /, **about: str) -> str:
    return browser.get("/page/category", query_string=ABOUT | about).text


def change(browser: FlaskClient, what: str, /, **fields: Any) -> TestResponse:
    shown = page(browser)
    (token, *_) = re.findall(r'name="token" value="([^"]+)"', shown)
    (drawn, *_) = re.findall(r'name="drawn" value="([^"]+)"', shown)
    return browser.post(f"/page/category/{what}", data={**ABOUT, "token": token, "drawn": drawn, **fields})


def numbering(browser: FlaskClient) -> str:
    """Return the key that the page sends along with the number of a background."""
    (key,) = set(re.findall(r'name="key" value="([^"]+)"', page(browser)))
    return str(key)


def shown_bans(browser: FlaskClient) -> list[str]:
    return re.findall(r'name="places" value="([^"]+)"', page(browser))


def shown_state(browser: FlaskClient) -> str:
    return words(page(browser)).partition(" State ")[2].split()[0]


def png(pixels: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    file.seek(0)
    return file


def test_the_page_shows_the_label_and_its_images(browser: FlaskClient) -> None:
    said = words(page(browser))
    assert said.startswith(
        "Overview Project 1 red red State ready Kind thing a table of known words Prompts red "
        "Does the generator know it? known CLIP agrees"
    )
    pictures = re.findall(r'src="(/page/category/support.png[^"]+)"', page(browser))
    assert len(pictures) == 2
    for address in pictures:
        picture = browser.get(address.replace("&amp;", "&"))
        assert picture.data.startswith(b"\x89PNG")
        assert picture.headers["Cache-Control"] == "private, max-age=86400, immutable"
    name = {"name": 'dark/blue & "so"'}
    assert 'dark/blue & "so" State ready' in words(page(browser, **name))


def test_the_page_of_a_label_asks_the_bank_for_no_other_label(
    browser: FlaskClient, engine: CuratingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert eventually(lambda: browser.get("/status").get_json()["projects"][PROJECT_UID]["counts"] == {"ready": 2})
    asked, whole = [], engine.has
    monkeypatch.setattr(engine, "has", lambda category: asked.append(category.name) or whole(category))
    assert "State ready" in words(page(browser))
    assert set(asked) == {"red"}


def test_an_image_is_left_out_and_taken_back(browser: FlaskClient, engine: CuratingEngine) -> None:
    answer = change(browser, "reject", number=["0", "1"], why=" blurred \n and small")
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/page/category?project={PROJECT_UID}&name=red#changes"
    built = len(engine.built)
    said = words(page(browser))
    assert "Image 0 was left out on 2026-11-22: blurred and small. Take it back" in said
    assert eventually(lambda: len(engine.built) == built + 1), "the worker builds the changed label by itself"
    assert eventually(lambda: shown_state(browser) == "ready")
    change(browser, "restore", number="1")
    assert "Image 1 was left out" not in words(page(browser))
    change(browser, "restore", number="0")
    assert "Nothing: the label is as it was drawn." in words(page(browser))
    assert shown_state(browser) == "ready", "the set from before is still in the bank"


def test_numbers_of_an_old_page_leave_out_no_image_that_was_drawn_from_other_words(
    browser: FlaskClient, engine: CuratingEngine
) -> None:
    (old, *_) = re.findall(r'name="drawn" value="([^"]+)"', page(browser))
    other = CONFIG.replace('value="red"', 'value="red" prompts="a ship"')
    browser.post("/setup", json={"project": PROJECT_UID, "schema": other})
    for name in ("reject", "restore"):
        for drawn in (old, "", "é"):
            answer = change(browser, name, number="0", drawn=drawn)
            assert answer.status_code == 400
            assert "the page is old. The images of 'red' are drawn from other words now" in words(answer.text)
    assert engine.curator.curations == {}
    assert change(browser, "reject", number="0").status_code == 303


def test_what_others_left_out_meanwhile_makes_no_page_old(browser: FlaskClient, engine: CuratingEngine) -> None:
    (drawn, *_) = re.findall(r'name="drawn" value="([^"]+)"', page(browser))
    engine.curator.reject(RED, [1])
    assert change(browser, "reject", number="0", drawn=drawn).status_code == 303
    assert engine.curator.curation(RED).rejected_numbers() == {0, 1}


def test_an_image_of_ones_own_is_added_and_removed(browser: FlaskClient, engine: CuratingEngine) -> None:
    image, mask = np.full((20, 30, 3), 200, np.uint8), np.zeros((20, 30), np.uint8)
    mask[5:15, 5:25] = 255
    files = {"image": (png(image), "mine.png"), "mask": (png(mask), "mask.png")}
    assert change(browser, "add-exemplar", alone="on", **files).status_code == 303
    said = words(page(browser))
    assert "exemplar mine.png" in said
    assert "The image mine.png was added on 2026-11-22, from the page. Remove it" in said
    assert "No images are drawn" in said
    (stored,) = engine.curator.exemplars.values()
    assert (stored[1] == (mask > 0)).all()
    change(browser, "draw")
    change(browser, "remove-exemplar", value="0" * 12)
    assert "Nothing: the label is as it was drawn." in words(page(browser))


def test_what_people_marked_in_a_task_is_added_outside_the_request(
    browser: FlaskClient, label_studio: FakeLabelStudio, engine: CuratingEngine
) -> None:
    label_studio.label_config = CONFIG
    mask = np.zeros((48, 64), dtype=np.bool_)
    mask[10:30, 5:20] = True
    label_studio.tasks = [annotated(3, region("red", mask))]
    assert change(browser, "add-annotated", **{"from": "3"}).status_code == 303
    expected = "picture.png was added on 2026-11-22, from task 3."
    assert eventually(lambda: expected in words(page(browser)))
    (stored,) = engine.curator.exemplars.values()
    assert (stored[1] == mask).all()
    change(browser, "add-annotated", **{"from": "9"})
    assert eventually(lambda: "fetched and added: failed Project 1 has no task 9" in words(page(browser)))


def test_the_background_is_looked_for_ruled_out_and_allowed_again(browser: FlaskClient) -> None:
    assert "Show where it came from" in words(page(browser))
    change(browser, "look-for-background")
    assert eventually(lambda: "2 clip, 75% of the background" in words(page(browser)))
    pictures = re.findall(r'src="(/page/category/background.png[^"]+)"', page(browser))
    assert len(pictures) == 4
    assert all(browser.get(address.replace("&amp;", "&")).status_code == 200 for address in pictures)
    assert browser.get("/page/category/background.png", query_string=ABOUT | {"number": "9"}).status_code == 404
    change(browser, "ban", number="1", why="it is a jetty", key=numbering(browser))
    expected = "Background (clip, 25% of the background) was ruled out on 2026-11-22: it is a jetty."
    assert eventually(lambda: expected in words(page(browser)))
    change(browser, "unban", places=shown_bans(browser)[0])
    assert "Nothing: the label is as it was drawn." in words(page(browser))


def test_a_background_of_an_old_page_is_not_taken_for_another_one(browser: FlaskClient, engine: CuratingEngine) -> None:
    change(browser, "look-for-background")
    assert eventually(lambda: "2 clip, 75% of the background" in words(page(browser)))
    old = numbering(browser)
    engine.curator.reject(RED, [1])  # k-means numbers anew
    for key in (old, "", "é"):
        answer = change(browser, "ban", number="1", key=key)
        assert answer.status_code == 400
        assert "Nothing was changed: the page is old. 'red' was changed since" in words(answer.text)
    assert engine.curator.curation(RED).bans == ()


def test_a_background_is_not_ruled_out_if_the_label_changes_before_its_turn(
    browser: FlaskClient, engine: CuratingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    found = engine.curator.backgrounds(RED)
    monkeypatch.setattr(engine.curator, "backgrounds", lambda _category: gate.wait(60) and found)
    change(browser, "look-for-background")
    assert change(browser, "ban", number="1", key=engine.category_key(RED)).status_code == 303
    engine.curator.reject(RED, [1])
    gate.set()
    assert eventually(
        lambda: "is being ruled out: failed Nothing was changed: the page is old." in words(page(browser))
    )
    assert engine.curator.curation(RED).bans == ()


def test_a_second_wish_while_one_waits_is_refused_and_the_same_twice_is_one(
    browser: FlaskClient, engine: CuratingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    found = engine.curator.backgrounds(RED)
    monkeypatch.setattr(engine.curator, "backgrounds", lambda _category: gate.wait(60) and found)
    change(browser, "look-for-background")
    key = engine.category_key(RED)
    assert [change(browser, "ban", number="1", key=key).status_code for _ in range(2)] == [303, 303]
    answer = change(browser, "ban", number="2", key=key)
    assert answer.status_code == 503
    said = "'Background 2 of red is being ruled out' was not begun: 'Background 1 of red is being ruled out' is still"
    assert said in words(answer.text)
    gate.set()
    assert eventually(lambda: len(engine.curator.curation(RED).bans) == 1)


def test_a_double_click_lifts_one_ban_and_not_the_next_persons(browser: FlaskClient, engine: CuratingEngine) -> None:
    for number in (1, 2):
        engine.curator.ban(RED, number)
    first, second = shown_bans(browser)
    assert change(browser, "unban", places=first).status_code == 303
    assert "has no ban" in words(change(browser, "unban", places=first).text)
    assert [ban.places[:12] for ban in engine.curator.curation(RED).bans] == [second]


def test_a_change_that_fails_outside_the_request_is_told_on_the_page(
    browser: FlaskClient, engine: CuratingEngine
) -> None:
    change(browser, "ban", number="7", key=engine.category_key(RED))
    expected = "Background 7 of red is being ruled out: failed 'red' has no background prototype 7; there are 0 to 2."
    assert eventually(lambda: expected in words(page(browser)))


def test_other_prompts_are_drawn_beside_the_present_ones(browser: FlaskClient, engine: CuratingEngine) -> None:
    assert change(browser, "try", prompts="blue boat; ship").headers["Location"].endswith("#trial")
    assert eventually(lambda: "On trial: blue boat; ship ready" in words(page(browser)))
    shown = page(browser)
    assert "leave its other attributes as they are." in words(shown)
    assert "<code>prompts=&#34;blue boat; ship&#34;</code></pre>" in shown
    pictures = re.findall(r'src="(/page/category/support.png[^"]+tried=1[^"]*)"', shown)
    assert [browser.get(address.replace("&amp;", "&")).status_code for address in pictures] == [200, 200]
    status = browser.get("/status").get_json()["projects"]
    assert status[PROJECT_UID]["categories"][0]["prompts"] == ["red"], "no prediction changes"
    change(browser, "end-trial")
    assert "On trial" not in words(page(browser))
    assert browser.get("/page/category/support.png", query_string=ABOUT | {"tried": 1, "number": 0}).status_code == 404


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("reject", {}, "No image is ticked"),
        ("reject", {"number": "x"}, "No image is ticked"),
        ("reject", {"number": "7"}, "'red' has no drawn image 7; there are 0, 1."),
        ("unban", {}, "The request lacks the places of the ban that is meant."),
        ("unban", {"places": "ab"}, "'red' has no ban ab; there are 0."),
        ("add-exemplar", {}, "The form lacks an image."),
        ("try", {"prompts": ""}, "No prompts to try"),
        ("reject", {"number": "0", "name": "sea"}, "has no label 'sea'"),
        ("reject", {"number": "0", "project": "9.9"}, "No labels of a project '9.9' are known here"),
    ],
)
def test_a_mistake_becomes_a_page_that_says_what_to_do(
    browser: FlaskClient, name: str, fields: dict[str, str], said: str
) -> None:
    answer = change(browser, name, **fields)
    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert said in words(answer.text)


def test_without_the_token_nothing_is_changed(browser: FlaskClient, engine: CuratingEngine) -> None:
    for name in CHANGES:
        answer = browser.post(f"/page/category/{name}", data={**ABOUT, "number": "0", "prompts": "x"})
        assert answer.status_code == 400
        assert "Nothing was changed" in words(answer.text)
        assert browser.get(f"/page/category/{name}", query_string=ABOUT).status_code == 405
    assert engine.curator.curations == {}


def test_an_engine_whose_labels_cannot_be_changed_shows_what_it_has(
    make_app: MakeApp, settings: Settings, engine: CuratingEngine
) -> None:
    plain = FakeEngine(settings.bank_dir)
    client = make_app(settings, plain, add_pages=add_pages).test_client()
    client.post("/setup", json={"project": PROJECT_UID, "schema": CONFIG})
    client.post("/predict", json={"project": PROJECT_UID, "label_config": CONFIG, "tasks": []})
    shown = page(client)
    assert "Support images" in words(shown)
    assert "<form" not in shown
    assert client.get("/page/category", query_string=ABOUT | {"name": "sea"}).status_code == 400


def test_a_trial_ends_also_after_its_label_was_renamed(browser: FlaskClient, engine: CuratingEngine) -> None:
    assert change(browser, "try", prompts="ship").status_code == 303
    (token, *_) = re.findall(r'name="token" value="([^"]+)"', page(browser))
    service = browser.application.extensions["ovdiff"]
    tried = Category("red", ("ship",))
    assert eventually(lambda: service.precompute.status(tried).state == "ready")
    browser.post("/setup", json={"project": PROJECT_UID, "schema": CONFIG.replace('"red"', '"blue"')})
    answer = browser.post("/page/category/end-trial", data=ABOUT | {"token": token})
    assert answer.status_code == 400, "there is no page of the label to go back to"
    browser.post("/setup", json={"project": PROJECT_UID, "schema": CONFIG})
    assert "On trial" not in words(page(browser))


def test_a_picture_of_another_state_of_the_label_is_not_kept_under_an_old_address(
    browser: FlaskClient, engine: CuratingEngine
) -> None:
    (first, _) = re.findall(r'src="(/page/category/support.png[^"]+)"', page(browser))
    change(browser, "look-for-background")
    assert eventually(lambda: "background.png" in page(browser))
    (part, *_) = re.findall(r'src="(/page/category/background.png[^"]+)"', page(browser))
    addresses = [address.replace("&amp;", "&") for address in (first, part)]
    assert [browser.get(address).status_code for address in addresses] == [200, 200]
    keyless = [re.sub(r"key=\w+", "key=", address) for address in addresses]
    assert [browser.get(address).status_code for address in keyless] == [404, 404]
    engine.curator.reject(RED, [0])
    answer = browser.get(addresses[0])
    assert (answer.status_code, answer.headers.get("Cache-Control", "")) == (404, "no-store")
