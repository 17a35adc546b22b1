import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import RequestError
from backend.serving.events import EVENT_BYTES, MAX_DEPTH, MAX_IDS, event_ids, read_head

RECORDED = sorted((Path(__file__).parents[2] / "contracts/requests").glob("webhook_*.json"))


def test_ids_are_kept_and_nothing_else() -> None:
    event = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": 1, "title": "secret", "token": "secret"},
        "task": {"id": 7, "data": {"image": "secret"}},
        "annotation": {"id": 3, "result": ["secret"], "parent_prediction": 9},
    }
    assert event_ids(event) == {"project": 1, "task": 7, "annotation": 3, "parent_prediction": 9}


def test_lists_of_tasks_and_annotations() -> None:
    assert event_ids({"annotations": [{"id": 1}, {"id": 2}], "tasks": [{"id": 5}]}) == {
        "annotations": [1, 2],
        "tasks": [5],
    }


def test_tasks_name_their_project_where_the_event_was_cut_off_before_it() -> None:
    tasks = [{"id": 5}, {"id": 6, "project": 3}, {"id": 7, "project": 4}]
    assert event_ids({"tasks": tasks}) == {"tasks": [5, 6, 7], "project_of_tasks": 3}
    assert event_ids({"tasks": tasks, "project": {"id": 3}}) == {"tasks": [5, 6, 7], "project": 3}
    assert event_ids({"tasks": [None, {"project": "3"}, {"project": {"id": 3}}]}) == {"tasks": []}


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"project": 5},
        {"project": {"id": "1"}},
        {"tasks": [None, 3, {"id": {}}]},
        {"task": {"id": True}},
        {"task": {"id": 2**63}},
        {"task": {"id": -1}},
    ],
)
def test_foreign_forms_are_left_out(event: dict[str, object]) -> None:
    assert all(not value for value in event_ids(event).values())


def test_long_lists_are_cut() -> None:
    assert len(event_ids({"tasks": [{"id": number + 1} for number in range(5000)]})["tasks"]) == MAX_IDS


def recorded(path: Path) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(path.read_text())["body"]
    return event


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_event_is_read_whole(path: Path) -> None:
    assert read_head(json.dumps(recorded(path)).encode()) == recorded(path)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_of_a_recorded_event_of_20_mb_the_ids_at_its_beginning_are_read(path: Path) -> None:
    event = recorded(path)
    if "annotation" in event:
        event["annotation"]["result"][0]["value"]["rle"] = [255] * 5_000_000
    for task in event.get("tasks", []):
        task["data"] = {"text": "x" * 20_000_000}
    event["project"]["label_config"] = "<" * 20_000_000
    read = read_head(json.dumps(event).encode()[:EVENT_BYTES])
    assert read["action"] == event["action"]
    ids, all_ids = event_ids(read), event_ids(event)
    assert ids.items() <= all_ids.items()
    assert ids.keys() & {"project", "annotation", "tasks", "annotations"}
    assert event["action"] != "PROJECT_UPDATED" or ids == {"project": 1}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=4), st.booleans(), st.integers(0, 400))
def test_a_cut_object_is_the_beginning_of_the_whole(event: dict[str, Any], ascii_only: bool, cut: int) -> None:
    first = {"action": "x", "padding": "p" * (EVENT_BYTES - cut)}
    head = json.dumps(first | {f"_{key}": value for key, value in event.items()}, ensure_ascii=ascii_only)
    read = read_head(head.encode(errors="surrogatepass")[:EVENT_BYTES])
    assert read["action"] == "x"
    whole = list(read)[:-1]  # the last may have less in it
    assert all(read[key] == value for key, value in json.loads(head).items() if key in whole)


@pytest.mark.parametrize("head", [b"", b"{", b"[1,", b'{"action": "A"', b"nothing", b"\xff\xff"])
def test_a_short_body_that_is_no_json_is_refused(head: bytes) -> None:
    with pytest.raises(RequestError, match="not JSON that can be read"):
        read_head(head)


def test_nesting_is_bounded() -> None:
    assert read_head(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(RequestError, match=f"nested deeper than {MAX_DEPTH}"):
        read_head(b"[" * 20_000)
