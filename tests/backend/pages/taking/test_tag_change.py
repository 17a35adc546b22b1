"""The change of a label's tag beside what Label Studio has: what is refused before anything is sent."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from backend.errors import LabelStudioAPIError, RequestError
from backend.pages.taking.tag_change import TakenPrompts, cannot_take, make_change, prompts_change
from backend.serving.service import Service
from ovdiff.vocabulary import Category
from tests.backend.pages.taking.conftest import CONFIG, TAKEN
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio

RED = Category("red")
TRIED = Category("red", ("red boat", "ship"))


@pytest.fixture
def service(browser: FlaskClient) -> Service:
    found: Service = browser.application.extensions["ovdiff"]
    return found


def test_nothing_but_the_prompts_of_one_label_differs(service: Service) -> None:
    change = prompts_change(service, PROJECT_UID, RED, TRIED)
    assert (change.number, change.label, change.config, change.phrases) == (1, "red", TAKEN, TRIED.phrases)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda text: text.replace("'red'", "'crimson'"), "is not the one that this page knows"),
        (lambda text: text.replace('name="b"', 'name="c"'), "is not the one that this page knows"),
        (
            # Another control draws the label first by now, so these prompts would not be read.
            lambda text: text.replace(
                "<BrushLabels",
                '<BitmaskLabels name="a" toName="image"><Label value="red"/></BitmaskLabels><BrushLabels',
            ),
            "would not be read from this tag",
        ),
    ],
)
def test_a_label_config_in_which_it_would_do_something_else_is_refused(
    service: Service, label_studio: FakeLabelStudio, edit: Callable[[str], str], said: str
) -> None:
    label_studio.label_config = edit(CONFIG)
    with pytest.raises(RequestError, match=said):
        prompts_change(service, PROJECT_UID, RED, TRIED)


def test_another_project_of_the_same_number_is_not_changed(
    service: Service, browser: FlaskClient, label_studio: FakeLabelStudio
) -> None:
    browser.post("/setup", json={"project": "1.99", "schema": CONFIG})
    with pytest.raises(RequestError, match="project 1 of Label Studio is another one than the project of this page"):
        prompts_change(service, "1.99", RED, TRIED)
    browser.post("/setup", json={"project": "mine", "schema": CONFIG})
    assert "gives this project no number" in cannot_take(service, "mine")
    with pytest.raises(RequestError, match="'mine' has no number"):
        prompts_change(service, "mine", RED, TRIED)


def test_what_label_studio_did_not_keep_is_told(
    service: Service, label_studio: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = prompts_change(service, PROJECT_UID, RED, TRIED)
    monkeypatch.setattr(service.label_studio, "patch", lambda _path, _body: None)  # somebody wrote behind us
    with pytest.raises(LabelStudioAPIError, match="keeps another label config of project 1 than it was sent"):
        make_change(service, PROJECT_UID, change)


def test_the_oldest_changes_are_forgotten_and_a_label_with_other_prompts_shows_none(service: Service) -> None:
    change = prompts_change(service, PROJECT_UID, RED, TRIED)
    taken = TakenPrompts(most=1)
    taken.add(PROJECT_UID, change)
    assert taken.in_force(PROJECT_UID, TRIED) == change
    assert taken.in_force(PROJECT_UID, RED) is None
    taken.add("2.1", change)
    assert taken.of(PROJECT_UID, "red") is None
    with pytest.raises(RequestError, match="No change of 'red' is known that could be undone"):
        taken.undo(service, PROJECT_UID, RED)
