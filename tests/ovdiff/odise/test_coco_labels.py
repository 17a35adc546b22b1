"""The labels of COCO panoptic, and files of labels."""

from pathlib import Path

import pytest

from ovdiff.errors import VocabularyError
from ovdiff.odise.coco_labels import coco_labels, read_labels
from ovdiff.odise.naming import Label


def test_there_are_80_things_and_53_kinds_of_stuff() -> None:
    labels = coco_labels()
    assert [sum(label.stuff is stuff for label in labels) for stuff in (False, True)] == [80, 53]
    assert len({label.name for label in labels}) == 133
    assert labels[0] == Label("person", ("person",), stuff=False)
    assert Label("sky-other-merged", ("sky",), stuff=True) in labels
    assert Label("wall-brick", ("wall brick",), stuff=True) in labels


def test_a_file_of_labels_is_read(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("# mine\n\nthing\tcar, automobile\nstuff\tsky\n")
    assert read_labels(file) == (Label("car", ("car", "automobile"), stuff=False), Label("sky", ("sky",), stuff=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car, automobile\n", r"line 1 is 'car, automobile'; expected"),
        ("thing\tcar\nthing\t ,\n", "line 2"),
        ("# nothing\n", "has no label"),
    ],
)
def test_a_line_that_is_no_label_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "labels.txt"
    file.write_text(text)
    with pytest.raises(VocabularyError, match=message):
        read_labels(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"none.txt cannot be read as labels"):
        read_labels(tmp_path / "none.txt")
