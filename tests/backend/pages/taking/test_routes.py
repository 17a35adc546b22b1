"""Prompts on trial are taken, through the application: shown before, made once, refused where something differs."""

import html

import pytest
from flask.testing import FlaskClient

from backend.errors import LabelStudioAPIError
from backend.pages.blueprint import add_pages
from backend.settings import LabelStudioSettings, Settings
from backend.sources.label_studio import LabelStudioClient, Project
from tests.backend.pages.conftest import words
from tests.backend.pages.taking.conftest import ABOUT, CONFIG, TAKEN, post, seen, try_prompts
from tests.fakes.curating_engine import CuratingEngine
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio


def label_page(browser: FlaskClient) -> str:
    return words(browser.get("/page/category", query_string=ABOUT).text)


def test_the_exact_change_is_shown_made_and_undone(browser: FlaskClient, label_studio: FakeLabelStudio) -> None:
    try_prompts(browser)
    shown = html.unescape(browser.get("/page/take", query_string=ABOUT).text)
    assert "<code><Label  value='red' hotkey=\"1\" /></code>" in shown
    assert '<code><Label  value=\'red\' hotkey="1" prompts="red boat; ship" /></code>' in shown
    assert label_studio.label_config == CONFIG, "looking changes nothing"
    mark = seen(browser)
    for _ in range(2):  # somebody presses twice
        answer = post(browser, "/page/take", seen=mark)
        assert (answer.status_code, answer.headers["Location"]) == (
            303,
            f"/page/category?project={PROJECT_UID}&name=red#trial",
        )
        assert label_studio.label_config == TAKEN
    said = label_page(browser)
    assert "Prompts red boat; ship" in said, "the service has read it by now"
    assert "Other prompts were taken" in said and "On trial" not in said
    for _ in range(2):
        assert post(browser, "/page/take/undo").status_code == 303
        assert label_studio.label_config == CONFIG
    said = label_page(browser)
    assert "Other prompts were taken" not in said and "Prompts red" in said


def test_a_change_is_not_made_if_the_label_config_is_another_than_was_shown(
    browser: FlaskClient, label_studio: FakeLabelStudio
) -> None:
    try_prompts(browser)
    mark = seen(browser)
    label_studio.label_config = edited = CONFIG.replace("ours", "yours")
    answer = post(browser, "/page/take", seen=mark)
    assert answer.status_code == 400
    assert "Nothing was changed: the label config in Label Studio, or the prompts on trial, are" in words(answer.text)
    assert label_studio.label_config == edited


def test_prompts_that_somebody_else_tries_meanwhile_are_not_taken(
    browser: FlaskClient, label_studio: FakeLabelStudio
) -> None:
    try_prompts(browser)
    mark = seen(browser)
    try_prompts(browser, "a bus")
    assert post(browser, "/page/take", seen=mark).status_code == 400
    assert label_studio.label_config == CONFIG


def test_an_edit_of_the_label_since_is_not_undone(browser: FlaskClient, label_studio: FakeLabelStudio) -> None:
    try_prompts(browser)
    post(browser, "/page/take", seen=seen(browser))
    label_studio.label_config = TAKEN.replace("ours", "yours")
    assert post(browser, "/page/take/undo").status_code == 303
    assert label_studio.label_config == CONFIG.replace("ours", "yours"), "what else was edited stays"
    try_prompts(browser)
    post(browser, "/page/take", seen=seen(browser))
    label_studio.label_config = edited = label_studio.label_config.replace("red boat", "bus")
    answer = post(browser, "/page/take/undo")
    assert answer.status_code == 400
    assert "the label 'red' was edited in Label Studio since" in words(answer.text)
    assert label_studio.label_config == edited


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, 502, "Nothing was changed: Label Studio refused the token at"),
        (400, 502, "Nothing was changed: Label Studio answered 400 at"),
        (500, 502, "So it is not known whether 'red' was changed."),
    ],
)
def test_a_refusal_of_label_studio_is_told(
    browser: FlaskClient, label_studio: FakeLabelStudio, status: int, code: int, said: str
) -> None:
    try_prompts(browser)
    mark = seen(browser)
    label_studio.patch_faults = [status]
    answer = post(browser, "/page/take", seen=mark)
    assert answer.status_code == code
    assert said in words(answer.text)
    assert label_studio.label_config == CONFIG
    assert "On trial: red boat; ship" in label_page(browser)


def test_what_fails_after_label_studio_took_it_does_not_say_that_nothing_was_changed(
    browser: FlaskClient, label_studio: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_prompts(browser)
    mark, whole = seen(browser), LabelStudioClient.project

    def project(client: LabelStudioClient, number: int) -> Project:
        if label_studio.label_config == TAKEN:
            raise LabelStudioAPIError("Label Studio refused the token (403).")
        return whole(client, number)

    monkeypatch.setattr(LabelStudioClient, "project", project)
    answer = post(browser, "/page/take", seen=mark)
    assert answer.status_code == 502 and label_studio.label_config == TAKEN
    assert "(403). So it is not known whether 'red' was changed." in words(answer.text)
    assert "Nothing was changed" not in words(answer.text)


def test_without_a_trial_or_a_token_nothing_can_be_taken(
    browser: FlaskClient, make_app: MakeApp, settings: Settings, engine: CuratingEngine
) -> None:
    answer = browser.get("/page/take", query_string=ABOUT)
    assert answer.status_code == 400
    assert "No other prompts of 'red' are on trial." in words(answer.text)
    for path in ("/page/take", "/page/take/undo"):
        assert browser.post(path, data=ABOUT).status_code == 400, "a form of ours alone"
    bare = Settings(
        data_dir=settings.data_dir.parent / "other", label_studio=LabelStudioSettings(url=settings.label_studio.url)
    )
    client = make_app(bare, CuratingEngine(bare.bank_dir), add_pages=add_pages).test_client()
    client.post("/setup", json={"project": PROJECT_UID, "schema": CONFIG})
    try_prompts(client)
    said = label_page(client)
    assert "This page cannot change the label config: LABEL_STUDIO_API_KEY is not set." in said
    assert "Take these prompts" in said and "/page/take?" not in client.get("/page/category", query_string=ABOUT).text
    answer = client.get("/page/take", query_string=ABOUT)
    assert answer.status_code == 502 and "LABEL_STUDIO_API_KEY is not set" in words(answer.text)
