"""Arrays read piece by piece: every way of cutting them, and every way of breaking them."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.errors import CocoError, LabelStudioFormatError
from converters.files import json_stream
from converters.files.json_stream import read_json_array, read_json_member, read_json_member_array

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture
def tiny_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", 3)


@pytest.mark.usefixtures("tiny_chunks")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(values, max_size=6), st.sampled_from([None, 2]), st.booleans())
def test_elements_survive_any_cut(tmp_path: Path, elements: list[Any], indent: int | None, escape: bool) -> None:
    path = tmp_path / "array.json"
    path.write_text(json.dumps(elements, indent=indent, ensure_ascii=escape), encoding="utf-8")
    assert list(read_json_array(path)) == elements


def test_one_object_is_one_element(tmp_path: Path) -> None:
    path = tmp_path / "task.json"
    path.write_text('\ufeff {"id": 1} \n', encoding="utf-8")
    assert list(read_json_array(path)) == [{"id": 1}]


BROKEN = [
    ("", r"expected a JSON array of tasks, got '' \(the end\)"),
    ("hello", "expected a JSON array of tasks, got 'hello'"),
    ("[", r"expected JSON, which breaks or ends too early \(Expecting value\), got '' \(the end\)"),
    ('[{"id": 1}', r"expected ',' or '\]' after a task, got '' \(the end\)"),
    ('[{"id": 1} {"id": 2}]', r"expected ',' or '\]' after a task, got '{\"id\": 2}\]'"),
    ('[{"id": 1}, ]', r"expected JSON, which breaks or ends too early \(Expecting value\), got '\]'"),
    ('[{"id": 1}] more', "expected nothing after the tasks, got 'more'"),
    ('[{"id": "abc', r"expected JSON, which breaks or ends too early \(Unterminated string"),
    ("[{'id': 1}]" + " " * 99, r"expected JSON, which breaks or ends too early \(Expecting property name"),
    ("[" * 100_000, "expected JSON of sane depth and numbers"),
    ("[" + "9" * 10_000 + "]", "expected JSON of sane depth and numbers"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_broken_json_says_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "export.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelStudioFormatError, match=rf"export\.json: {message}"):
        list(read_json_array(path))


def test_what_comes_before_the_damage_is_yielded(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text('[{"id": 1}, {"id": 2}, {"id"', encoding="utf-8")
    tasks = read_json_array(path)
    assert [next(tasks), next(tasks)] == [{"id": 1}, {"id": 2}]
    with pytest.raises(LabelStudioFormatError, match="ends too early"):
        next(tasks)


def test_bytes_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(b'["\xff\xfe"]')
    with pytest.raises(LabelStudioFormatError, match=r"export\.json: expected JSON in UTF-8, got other bytes"):
        list(read_json_array(path))


def test_a_task_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text('["' + "a" * 5_000_000, encoding="utf-8")
    with pytest.raises(LabelStudioFormatError, match="expected tasks of at most 1000000 characters"):
        list(read_json_array(path, max_element_characters=1_000_000))


def test_a_task_of_two_hundred_rough_masks_is_read(tmp_path: Path) -> None:
    masks = 200 * 559_000  # characters: of 12 million pixels each, predicted and annotated
    path = tmp_path / "export.json"
    path.write_text(f'["{"a" * masks}"]', encoding="utf-8")
    assert [len(task) for task in read_json_array(path)] == [masks]


def test_a_long_array_needs_the_memory_of_a_short_one(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    element = json.dumps({"rle": [255] * 20_000})
    path.write_text("[" + ",".join([element] * 100) + "]", encoding="utf-8")
    assert path.stat().st_size > 9_000_000
    tracemalloc.start()
    assert sum(1 for _ in read_json_array(path)) == 100
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


@pytest.mark.usefixtures("tiny_chunks")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(values, max_size=4), st.dictionaries(st.text(), values, max_size=3), st.sampled_from([None, 2]))
def test_the_elements_of_a_member_survive_any_cut(
    tmp_path: Path, elements: list[Any], before: dict[str, Any], indent: int | None
) -> None:
    path = tmp_path / "coco.json"
    before.pop("images", None)
    path.write_text(json.dumps({**before, "images": elements, "annotations": []}, indent=indent), encoding="utf-8")
    assert list(read_json_member_array(path, "images")) == elements
    assert read_json_member(path, "images") == elements
    assert read_json_member(path, "another name than any") is None


BROKEN_OBJECTS = [
    ("[1]", r"expected a JSON object, got '\[1\]'"),
    ("{}", r"expected a JSON object with a list under 'images', got '' \(the end\)"),
    ('{"images": {"id": 1}}', r"expected a list under 'images', got '{\"id\": 1}}'"),
    ('{"images" 3}', "expected ':' after the key 'images', got '3}'"),
    ('{"info": 3 "images": []}', "expected ',' or '}' after the value of 'info', got '\"images\": \\[\\]}'"),
    ("{3: 4}", "expected a key in quotes, got '3: 4}'"),
    ('{"images": [{"id": 1} 3', r"expected ',' or '\]' after an entry of 'images', got '3'"),
    ('{"images": [{"id": 1}', r"expected ',' or '\]' after an entry of 'images', got '' \(the end\)"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN_OBJECTS)
def test_a_broken_object_says_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "coco.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CocoError, match=message):
        list(read_json_member_array(path, "images"))


def test_a_member_costs_the_memory_of_an_element(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    entry = {"id": 1, "text": "x" * 1000}
    with path.open("w", encoding="utf-8") as file:
        for name in ("annotations", "images"):
            file.write(("{" if name == "annotations" else ", ") + f'"{name}": [' + json.dumps(entry))
            file.writelines(", " + json.dumps(entry) for _ in range(9_999))
            file.write("]")
        file.write("}")
    assert path.stat().st_size > 19 * 2**20
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_json_member_array(path, "images")) == 10_000
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
