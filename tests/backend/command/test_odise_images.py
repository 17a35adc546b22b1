import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.command.addresses import ImagesBelow
from backend.command.learn import images_in
from backend.command.odise_captions import Captions
from backend.command.odise_images import (
    AnnotatedImages,
    Found,
    Reader,
    coco_words,
    held_out,
    merged_categories,
    not_learned_from,
    read_synonyms,
    source_of,
)
from backend.errors import UsageError
from backend.settings import ImageSettings
from converters.datasets.panoptic import segment_ids_to_rgb
from converters.errors import LabelConfigError
from ovdiff.errors import TrainingError
from ovdiff.vocabulary import Category
from tests.backend.command.learning_export import BLUE, RED, annotation, both, region, task, write_export

CATEGORIES = [
    {"id": 1, "name": "car", "isthing": 1},
    {"id": 2, "name": "sky-other-merged", "isthing": 0},
]


class Bar:
    n = 0.0

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None: ...

    def update(self, n: float | None = 1) -> None: ...


def write_panoptic(folder: Path, count: int = 1, **changes: Any) -> None:
    """Write images of two cars below the sky; ``changes`` replace keys of the first annotation."""
    for name in ("images", "panoptic"):
        (folder / name).mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(count):
        ids = np.zeros((20, 30), np.int32)
        ids[:8], ids[10:16, :10], ids[10:16, 15:25] = 300, 7, 70000
        Image.fromarray(segment_ids_to_rgb(ids)).save(folder / f"panoptic/{number}.png")
        Image.fromarray(np.full((20, 30, 3), 40 * number, np.uint8)).save(folder / f"images/{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 30, "height": 20})
        segments = [{"id": number, "category_id": category} for number, category in ((300, 2), (7, 1), (70000, 1))]
        more = changes if not number else {}
        annotations.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments, **more})
    dataset = {"categories": CATEGORIES, "images": images, "annotations": annotations}
    (folder / "panoptic.json").write_text(json.dumps(dataset))


def read(folder: Path, path: str, *, partial: bool = False, config: str | None = None) -> tuple[AnnotatedImages, Found]:
    source = source_of(folder / path, folder / config if config else None, 100, {})
    categories, found = merged_categories([source]), Found()
    reader_of = images_in(ImagesBelow(folder / "images", "", ImageSettings()))
    captions = Captions({"0.png": ("a car",)})
    reader = Reader(reader_of, categories, captions, partial=partial, found=found)
    labels = [(category.name, category.kind == "stuff") for category in categories]
    return AnnotatedImages(list(reader.annotated(source, Bar())), labels, reader_of), found


def test_a_panoptic_dataset_becomes_examples(tmp_path: Path) -> None:
    write_panoptic(tmp_path, 2)
    images, found = read(tmp_path, "panoptic.json")
    assert len(images) == 2 and found.images == 2 and not found.left_out and images.captioned() == 1
    first = images[0]
    assert first.image.shape == (20, 30, 3) and sorted(first.names) == [0, 0, 1] and not first.partial
    assert first.captions == ("a car",)
    names = np.array([-1, *first.names])[first.segment_map]
    assert (names[:8] == 1).all() and (names[10:16, :10] == 0).all() and (names[8:10] == -1).all()
    assert first.segment_map[10, 0] != first.segment_map[10, 20]  # two cars are two segments
    again, _ = read(tmp_path, "")
    assert again.key() == images.key() != read(tmp_path, "panoptic.json", partial=True)[0].key()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"segments_info": []}, "pixels of a segment that the JSON does not list"),
        ({"file_name": "absent.png"}, "unreadable annotation"),
        ({"file_name": "../0.png"}, "unreadable annotation"),
        ({"segments_info": [{"id": 300, "category_id": 9}]}, "unreadable segment"),
        ({"segments_info": [{"id": 300, "category_id": 2, "iscrowd": 1}]}, "image left out"),
    ],
)
def test_a_broken_image_is_left_out_and_counted_and_the_others_stay(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    write_panoptic(tmp_path, 3, **changes)
    images, found = read(tmp_path, "panoptic.json")
    assert len(images) == 2 and reason in found.left_out and found.named


def test_a_damaged_png_an_absent_image_and_another_size_are_left_out(tmp_path: Path) -> None:
    write_panoptic(tmp_path, 4)
    png = tmp_path / "panoptic/0.png"
    png.write_bytes(png.read_bytes()[:60])
    (tmp_path / "images/1.png").unlink()
    Image.new("RGB", (31, 20)).save(tmp_path / "images/2.png")
    images, found = read(tmp_path, "panoptic.json")
    assert len(images) == 1 and found.left_out == {"unreadable annotation": 1, "image left out": 2}
    said = " ".join(found.named)
    assert "is not in" in said and "31 x 20 and 30 x 20 px" in said


def test_a_crowd_makes_an_annotation_partial(tmp_path: Path) -> None:
    crowd = [{"id": 300, "category_id": 2}, {"id": 7, "category_id": 1, "iscrowd": 1}, {"id": 70000, "category_id": 1}]
    write_panoptic(tmp_path, 1, segments_info=crowd)
    images, found = read(tmp_path, "panoptic.json")
    assert images[0].partial and found.partial == 1 and (images[0].segment_map[10:16, :10] == 0).all()


def test_an_export_becomes_examples_and_partial_annotations_are_known(tmp_path: Path) -> None:
    partial = {**region("red", RED), "from_name": "how", "type": "choices", "value": {"choices": ["partial"]}}
    tasks = [task(1, both(11)), task(2, annotation(12, region("red", RED), region("red", BLUE)))]
    tasks += [task(3, annotation(13, region("blue", BLUE), partial)), task(4), task(5, both(15, was_cancelled=True))]
    write_export(tmp_path, *tasks, task(6, annotation(16)), task(7, annotation(17, region("red", RED, size=(9, 9)))))
    images, found = read(tmp_path, "export.json", config="config.xml")
    assert len(images) == 4 and [images[number].partial for number in range(4)] == [False, False, True, False]
    assert images[3].names == () and not images[3].segment_map.any()  # Nothing of the labels is there.
    assert images[1].names == (0, 0) and images[1].segment_map.max() == 2  # each region of a thing is a segment
    assert found.left_out["not annotated"] == 1 and found.left_out["skipped by the annotator"] == 1
    assert found.left_out["image left out"] == 1 and found.partial == 1
    (tmp_path / "images/1.png").unlink()
    with pytest.raises(TrainingError, match="cannot be read any more"):
        images[0]


def test_regions_of_a_skipped_label_may_be_anything(tmp_path: Path) -> None:
    write_export(tmp_path, task(1, both(11)), task(2, annotation(12, region("red", RED))))
    config = tmp_path / "config.xml"
    config.write_text(config.read_text().replace('<Label value="blue"', '<Label skip="yes" value="blue"'))
    images, _ = read(tmp_path, "export.json", config="config.xml")
    assert [images[number].partial for number in range(2)] == [True, False]
    assert [images[number].names for number in range(2)] == [(0,), (0,)]


def test_an_empty_annotation_that_is_partial_or_was_not_read_whole_teaches_nothing(tmp_path: Path) -> None:
    broken = {**region("red", RED), "value": {"format": "rle", "rle": [1, 2], "brushlabels": ["red"]}}
    write_export(tmp_path, task(1, annotation(11)), task(2, annotation(12, broken)))
    images, found = read(tmp_path, "export.json", config="config.xml")
    assert len(images) == 1 and found.left_out["image left out"] == 1
    images, found = read(tmp_path, "export.json", config="config.xml", partial=True)
    assert not len(images) and found.left_out["image left out"] == 2 and "it is partial" in found.named[0]


def test_an_image_is_learned_from_or_validated_with(tmp_path: Path) -> None:
    write_panoptic(tmp_path, 4)
    annotated, found = list(read(tmp_path, "panoptic.json")[0]._annotated), Found()
    assert not_learned_from(annotated[1:], annotated[:3], found) == annotated[3:]
    assert found.left_out == {"validation image left out, which is also learned from": 2}
    twice = [*annotated, *(replace(each, key=f"another annotation {each.key}") for each in annotated)]
    kept, tried = held_out(twice, 0.25)
    assert len(tried) == 2 and tried[0].image == tried[1].image and not_learned_from(tried, kept, Found()) == tried
    assert not_learned_from(tried, kept, found := Found()) and not found.left_out


def test_a_label_that_only_the_validation_has_is_named_with_where_labels_come_from(tmp_path: Path) -> None:
    write_panoptic(tmp_path)
    source = source_of(tmp_path / "panoptic.json", None, 100, {})
    found = Found()
    reader = Reader(
        images_in(ImagesBelow(tmp_path / "images", "", ImageSettings())),
        [Category("car")],
        Captions({}),
        partial=False,
        found=found,
    )
    assert not list(reader.annotated(source, Bar()))
    words = "'sky-other-merged' is not one of the training, which are those of --label-config and the categories of"
    assert words in found.named[0]


def test_an_export_needs_its_label_config_and_words_are_read(tmp_path: Path) -> None:
    write_export(tmp_path, task(1, both(11)))
    with pytest.raises(UsageError, match="give its label config with --label-config"):
        source_of(tmp_path / "export.json", None, 100, {})
    (tmp_path / "other.xml").write_text("<View/>", "utf-16")
    with pytest.raises(LabelConfigError, match=r"other\.xml: expected XML in UTF-8, got other bytes"):
        source_of(tmp_path / "export.json", tmp_path / "other.xml", 100, {})
    assert [coco_words(name) for name in ("sky-other-merged", "floor-wood", "door-stuff", "other")] == [
        "sky", "floor wood", "door", "other"
    ]  # fmt: skip
    (tmp_path / "words.txt").write_text("1:car,automobile,van\n\nsky, clouds\n")
    synonyms = read_synonyms(tmp_path / "words.txt")
    write_panoptic(tmp_path)
    source = source_of(tmp_path / "panoptic.json", None, 100, synonyms)
    assert [category.phrases for category in source.categories] == [("car", "automobile", "van"), ("sky", "clouds")]
    assert [category.kind for category in source.categories] == ["thing", "stuff"]
    (tmp_path / "words.txt").write_text("car\n3: ,\n")
    with pytest.raises(UsageError, match="line 2: expected words"):
        read_synonyms(tmp_path / "words.txt")


def test_the_same_images_are_held_out_whatever_their_order(tmp_path: Path) -> None:
    write_panoptic(tmp_path, 6)
    images, _ = read(tmp_path, "panoptic.json")
    annotated = list(images._annotated)
    kept, tried = held_out(annotated, 0.3)
    _, again = held_out(annotated[::-1], 0.3)
    assert len(tried) == 2 and len(kept) == 4 and {each.key for each in tried} == {each.key for each in again}
    assert held_out(annotated, 0.0) == (annotated, []) and held_out(annotated[:1], 0.5) == (annotated[:1], [])
    assert len(held_out(annotated[:2], 0.01)[1]) == 1
