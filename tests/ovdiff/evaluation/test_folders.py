"""Where a dataset's files lie, and which are missing."""

from pathlib import Path

import pytest

from ovdiff.errors import DatasetError
from ovdiff.evaluation.folders import files_below, read_split, require_files, root_of
from tests.ovdiff.evaluation.made import write_text


def test_the_first_place_that_has_what_is_wanted_is_the_root(tmp_path: Path) -> None:
    write_text(tmp_path / "inner/list.txt", "a")
    assert root_of("x", tmp_path, ("inner", "."), "list.txt") == tmp_path / "inner"
    assert root_of("x", tmp_path / "inner", ("inner", "."), "list.txt") == tmp_path / "inner"


def test_every_place_that_was_tried_is_named_and_what_is_there(tmp_path: Path) -> None:
    for name in "edcba":
        (tmp_path / name).mkdir()
    with pytest.raises(DatasetError, match=r"has neither inner/list.txt nor list.txt. It holds a, b, c and 2 more."):
        root_of("x", tmp_path, ("inner", "."), "list.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\nb\na\n", "lists 'a' twice. Unpack"), ("\n", "lists no image. Unpack"), ("\udce4", "cannot be read: ")],
)
def test_a_damaged_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "val.txt").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DatasetError, match=rf"x: .*val.txt' {message}"):
        read_split("x", tmp_path / "val.txt")


def test_missing_files_are_counted_over_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "a/1.png", "")
    require_files("x", "masks", tmp_path, ["a/1.png"])
    with pytest.raises(DatasetError, match=r"x: 2 of 3 masks are missing in '.*'; the first is a/2.png."):
        require_files("x", "masks", tmp_path, ["b/1.png", "a/2.png", "a/1.png"])


def test_files_below_are_in_order_without_those_of_macos(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/9.png", "b/._2.png", "b/2.txt"):
        write_text(tmp_path / name, "")
    assert files_below(tmp_path, ".png") == ("a/9.png", "b/2.png")
    assert files_below(tmp_path / "nowhere", ".png") == ()
