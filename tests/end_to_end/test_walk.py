"""One walk through all that a team does with the service, in a real Label Studio and a real headless Chromium.

What a person does is done by mouse and keyboard in the browser: connecting, changing what a label means, correcting by
the brush, switching a lesson off, adding a label, clicking with a smart tool. What came of it is read from Label
Studio's API, from the browser, and from the backend's files.

    make pictures    # takes this walk, and writes the screenshots of README.md and of the pages into docs/
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from selenium import webdriver

from backend.demo import backend_server
from backend.demo.api import StoredTask
from backend.demo.console import standard_console
from backend.demo.processes import ProcessGroups
from backend.demo.project import write_images
from backend.demo.session import Session
from converters.encodings.brush import brush_rle_to_mask
from tests.conftest import ROOT
from tests.end_to_end.editor import (
    SETTLE_S,
    SMART_POINT,
    click_at,
    delete_region,
    draw,
    log_in,
    press,
    switch_on_auto_annotation,
    type_keys,
)
from tests.end_to_end.label_studio_settings import add_label, connect_model
from tests.end_to_end.page import TIMEOUT_S, label_states, press_words, shown, wait_for_pictures, wait_for_text
from tests.end_to_end.prelabelling import prelabel, use_settings_of
from tests.end_to_end.walk import CONFIG, KEYS, NAMES, SCENES, SIZE_PX, Labels, Walk
from tests.fakes.waiting import eventually

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.browser,
    pytest.mark.timeout(1800),  # two minutes on two idle cores; on a busy machine every step waits
]

Prelabel = Callable[..., dict[str, Any]]
TakePicture = Callable[..., None]
Known = tuple[tuple[Any, ...], Labels]
"""What a task's prediction says, and its label map."""

_CURATED, _LEFT_OUT = "boat", 0
_ADDED = "fish"
_BRUSH_PX = 9  # of an image of SIZE_PX, by Label Studio's default


@pytest.fixture
def walk(session: Session, browser: webdriver.Chrome, tmp_path: Path) -> Iterator[Walk]:
    """A project that no backend knows, a backend of its own that has built nothing, and a person who is logged in."""
    api = session.maker.api
    project = api.create_project("Harbour", CONFIG)
    for image in write_images(SCENES, tmp_path, SIZE_PX):  # one by one, so that the tasks are in this order
        api.upload_images(project, [image])
    settings = {"PYTHONPATH": str(ROOT), "OVDIFF_DELETE_REPLACED_AFTER_S": "0"}
    with ProcessGroups() as groups:
        folder = tmp_path / "backend"
        backend = backend_server.start(folder, session.label_studio, groups, standard_console(), settings=settings)
        log_in(browser, session)
        yield Walk(browser, session, backend, project, tuple(api.tasks(project)))
        api.disconnect_backends(project)


@pytest.fixture
def settings_of_backend(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    use_settings_of(walk.backend, walk.session.label_studio, monkeypatch)


@pytest.mark.usefixtures("settings_of_backend")
def test_from_connecting_to_a_new_label(
    walk: Walk, capsys: pytest.CaptureFixture[str], take_picture: TakePicture
) -> None:
    def run(*words: str) -> dict[str, Any]:
        return prelabel(walk.project, capsys, *words)

    browser = walk.browser
    connect_model(browser, walk.session, walk.project, walk.backend.url)
    progress_is_seen(walk)
    assert run()["predicted"] == len(walk.tasks)
    version = walk.version()
    first = walk.contents(version)
    masks_are_seen(walk, walk.tasks[1], take_picture)

    a_change_is_previewed_and_applied(walk, run, take_picture)
    corrected, applied = walk.tasks[-1], walk.version()
    contents = walk.contents(applied)
    known = {task: (contents[task.id], walk.labels(task)) for task in walk.tasks}
    annotation = corrected_by_the_brush(walk, corrected)
    lesson_arrives(walk, corrected, take_picture)
    others_change(walk, corrected, known, run)
    (untouched,) = walk.api.predictions(corrected.id)
    assert (untouched["model_version"], untouched["result"]) == (applied, known[corrected][0][0])
    assert submitted(walk, corrected) == annotation

    lesson_is_switched_off(walk)
    image_is_taken_back(walk)
    assert walk.version() == version
    assert run("--changed-only", "--unannotated")["predicted"] == len(walk.tasks) - 1
    assert walk.contents(version, but=corrected) == {task: first[task] for task in first if task != corrected.id}

    a_new_label_computes_only_itself(walk, _ADDED, take_picture)
    a_click_becomes_a_mask(walk, walk.tasks[0])


def progress_is_seen(walk: Walk) -> None:
    """Watch the first page, which nobody loads anew, until all labels are ready."""
    browser = walk.browser
    browser.get(walk.backend.url)
    browser.execute_script("window.isStillThis = true")
    seen: list[str] = []

    def is_ready() -> bool:
        seen.append(shown(browser))
        return f"{len(NAMES)} of {len(NAMES)}\nlabels are ready" in seen[-1]

    assert eventually(is_ready, 3 * TIMEOUT_S), seen[-1]  # a busy machine makes them in minutes
    assert browser.execute_script("return window.isStillThis")
    counts = {match[1] for text in seen if (match := re.search(r"(\d) of \d\nlabels are ready", text))}
    assert len(counts) > 1, counts
    assert any(re.search(r"being made\s.*, \d+ %", text, re.DOTALL) for text in seen), seen
    assert label_states(browser) == dict.fromkeys(NAMES, "ready")


def masks_are_seen(walk: Walk, task: StoredTask, take_picture: TakePicture) -> None:
    """Open a task in the editor: each label's colour lies on its mask, and the tab names the version."""
    walk.open(task)
    labels = walk.labels(task)
    seen = walk.seen(task, labels)
    for number, name in enumerate(("background", *NAMES)):
        share = np.mean(seen[labels == number] == number)
        assert share > 0.85, (name, share)
    assert walk.version()[-6:] in _tabs(walk)
    take_picture("editor.png")


def _tabs(walk: Walk) -> str:
    return str(walk.browser.execute_script("return document.querySelector('.lsf-annotations-carousel').innerText"))


def a_change_is_previewed_and_applied(walk: Walk, run: Prelabel, take_picture: TakePicture) -> None:
    """Leave a support image out after a look at what that changes; predictions then change by what was told."""
    browser, task, version = walk.browser, walk.tasks[0], walk.version()
    before = walk.labels(task)
    browser.get(walk.backend.url)
    press_words(browser, _CURATED)
    wait_for_text(browser, "Support images")
    press(browser, f"input[name=number][value='{_LEFT_OUT}']")
    press_words(browser, "See first what leaving out would change")
    wait_for_text(browser, f"It is task {task.id}.")
    wait_for_pictures(browser)
    told = re.search(r"([\d.]+) % of this image would get another label", shown(browser))
    assert told, shown(browser)
    take_picture("preview.png", "section")
    assert walk.version() == version, "a look changes nothing"
    press_words(browser, "Apply")
    wait_for_text(browser, "Applied")

    assert walk.version() != version
    assert run("--changed-only")["predicted"] == len(walk.tasks)
    walk.contents(walk.version())
    changed = 100 * np.mean(walk.labels(task) != before)
    assert changed == pytest.approx(float(told[1]), abs=0.06)


def corrected_by_the_brush(walk: Walk, task: StoredTask) -> list[dict[str, Any]]:
    """Draw over the sky that was missed in a task, submit it, and return the annotation's regions."""
    walk.open(task)
    labels = walk.labels(task)
    walk.seen(task, labels)
    missed = walk.truth(task, "sky") & (labels != 1 + NAMES.index("sky"))
    type_keys(walk.browser, str(1 + NAMES.index("sky")))
    draw(walk.browser, strokes(missed))
    press(walk.browser, "[data-testid=bottombar-submit-button]")
    (drawn,) = [each for each in submitted(walk, task) if each["origin"] == "manual"]
    mask = brush_rle_to_mask(drawn["value"]["rle"], (SIZE_PX, SIZE_PX))
    assert drawn["value"]["brushlabels"] == ["sky"]
    assert np.mean(mask[missed]) > 0.5
    assert np.mean(walk.truth(task, "sky")[mask]) > 0.9
    return submitted(walk, task)


def strokes(mask: NDArray[np.bool_]) -> list[list[tuple[float, float]]]:
    """Return strokes of the brush that cover the wide parts of a mask, row by row, as shares of the image's sides."""
    found = []
    for row in range(_BRUSH_PX // 2, len(mask), _BRUSH_PX):
        ends = np.flatnonzero(np.diff(np.pad(mask[row], 1).astype(np.int8)))
        for start, end in ends.reshape(-1, 2):
            if end - start > 3 * _BRUSH_PX:
                xs = np.array([start + _BRUSH_PX, end - _BRUSH_PX]) / len(mask)
                found.append([(float(x), row / len(mask)) for x in xs])
    return found


def submitted(walk: Walk, task: StoredTask) -> list[dict[str, Any]]:
    """Wait for the annotation of a task, and return its regions."""
    path = f"/api/tasks/{task.id}/annotations"
    assert eventually(lambda: bool(walk.api.call("GET", path)), SETTLE_S)
    return list(walk.api.call("GET", path)[-1]["result"])


def lesson_arrives(walk: Walk, task: StoredTask, take_picture: TakePicture) -> None:
    """Wait for the lesson on the page, which tells who annotated and what was wrong."""
    browser = walk.browser
    lessons = f"{walk.backend.url}/page/projects/{walk.project}/lessons"

    def is_there() -> bool:
        browser.get(lessons)
        return "1 of 1\nlessons count" in shown(browser)

    assert eventually(is_there, TIMEOUT_S), shown(browser)
    assert f"Task {task.id}" in shown(browser)
    assert walk.session.label_studio.login.email in shown(browser)
    assert re.search(r"\d+ % was background and is sky", shown(browser))
    take_picture("lessons.png", "section")
    assert walk.version() != walk.api.predictions(task.id)[-1]["model_version"]


def others_change(walk: Walk, corrected: StoredTask, known: Mapping[StoredTask, Known], run: Prelabel) -> None:
    """Predict anew what nobody annotated: version and masks are others, and those are what the editor shows."""
    taught = walk.version()
    assert run("--changed-only", "--unannotated")["predicted"] == len(walk.tasks) - 1
    after = walk.contents(taught, but=corrected)
    changed = {task: walk.labels(task) != labels for task, (_, labels) in known.items() if task != corrected}
    most = max(changed, key=lambda task: np.count_nonzero(changed[task]))
    assert after[most.id] != known[most][0]
    where, labels = changed[most], walk.labels(most)
    assert where.mean() > 0.002, "enough to be seen"

    walk.open(most)
    seen = walk.seen(most, labels)
    assert np.mean((seen == labels)[where]) > 0.6, "the new labels are seen, not the old ones"
    assert taught[-6:] in _tabs(walk)


def lesson_is_switched_off(walk: Walk) -> None:
    """Switch the only lesson off on the page."""
    taught = walk.version()
    walk.browser.get(f"{walk.backend.url}/page/projects/{walk.project}/lessons")
    press_words(walk.browser, "Switch off")
    wait_for_text(walk.browser, "0 of 1\nlessons count")
    assert walk.version() != taught


def image_is_taken_back(walk: Walk) -> None:
    """Take the support image back that was left out."""
    walk.browser.get(walk.backend.url)
    press_words(walk.browser, _CURATED)
    wait_for_text(walk.browser, f"Image {_LEFT_OUT} was left out on ")
    press_words(walk.browser, "Take it back")
    wait_for_text(walk.browser, "Nothing: the label is as it was drawn.")


def a_new_label_computes_only_itself(walk: Walk, added: str, take_picture: TakePicture) -> None:
    """Add a label in Label Studio's settings: the page shows it being made, and the others ready all the while."""
    browser, bank = walk.browser, walk.bank()
    built = walk.backend.built()
    add_label(browser, walk.session, walk.project, added)
    browser.get(walk.backend.url)
    seen: list[dict[str, str]] = []

    def is_made() -> bool:
        seen.append(label_states(browser))
        if "generating" in shown(browser):
            take_picture("page.png", "#live-projects section")
        return seen[-1].get(added) == "ready"

    assert eventually(is_made, TIMEOUT_S), seen[-1]
    assert "being made" in {states.get(added) for states in seen}
    assert all(states[name] == "ready" for states in seen for name in NAMES), seen
    assert walk.backend.built() == [*built, added]
    assert walk.bank() | bank == walk.bank(), "no file of another label was written"
    assert len(walk.bank()) > len(bank)


def a_click_becomes_a_mask(walk: Walk, task: StoredTask) -> None:
    """Click on the boat with the smart keypoint, and submit the suggestion."""
    browser = walk.browser
    walk.open(task)
    switch_on_auto_annotation(browser)
    delete_region(browser, "boat")  # a click on a region would choose it
    type_keys(browser, KEYS["boat"])
    press(browser, SMART_POINT)
    truth = walk.truth(task, "boat")
    y, x = (float(np.mean(places)) / SIZE_PX for places in np.nonzero(truth))
    click_at(browser, x, y)
    press(browser, "[data-testid=bottombar-accept-suggestions-button]")
    press(browser, "[data-testid=bottombar-submit-button]")
    (boat,) = [each for each in submitted(walk, task) if each["value"].get("brushlabels") == ["boat"]]
    mask = brush_rle_to_mask(boat["value"]["rle"], (SIZE_PX, SIZE_PX))
    assert (mask & truth).sum() / (mask | truth).sum() > 0.8
