"""Files and folders that appear whole or not at all, lists that grow on disk, and names that stay inside."""

import json
import os
import threading
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import OutputError
from converters.files.output import JsonList, name_in_folder, new_file, new_folder, write_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(values), st.dictionaries(st.text(), values, max_size=3))
def test_what_is_written_is_json(tmp_path_factory: pytest.TempPathFactory, items: list, head: dict) -> None:
    path = tmp_path_factory.mktemp("json") / "out.json"
    grown = JsonList()
    for item in items:
        grown.append(item)
    assert len(grown) == len(items)
    write_json(grown, path)
    assert json.loads(path.read_text("utf-8")) == items
    write_json({**head, "grown": grown, "list": items}, path)
    assert json.loads(path.read_text("utf-8")) == {**head, "grown": items, "list": items}


def test_only_a_file_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # /dev/stdout may be one: a file renamed over it would take it from everybody
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OutputError, match=f"expected {tmp_path / name} to be a new file or one to replace, got"):
            write_json([], tmp_path / name)
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_long_list_and_half_a_surrogate_pair_are_written(tmp_path: Path) -> None:
    grown = JsonList()
    for _ in range(3):
        grown.append("é" * 700_000)
    grown.append("\ud800")
    write_json({"a": grown}, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text("utf-8"))["a"] == ["é" * 700_000] * 3 + ["\ud800"]


def test_what_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="expected numbers that JSON can hold, got NaN or infinity in"):
        write_json([{"score": float("nan")}], tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []


def test_a_file_or_folder_that_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("old")
    with pytest.raises(KeyError), new_file(tmp_path / "out.json") as file:
        file.write("new")
        raise KeyError
    with pytest.raises(KeyError), new_folder(tmp_path / "folder") as partial:
        (partial / "a").write_text("a")
        raise KeyError
    assert (tmp_path / "out.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with new_folder(tmp_path / "folder") as partial:
        (partial / "a").write_text("a")
        assert list((tmp_path / "folder").iterdir()) == []
    assert (tmp_path / "folder" / "a").read_text() == "a"
    with pytest.raises(OutputError, match=r"expected .* to be a new or an empty folder, got one that holds files"):
        new_folder(tmp_path / "folder").__enter__()


def test_what_a_killed_run_of_the_same_process_number_left_does_not_stop_the_next(tmp_path: Path) -> None:
    for name in ("out.json", "folder"):
        (tmp_path / f".{name}.{os.getpid()}.partial").mkdir()  # in a container every run may have this number
        (tmp_path / f".{name}.{os.getpid()}.partial" / "half").touch()
    write_json([1], tmp_path / "out.json")
    with new_folder(tmp_path / "folder") as partial:
        (partial / "a").touch()
    assert (tmp_path / "folder" / "a").is_file() and json.loads((tmp_path / "out.json").read_text()) == [1]


def test_what_a_killed_run_left_of_an_output_goes_with_the_next_one(tmp_path: Path) -> None:
    mine, others = tmp_path / ".out.json.0123456789abcdef.partial", tmp_path / ".b.json.0123456789abcdef.partial"
    folder = tmp_path / ".folder.0123456789abcdef.partial"
    folder.mkdir()
    for path in (mine, others, folder):
        path.touch()
        os.utime(path, (1, 1))
    write_json([], tmp_path / "out.json")
    assert not mine.exists() and folder.exists()
    with new_folder(tmp_path / "folder"):
        pass
    assert not folder.exists() and others.exists()


def test_two_threads_write_one_file_at_once(tmp_path: Path) -> None:
    both_are_open, failures = threading.Barrier(2), []

    def write(letter: str) -> None:
        try:
            with new_file(tmp_path / "out.txt") as file:
                both_are_open.wait(10)
                file.write(letter * 1000)
        except BaseException as error:  # noqa: BLE001  a thread's own would only be printed
            failures.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (tmp_path / "out.txt").read_text() in ("a" * 1000, "b" * 1000)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"out\.json cannot be written"):
        write_json([], tmp_path / "file" / "out.json")


def test_a_file_that_cannot_be_read_meanwhile_is_not_taken_for_the_output(tmp_path: Path) -> None:
    for opened in (new_file(tmp_path / "out.json"), new_folder(tmp_path / "out")):
        with pytest.raises(FileNotFoundError, match=r"export\.json"), opened:
            (tmp_path / "export.json").read_text()
    with pytest.raises(OutputError, match="out cannot be written"), new_folder(tmp_path / "out") as folder:
        (folder / "missing" / "a").touch()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat.jpg", "cat.png"),
        ("a/b.c/cat", "a/b.c/cat.png"),
        ("a/cat.tar.gz", "a/cat.tar.png"),
        (".hidden", ".hidden.png"),
        ("../cat.jpg", None),
        ("a/../../cat.jpg", None),
        ("/etc/cat.jpg", None),
        ("a\\..\\cat.jpg", None),
        ("a\0.jpg", None),
        ("", None),
        (".", None),
        ("..", None),
        ("é" * 101 + ".jpg", None),
        ("\ud800.jpg", None),
    ],
)
def test_a_name_stays_inside_its_folder(name: str, expected: str | None) -> None:
    assert name_in_folder(name, ".png") == (None if expected is None else PurePosixPath(expected))
