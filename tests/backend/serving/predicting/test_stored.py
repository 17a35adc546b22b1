"""Predictions on disk: through the service, and the folder alone."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.serving.http.app import create_app
from backend.serving.predicting.recent import ImageAddress
from backend.serving.predicting.stored import NotingFetcher, StoredItems
from backend.serving.service import Service
from backend.settings import ImageSettings, Settings
from tests.fakes.engine import FakeEngine
from tests.fakes.label_studio import PROJECT_UID, FakeLabelStudio
from tests.fakes.pictures import encoded, red_and_blue
from tests.fakes.waiting import eventually

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">'
    '<Label value="red"/><Label value="blue"/></BrushLabels></View>'
)
PATH = "/data/upload/1/picture.png"
TASK = {"id": 7, "data": {"image": PATH}}
OTHER = {"id": 8, "data": {"image": PATH}}
UPLOAD = "/data/upload/1/1f2e3d4c-picture.png"
UPLOADED = {"id": 9, "data": {"image": UPLOAD}}

Start = Callable[[], Service]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request moments after the last one would otherwise be left without a result, for Label Studio's sake."""
    monkeypatch.setattr("backend.serving.predicting.given.STORING_S", 0.0)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Nothing is remembered in memory, so that what is not computed comes from the disk."""
    return replace(settings, prediction=replace(settings.prediction, remember_bytes=0, prediction_slots=1))


@pytest.fixture
def start(settings: Settings, engine: FakeEngine) -> Iterator[Start]:
    """Return what starts the service anew on the same data folder."""
    begun: list[Service] = []

    def make() -> Service:
        for service in begun:
            service.stop()
        begun.append(create_app(settings, engine).extensions["ovdiff"])
        begun[-1].setup(PROJECT_UID, CONFIG)
        assert eventually(lambda: not begun[-1].standing(begun[-1].labelling(PROJECT_UID).categories).pending)
        return begun[-1]

    yield make
    for service in begun:
        service.stop()


def predict(service: Service, task: dict[str, Any] = TASK, config: str = CONFIG) -> dict[str, Any]:
    (item,) = service.predict(PROJECT_UID, [task], config)
    return item


def files(settings: Settings) -> list[Path]:
    return sorted((settings.data_dir / "predictions").glob("*"))


def test_a_repeated_request_is_a_look_up_that_survives_a_restart(start: Start, engine: FakeEngine) -> None:
    service = start()
    first = predict(service)
    assert predict(service) == first and predict(start()) == first
    assert engine.segmented == 1 and len(first["result"]) == 2
    assert predict(service, OTHER) != first and engine.segmented == 2  # regions of another task have other ids


def test_another_image_under_the_same_address_is_predicted(
    start: Start, engine: FakeEngine, label_studio: FakeLabelStudio
) -> None:
    service = start()
    first = predict(service)
    other = red_and_blue()
    other[:, :32] = 0
    label_studio.files[PATH] = ("image/png", encoded(other))
    second = predict(service)
    assert (len(first["result"]), len(second["result"])) == (2, 1)
    assert predict(service) == second
    label_studio.files[PATH] = ("image/png", encoded(red_and_blue()))
    assert predict(start()) == first


def test_an_upload_is_not_fetched_before_the_answer(
    start: Start, engine: FakeEngine, label_studio: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Label Studio writes to such an address once; any other image is fetched, for its owner may replace it."""
    label_studio.files[UPLOAD] = label_studio.files[PATH]
    service = start()
    first, replaceable = predict(service, UPLOADED), predict(service)
    monkeypatch.setattr("backend.serving.predicting.rechecks.Rechecks.soon", lambda *_: None)
    again = start()  # also after a restart
    label_studio.requests.clear()
    assert predict(again, UPLOADED) == first and label_studio.paths() == []
    assert predict(again) == replaceable and label_studio.paths() == [PATH]
    assert engine.segmented == 2


def test_an_upload_that_somebody_wrote_over_gets_new_masks_after_one_answer(
    start: Start, engine: FakeEngine, label_studio: FakeLabelStudio, settings: Settings
) -> None:
    label_studio.files[UPLOAD] = ("image/png", encoded(red_and_blue()))
    first = predict(start(), UPLOADED)
    other = red_and_blue()
    other[:, :32] = 0
    label_studio.files[UPLOAD] = ("image/png", encoded(other))
    service = start()
    assert predict(service, UPLOADED) == first
    assert eventually(lambda: files(settings) == [])
    assert len(predict(service, UPLOADED)["result"]) == 1 and engine.segmented == 2


def test_an_image_whose_server_gives_tags_is_asked_about_and_not_fetched(
    start: Start, engine: FakeEngine, label_studio: FakeLabelStudio
) -> None:
    """As Label Studio does for files of a local storage, and buckets do; the tag survives a restart."""
    label_studio.tags[PATH] = 'W/"17-5"'
    first = predict(start())
    service = start()
    label_studio.sent.clear()
    assert predict(service) == first and label_studio.sent == [(PATH, 304)]
    label_studio.tags[PATH] = '"18-5"'  # touched, and still the same
    assert predict(service) == first and label_studio.sent[1:] == [(PATH, 200)]
    other = red_and_blue()
    other[:, :32] = 0
    label_studio.files[PATH], label_studio.tags[PATH] = ("image/png", encoded(other)), '"19-5"'
    assert len(predict(service)["result"]) == 1 and engine.segmented == 2
    assert len(predict(service)["result"]) == 1  # stored now: it was another image while the first one was answered
    label_studio.sent.clear()
    assert len(predict(service)["result"]) == 1 and label_studio.sent == [(PATH, 304)]


def test_another_version_is_predicted(start: Start, engine: FakeEngine) -> None:
    service = start()
    predict(service)
    changed = predict(service, config=CONFIG.replace('value="red"', 'value="red" threshold="0.9"'))
    assert engine.segmented == 2 and len(changed["result"]) == 1


def test_it_comes_at_once_while_the_models_and_all_places_are_taken(
    start: Start, engine: FakeEngine, label_studio: FakeLabelStudio
) -> None:
    service = start()
    first = predict(service)
    at_work, go_on = threading.Event(), threading.Event()

    def segmenting() -> None:
        at_work.set()
        assert go_on.wait(60)

    engine.on_segment = segmenting
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(predict, service, {**OTHER, "id": number}) for number in (8, 9)]
        try:
            assert at_work.wait(60)
            assert pool.submit(lambda: None) and predict(service) == first
            assert not any(each.done() for each in waiting)
        finally:
            go_on.set()


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "other", "folder"])
def test_a_damaged_file_is_a_miss_and_is_replaced(
    start: Start, engine: FakeEngine, settings: Settings, damage: str
) -> None:
    first = predict(start())
    (file,) = files(settings)
    data = file.read_bytes()
    if damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        broken = {"cut": data[:-5], "changed": data.replace(b"brush", b"crush"), "empty": b"", "other": b"\xff" * 999}
        file.write_bytes(broken[damage])
    service = start()
    assert predict(service) == first and engine.segmented == 2
    if damage != "folder":
        assert file.read_bytes() == data
        assert predict(service) == first and engine.segmented == 2


def test_an_image_that_cannot_be_fetched_is_told_as_always(start: Start, label_studio: FakeLabelStudio) -> None:
    service = start()
    predict(service)
    del label_studio.files[PATH]
    assert "answered 404" in predict(service)["error"]


def test_it_can_be_switched_off(settings: Settings, engine: FakeEngine) -> None:
    off = replace(settings, prediction=replace(settings.prediction, stored_bytes=0))
    service: Service = create_app(off, engine).extensions["ovdiff"]
    try:
        service.setup(PROJECT_UID, CONFIG)
        assert eventually(lambda: len(engine.built) == 2)
        for _ in range(2):
            assert predict(service)["result"]
        assert engine.segmented == 2 and files(settings) == []
    finally:
        service.stop()


def test_what_was_unused_for_longest_goes_first(tmp_path: Path) -> None:
    item = {"result": ["x" * 800]}
    items = StoredItems(tmp_path, 10_000)
    for number in range(10):
        items.put(f"k{number}", ["a"], item)
        os.utime(tmp_path / f"k{number}.json", ns=(number, number))
    assert items.get("k0") == (["a"], item)  # and is used last by that
    for number in range(10, 13):
        items.put(f"k{number}", ["a"], item)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10_000
    left = {path.stem for path in tmp_path.iterdir()}
    assert {"k0", "k12"} <= left and "k1" not in left
    items.put("large", ["a"], {"result": ["x" * 20_000]})
    assert items.get("large") is None and items.get("k12") is not None


def test_a_folder_that_was_filled_before_counts(tmp_path: Path) -> None:
    for number in range(9):
        StoredItems(tmp_path, 10_000).put(f"k{number}", [], {"result": ["x" * 1000]})
    again = StoredItems(tmp_path, 3_000)
    again.put("new", [], {"result": []})
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3_000 and again.get("new") is not None


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_look_up(
    start: Start, engine: FakeEngine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    (settings.data_dir / "predictions").write_text("a file")
    service = start()
    assert predict(service) == predict(service)
    assert engine.segmented == 2
    assert caplog.text.count("Tasks are predicted all the same") == 1


def test_what_is_dropped_leaves_room(tmp_path: Path) -> None:
    items = StoredItems(tmp_path, 2_500)
    items.put("a", ["x"], {"result": ["x" * 800]})
    items.put("b", ["x"], {"result": ["x" * 800]})
    items.drop("a")
    items.drop("a")
    assert items.get("a") is None
    items.put("c", ["x"], {"result": ["x" * 800]})
    assert items.get("b") is not None and items.get("c") is not None


class Images:
    """Brings the bytes that it was given last."""

    limits = ImageSettings()

    def __init__(self) -> None:
        self.now_s, self.data = 0.0, b"a"
        self.clock_s = lambda: self.now_s

    def fetch(self, reference: str, *, task_id: int | None = None, within_s: float = 0.0) -> bytes:
        return self.data


def test_an_image_that_changes_while_it_is_predicted_has_no_signs() -> None:
    images = Images()
    noting, address = NotingFetcher(images), ImageAddress("x", 1)
    assert noting.signs(address, since_s=0.0) is None
    noting.fetch("x", task_id=1)
    known = noting.signs(address, since_s=0.0)
    assert known is not None and noting.signs(ImageAddress("x", 2), since_s=0.0) is None
    images.now_s, images.data = 5.0, b"b"
    noting.fetch("x", task_id=1)
    assert noting.signs(address, since_s=4.0) is None  # a prediction that began then may be of either
    assert noting.signs(address, since_s=6.0) not in (None, known)


def test_a_stored_file_says_what_it_is(start: Start, settings: Settings) -> None:
    item = predict(start())
    (file,) = files(settings)
    contents, stored = json.loads(file.read_bytes()[64:])
    assert stored == item and len(contents) == 1
