"""Where a dataset's files lie, and which are missing."""

from pathlib import Path

import pytest

from ovdiff.errors import DatasetError
from ovdiff.evaluation.folders import FilesOf, choose_files, pair_files, read_split, require_files, root_of
from tests.ovdiff.evaluation.made import write_text

IMAGES, LABELS = FilesOf("images", ".jpg"), FilesOf("labels", "_ids.png")


def test_the_first_place_that_has_what_is_wanted_is_the_root(tmp_path: Path) -> None:
    write_text(tmp_path / "inner/list.txt", "a")
    assert root_of("x", tmp_path, ("inner", "."), "list.txt") == tmp_path / "inner"
    assert root_of("x", tmp_path / "inner", ("inner", "."), "list.txt") == tmp_path / "inner"


def test_every_place_that_was_tried_is_named_and_what_is_there(tmp_path: Path) -> None:
    for name in "edcba":
        (tmp_path / name).mkdir()
    with pytest.raises(DatasetError, match=r"has neither inner/list.txt nor list.txt. It holds a, b, c and 2 more."):
        root_of("x", tmp_path, ("inner", "."), "list.txt")


def test_what_the_datasets_own_folder_holds_and_what_is_still_packed_is_told(tmp_path: Path) -> None:
    write_text(tmp_path / "inner/pictures/a.jpg", "a")
    with pytest.raises(DatasetError, match=r"nor list.txt. Its inner holds pictures\.$"):
        root_of("x", tmp_path, ("inner", "."), "list.txt")
    write_text(tmp_path / "inner/labels.tar.gz", "a")
    with pytest.raises(DatasetError, match=r"Its inner holds labels.tar.gz, pictures\. Unpack labels.tar.gz there\.$"):
        root_of("x", tmp_path, ("inner", "."), "list.txt")


def test_a_folder_within_the_dataset_leads_to_the_one_above(tmp_path: Path) -> None:
    write_text(tmp_path / "inner/list.txt", "a")
    write_text(tmp_path / "inner/pictures/more/a.jpg", "a")
    for named in ("inner/pictures/more", "inner/pictures"):
        with pytest.raises(DatasetError, match=rf"But '{tmp_path}/inner' has it: name that folder\.$"):
            root_of("x", tmp_path / named, ("inner", "."), "list.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\nb\na\n", "lists 'a' twice. Unpack"), ("\n", "lists no image. Unpack"), ("\udce4", "cannot be read: ")],
)
def test_a_damaged_list_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "val.txt").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DatasetError, match=rf"x: .*val.txt' {message}"):
        read_split("x", tmp_path / "val.txt")


def test_missing_files_are_counted_by_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "a/1.png", "")
    require_files("x", tmp_path, ["a/1.png"])
    with pytest.raises(
        DatasetError, match=r"x: 1 of 2 files are missing in '.*/a'; the first is 2.png. Was an archive"
    ):
        require_files("x", tmp_path, ["a/2.png", "a/1.png"])
    with pytest.raises(DatasetError, match=r"1 of 2 .*/a'; the first is 2.png. In other folders 2 more are missing"):
        require_files("x", tmp_path, ["b/1.png", "a/2.png", "a/1.png", "c/1.png"])


def test_images_and_labels_are_paired_by_name_in_order(tmp_path: Path) -> None:
    for name in (
        "labels/b/2_ids.png",
        "labels/a/9_ids.png",
        "images/a/9.jpg",
        "images/b/2.jpg",
        "labels/b/._2_ids.png",
    ):
        write_text(tmp_path / name, "")
    assert list(pair_files("x", tmp_path, IMAGES, LABELS).items()) == [
        ("a/9", ("images/a/9.jpg", "labels/a/9_ids.png")),
        ("b/2", ("images/b/2.jpg", "labels/b/2_ids.png")),
    ]


def test_folders_without_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"x: '.*' has neither images/\*.jpg nor labels/\*_ids.png"):
        pair_files("x", tmp_path, IMAGES, LABELS)


def test_the_first_kind_of_files_that_is_there_is_chosen(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"x: the folder '.*' has neither images/\*.jpg nor labels/\*_ids.png"):
        choose_files("x", tmp_path, (IMAGES, LABELS))
    (tmp_path / "images").mkdir()
    write_text(tmp_path / "labels/a/1_ids.png", "")
    assert choose_files("x", tmp_path, (IMAGES, LABELS)) == LABELS
