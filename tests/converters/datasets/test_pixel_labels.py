"""What pixels mean: the lists of VOC, ADE20K and Cityscapes as facts, text files in four forms, and labels.json."""

from pathlib import Path

import pytest

from converters.datasets.pixel_labels import PixelLabel, read_label_list, read_labels_json
from converters.encodings.colours import voc_palette
from converters.errors import SemanticPNGError
from converters.records import DatasetCategory


def test_the_list_of_voc_has_its_classes_and_colours() -> None:
    labels = read_label_list("voc")
    assert [labels.names[value] for value in (1, 2, 8, 11, 15, 20)] == [
        "aeroplane", "bicycle", "cat", "diningtable", "person", "tvmonitor",
    ]  # fmt: skip
    assert (len(labels.names), labels.values_of("background"), labels.values_of("void")) == (20, {0}, {255})
    assert all(label.colour == voc_palette()[label.value] for label in labels.labels)


def test_the_list_of_ade20k_has_its_150_names() -> None:
    labels = read_label_list("ade20k")
    assert sorted(labels.names) == list(range(1, 151)) and len(set(labels.names.values())) == 150
    numbered = {1: "wall", 13: "person", 64: "blind", 100: "buffet", 131: "screen", 145: "bulletin board", 150: "flag"}
    assert {value: labels.names[value] for value in numbered} == numbered
    assert (labels.values_of("background"), labels.by_colour) == ({0}, {})


@pytest.mark.slow
def test_the_lists_of_cityscapes_agree_with_torchvision() -> None:
    classes = pytest.importorskip("torchvision.datasets").Cityscapes.classes
    everything, trained = read_label_list("cityscapes"), read_label_list("cityscapes_train_ids")
    assert [(label.value, label.name, label.colour) for label in everything.labels] == [
        (c.id, c.name, c.color) for c in classes if c.id >= 0
    ]
    assert everything.values_of("void") == {c.id for c in classes if c.category == "void"}
    assert {label.value for label in everything.labels if label.kind == "thing"} == {
        c.id for c in classes if c.has_instances
    }
    assert [(label.value, label.name, label.colour) for label in trained.labels[:-1]] == [
        (c.train_id, c.name, c.color) for c in classes if 0 <= c.train_id < 255
    ]
    assert (len(trained.names), trained.values_of("void"), trained.values_of("background")) == (19, {255}, frozenset())


FORMS = {
    "tabs": "# value\tname\n0\tbackground\n1\troad\t#804080\tstuff\n300\tcar\t\tthing\n255\tvoid\n",
    "numbers": "0: background\n1 road\n300=car\n255: ignore\n",
    "cvat": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\ncar:0,0,142:a,b:\n",
    "names": "\ufeff_background_\r\n\r\nroad\r\ncar\r\n",
}


@pytest.mark.parametrize(("form", "car"), [("tabs", 300), ("numbers", 300), ("cvat", 2), ("names", 2)])
def test_text_files_are_read_in_four_forms(tmp_path: Path, form: str, car: int) -> None:
    (tmp_path / "list.txt").write_text(FORMS[form], encoding="utf-8", newline="")
    labels = read_label_list(str(tmp_path / "list.txt"))
    assert labels.names == {1: "road", car: "car"}
    assert labels.values_of("background") == {0}
    assert labels.values_of("void") == ({255} if car == 300 else frozenset())
    assert labels.by_colour.get(0x804080) == (1 if form in ("tabs", "cvat") else None)
    assert labels.source == "list.txt"


def test_two_values_of_one_name_are_one_category(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("1\tcat\n2\tdog\n3\tcat\n")
    labels = read_label_list(str(tmp_path / "list.txt"))
    assert labels.names == {1: "cat", 2: "dog", 3: "cat"}
    assert labels.categories == (DatasetCategory(1, "cat"), DatasetCategory(2, "dog"))


def test_ids_and_kinds_of_labels_json_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(
        '{"labels": [{"value": 0, "name": "background"}, {"value": 1, "name": "background", "id": 7, "kind": "stuff"},'
        '{"value": 2, "name": "odd", "colour": "red", "kind": "void"}], "more": 1}'
    )
    labels, content = read_labels_json(path)
    assert labels.categories == (DatasetCategory(7, "background", "stuff"),)
    assert labels.labels[2] == PixelLabel(2, "odd", role="void")
    assert content["more"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected JSON, which cannot be read"),
        ("[]", "expected an object with 'labels', got list"),
        ('{"labels": [1]}', "expected a list of objects under 'labels'"),
        ('{"labels": []}', "expected at least one label that is a category, got 0 labels"),
        ('{"labels": [{"value": 65536, "name": "a"}]}', "expected labels with a value from 0 to 65535, got 65536"),
        ('{"labels": [{"value": 1, "name": " "}]}', "expected a name for the value 1, got ' '"),
        ('{"labels": [{"value": 1, "name": "a", "id": "x"}]}', "expected a whole number as id of 'a', got 'x'"),
        ('{"labels": [{"value": 1, "name": "a"}, {"value": 1, "name": "b"}]}', "labels with values that differ"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(SemanticPNGError, match=message):
        read_labels_json(tmp_path / "labels.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected at least one label that is a category"),
        (b"x\troad\n", "expected value, name, #rrggbb and kind between tabs, got 'x.troad'"),
        (b"99999\troad\n", "expected value, name, #rrggbb and kind between tabs"),
        (b"1\troad\tred\n", "expected a colour as #rrggbb for 'road', got 'red'"),
        (b"1: road\n1: car\n", "expected labels with values that differ"),
        (b"\xff\xfe", "expected text in UTF-8"),
        (b"x" * (1 << 21), "expected at most 1048576 bytes"),
    ],
)
def test_text_files_that_are_no_lists_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(SemanticPNGError, match=message):
        read_label_list(str(tmp_path / "list.txt"))
