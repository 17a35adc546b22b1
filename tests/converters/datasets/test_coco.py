"""COCO files as pycocotools reads them: pixels, areas, ids, negatives, and the count of what was left out."""

import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from converters.datasets.coco import (
    CocoOptions,
    coco_results,
    records_to_coco,
    write_coco,
    write_coco_file,
    write_coco_results_file,
)
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.masks import mask_iou
from converters.encodings.polygons import polygons_to_mask
from converters.errors import CocoError, RecordError
from converters.records import Annotation, DatasetCategory, ImageRecord, LeftOut, Prediction, Region

CATEGORIES = (DatasetCategory(2, "cat"), DatasetCategory(1, "dog"))
SIZE_HW = (24, 36)
masks = arrays(np.bool_, SIZE_HW).filter(lambda mask: bool(mask.any()))

RING = np.zeros(SIZE_HW, dtype=np.bool_)
RING[4:20, 4:20] = True
RING[8:16, 8:16] = False
TWO_PARTS = np.zeros(SIZE_HW, dtype=np.bool_)
TWO_PARTS[2:10, 2:12] = TWO_PARTS[14:20, 20:30] = True
BLOB = np.hypot(*(np.indices(SIZE_HW) - np.array([12, 18])[:, None, None])) < 9


def region(mask: np.ndarray, *labels: str, **more: Any) -> Region:
    return Region(more.pop("id", "r"), labels or ("cat",), "brush", mask_to_coco_rle(mask), **more)


def record(*regions: Region, task_id: int = 1, **more: Any) -> ImageRecord:
    annotations = more.pop("annotations", (Annotation(1, regions),))
    size_hw = more.pop("size_hw", SIZE_HW)
    image = f"/data/upload/1/{task_id}.png"
    return ImageRecord(task_id, image, "image", size_hw=size_hw, annotations=annotations, **more)


def load(dataset: dict[str, Any], folder: Path) -> COCO:
    write_coco(dataset, folder / "coco.json", allow_empty=True)
    return COCO(str(folder / "coco.json"))


@given(st.lists(masks, min_size=1, max_size=4))
def test_every_mask_survives_with_pycocotools_area_and_box(drawn: list[np.ndarray]) -> None:
    dataset, counts = records_to_coco([record(*map(region, drawn))], CATEGORIES)
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    assert counts.annotations_out == counts.regions_in == len(drawn)
    for annotation, mask in zip(dataset["annotations"], drawn, strict=True):
        assert np.array_equal(coco.annToMask(annotation) > 0, mask)
        rows, columns = np.nonzero(mask)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert (annotation["area"], annotation["bbox"]) == (mask.sum(), box)


def test_the_file_is_what_pycocotools_and_people_expect(tmp_path: Path) -> None:
    records = [record(region(RING, "dog", id="a", origin="manual"), region(BLOB, "cat", id="b")), record(task_id=2)]
    dataset, _ = records_to_coco(records, CATEGORIES)
    coco = load(dataset, tmp_path)
    assert [(c["id"], c["name"]) for c in coco.loadCats(coco.getCatIds())] == [(2, "cat"), (1, "dog")]
    assert coco.imgs[1] == {"id": 1, "file_name": "1.png", "width": 36, "height": 24, "task_id": 1}
    assert coco.imgs[2]["file_name"] == "2.png"  # a negative stays
    assert [(a["id"], a["image_id"], a["category_id"], a["iscrowd"]) for a in coco.anns.values()] == [
        (1, 1, 1, 0),
        (2, 1, 2, 0),
    ]
    assert coco.anns[1]["origin"] == "manual"
    assert "origin" not in coco.anns[2]


def test_an_image_that_two_tasks_show_is_one_image_with_the_regions_of_both() -> None:
    both = [record(region(RING, id="a")), record(task_id=7), record(region(BLOB, "dog", id="b"))]
    other_size = record(region(np.ones((5, 6), dtype=np.bool_), id="c"), size_hw=(5, 6))
    dataset, counts = records_to_coco([*both, other_size], CATEGORIES)
    assert [(image["id"], image["file_name"]) for image in dataset["images"]] == [(1, "1.png"), (2, "7.png")]
    assert [(a["region_id"], a["image_id"]) for a in dataset["annotations"]] == [("a", 1), ("b", 1)]
    assert counts.notes == {"tasks that show an image of an earlier task: their regions joined it": 1}
    assert counts.left_out == {"image of another size than in an earlier task": 1}
    assert (counts.images_in, counts.images_out) == (4, 2)


def test_an_image_keeps_its_id_whichever_of_its_tasks_goes_in() -> None:
    predicted = record(annotations=(), predictions=(Prediction(1, (region(RING, score=0.5),)),))
    tasks = [record(region(BLOB)), record(task_id=2), predicted]
    dataset, _ = records_to_coco(tasks, CATEGORIES, CocoOptions(source="predictions"))
    assert [(image["id"], image["file_name"]) for image in dataset["images"]] == [(1, "1.png")]


def test_average_precision_of_a_file_against_itself_is_one(tmp_path: Path) -> None:
    records = [
        record(
            region(RING, "dog"),
            region(TWO_PARTS, "cat"),
            task_id=number,
            predictions=(Prediction(1, (region(RING, "dog", score=0.9), region(TWO_PARTS, "cat")), score=0.8),),
        )
        for number in (1, 2)
    ]
    truth, _ = records_to_coco(records, CATEGORIES)
    predicted, _ = records_to_coco(records, CATEGORIES, CocoOptions(source="predictions"))
    results = coco_results(predicted)
    assert [r["score"] for r in results] == [0.9, 0.8, 0.9, 0.8]  # the task's where the region has none
    write_coco(results, tmp_path / "results.json")
    coco = load(truth, tmp_path)
    evaluation = COCOeval(coco, coco.loadRes(str(tmp_path / "results.json")), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == 1.0


def test_one_region_is_one_annotation_unless_parts_are_asked_for() -> None:
    whole, _ = records_to_coco([record(region(TWO_PARTS))], CATEGORIES)
    parts, counts = records_to_coco([record(region(TWO_PARTS))], CATEGORIES, CocoOptions(split_parts=True))
    assert [a["area"] for a in whole["annotations"]] == [80 + 60]
    assert [a["area"] for a in parts["annotations"]] == [80, 60]
    assert [a["region_id"] for a in parts["annotations"]] == ["r", "r"]
    assert (counts.regions_in, counts.annotations_out) == (1, 2)


def test_a_region_with_two_labels_becomes_two_annotations() -> None:
    dataset, _ = records_to_coco([record(region(BLOB, "cat", "dog"))], CATEGORIES)
    assert [a["category_id"] for a in dataset["annotations"]] == [2, 1]


def test_polygons_keep_parts_and_say_how_well_they_fit() -> None:
    options = CocoOptions(segmentation="polygons", tolerance_px=1.0, max_vertices=10)
    dataset, counts = records_to_coco([record(region(TWO_PARTS), region(BLOB))], CATEGORIES, options)
    two, blob = dataset["annotations"]
    assert two["segmentation"] == [[2, 2, 12, 2, 12, 10, 2, 10], [20, 14, 30, 14, 30, 20, 20, 20]]
    assert (two["area"], two["bbox"]) == (140, [2.0, 2.0, 28.0, 18.0])
    assert len(blob["segmentation"][0]) <= 20
    assert 0.85 < counts.lowest_polygon_iou < 1.0


def test_exact_polygons_are_exact_in_pycocotools() -> None:
    options = CocoOptions(segmentation="polygons", tolerance_px=0.0)
    dataset, counts = records_to_coco([record(region(BLOB))], CATEGORIES, options)
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    assert mask_iou(coco.annToMask(dataset["annotations"][0]) > 0, BLOB) == counts.lowest_polygon_iou == 1.0


def test_a_hole_keeps_its_region_rle() -> None:
    dataset, _ = records_to_coco([record(region(RING))], CATEGORIES, CocoOptions(segmentation="polygons"))
    assert dataset["annotations"][0]["segmentation"] == mask_to_coco_rle(RING)


def test_a_drawn_polygon_is_written_as_it_was_drawn() -> None:
    drawn = ((3.25, 3.5), (20.0, 4.0), (12.0, 20.0))
    mask = polygons_to_mask([drawn], SIZE_HW)
    options = CocoOptions(segmentation="polygons")
    dataset, _ = records_to_coco([record(region(mask, polygon=drawn))], CATEGORIES, options)
    assert dataset["annotations"][0]["segmentation"] == [[3.25, 3.5, 20, 4, 12, 20]]


def star(size: float = 10.0) -> tuple[tuple[float, float], ...]:
    """Return a pentagram, which winds around its middle twice."""
    angles = np.arange(5) * 4 * np.pi / 5
    return tuple(zip((15 + size * np.sin(angles)).tolist(), (11 - size * np.cos(angles)).tolist(), strict=True))


@pytest.mark.parametrize(
    ("drawn", "max_vertices"), [(star(), None), (((2, 2), (20, 2), (22, 9), (20, 18), (2, 18)), 4)]
)
def test_a_drawn_polygon_that_readers_fill_otherwise_or_with_too_many_points_is_outlined_anew(
    drawn: tuple[tuple[float, float], ...], max_vertices: int | None
) -> None:
    mask = polygons_to_mask([drawn], SIZE_HW)
    options = CocoOptions(segmentation="polygons", tolerance_px=0.5, max_vertices=max_vertices)
    dataset, counts = records_to_coco([record(region(mask, polygon=drawn))], CATEGORIES, options)
    (points,) = dataset["annotations"][0]["segmentation"]
    assert points != [value for point in drawn for value in point]
    assert max_vertices is None or len(points) <= 2 * max_vertices
    assert counts.lowest_polygon_iou > 0.9


def test_a_polygon_drawn_beyond_the_image_is_outlined_anew() -> None:
    far = ((-1e8, 2.0), (10.0, 2.0), (10.0, 9.0))
    mask = polygons_to_mask([far], SIZE_HW)
    options = CocoOptions(segmentation="polygons")
    dataset, _ = records_to_coco([record(region(mask, polygon=far))], CATEGORIES, options)
    assert dataset["annotations"][0]["segmentation"] == [[0, 2, 10, 2, 10, 9, 0, 9]]


def left_out(*records: ImageRecord, **options: Any) -> dict[str, int]:
    return dict(records_to_coco(records, CATEGORIES, CocoOptions(**options))[1].left_out)


def test_nothing_is_left_out_in_silence() -> None:
    old, new = Annotation(1, (region(RING),), updated_at="1"), Annotation(2, (region(BLOB),), updated_at="2")
    assert left_out(record(annotations=(old, new))) == {"another one of the same image was preferred": 1}
    assert left_out(record(annotations=(old, new)), every_annotator=True) == {}
    assert left_out(record(annotations=())) == {"image without annotations": 1}
    assert left_out(record(annotations=()), keep_unlabelled=True) == {}
    assert left_out(record(), source="predictions") == {"image without predictions": 1}
    assert left_out(record(annotations=(Annotation(1, (), skipped=True),))) == {"skipped by the annotator": 1}
    assert left_out(record(size_hw=None)) == {"image of unknown size": 1}
    assert left_out(record(region(RING), region(BLOB, "cow"))) == {"label that is no category": 1}
    unlabelled = Region("r", (), "b", mask_to_coco_rle(RING))
    assert left_out(record(unlabelled, region(BLOB))) == {"region without a label": 1}
    assert left_out(record(unlabelled)) == {
        "region without a label": 1,
        "image of which every region was left out": 1,
    }
    assert left_out(record(left_out=(LeftOut("unreadable region", "task 1"),))) == {"unreadable region": 1}


def test_counts_say_where() -> None:
    _, counts = records_to_coco([record(region(RING, "cow", id="r7"), task_id=5)], CATEGORIES)
    assert (counts.images_in, counts.images_out, counts.regions_in, counts.annotations_out) == (1, 0, 1, 0)
    assert counts.details == (
        "label that is no category: task 5, region 'r7': 'cow'",
        "image of which every region was left out: task 5: 5.png",
    )


def test_sizes_of_negatives_are_looked_up() -> None:
    dataset, _ = records_to_coco([record(size_hw=None)], CATEGORIES, size_of={"1.png": (9, 8)}.get)
    assert (dataset["images"][0]["height"], dataset["images"][0]["width"]) == (9, 8)


def test_file_names_are_relative_to_the_root() -> None:
    dataset, _ = records_to_coco([record()], CATEGORIES, CocoOptions(image_root="/data/"))
    assert dataset["images"][0]["file_name"] == "upload/1/1.png"
    dataset, counts = records_to_coco([record()], CATEGORIES, CocoOptions(image_root="s3://"))
    assert dataset["images"] == []
    assert counts.left_out == {"image address that gives no file name": 1}
    assert "expected an image address that begins with 's3://'" in counts.details[0]


def test_a_file_is_written_as_it_goes_and_is_the_dataset(tmp_path: Path) -> None:
    records = [record(region(RING, "cat"), region(BLOB, "cat", "dog", "fly"), task_id=n) for n in range(1, 4)]
    dataset, in_memory = records_to_coco(records, CATEGORIES)
    counts = write_coco_file((r for r in records), CATEGORIES, tmp_path / "coco.json")
    assert json.loads((tmp_path / "coco.json").read_text()) == dataset
    assert counts == in_memory
    assert (counts.images_out, counts.regions_in, counts.annotations_out) == (3, 6, 9)
    assert counts.left_out == {"label that is no category": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["coco.json"]


def test_what_is_written_waits_on_disk_not_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converters.files.output._IN_MEMORY_BYTES", 1 << 14)  # so that few records are many to it

    def records() -> Iterator[ImageRecord]:
        rng = np.random.default_rng(0)
        for number in range(300):
            yield record(region(rng.random((60, 90)) < 0.5), task_id=number, size_hw=(60, 90))

    def peak_bytes(convert: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            convert()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    in_memory = peak_bytes(lambda: records_to_coco(records(), CATEGORIES))
    as_it_goes = peak_bytes(lambda: write_coco_file(records(), CATEGORIES, tmp_path / "coco.json"))
    assert len(json.loads((tmp_path / "coco.json").read_text())["annotations"]) == 300
    assert as_it_goes < in_memory / 2


def test_results_are_written_as_they_go(tmp_path: Path) -> None:
    regions = (region(RING, score=0.5), region(BLOB))
    predicted = [record(annotations=(), predictions=(Prediction(1, regions),), task_id=n) for n in (1, 2)]
    counts = write_coco_results_file(predicted, CATEGORIES, tmp_path / "results.json")
    results = json.loads((tmp_path / "results.json").read_text())
    assert [(result["image_id"], result["score"]) for result in results] == [(1, 0.5), (2, 0.5)]
    assert sorted(results[0]) == ["bbox", "category_id", "image_id", "score", "segmentation"]
    assert counts.left_out == {"region without a score": 2}
    with pytest.raises(CocoError, match="expected results of predictions, source='predictions', got 'annotations'"):
        write_coco_results_file(predicted, CATEGORIES, tmp_path / "results.json", CocoOptions())


def test_images_keep_their_ids_whatever_is_selected(tmp_path: Path) -> None:
    guess = Prediction(1, (region(BLOB, score=0.5),))
    records = [
        record(annotations=(), predictions=(guess,), task_id=1),
        record(region(RING), predictions=(guess,), task_id=2),
        record(region(RING), task_id=3),
    ]
    write_coco_file(records, CATEGORIES, tmp_path / "truth.json")
    write_coco_results_file(records, CATEGORIES, tmp_path / "results.json")
    truth, results = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("truth", "results"))
    assert [(image["id"], image["task_id"]) for image in truth["images"]] == [(2, 2), (3, 3)]
    assert [result["image_id"] for result in results] == [1, 2]


def test_a_file_without_an_annotation_says_why_and_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text("old")
    with pytest.raises(
        CocoError, match=r"got none \(image without annotations \(1\)\); --allow-empty writes the file all the same"
    ):
        write_coco_file([record(annotations=())], CATEGORIES, tmp_path / "coco.json")
    assert (tmp_path / "coco.json").read_text() == "old"
    write_coco_file([record()], CATEGORIES, tmp_path / "coco.json", allow_empty=True)
    assert len(json.loads((tmp_path / "coco.json").read_text())["images"]) == 1


def test_an_empty_file_is_refused_unless_it_is_meant(tmp_path: Path) -> None:
    dataset, _ = records_to_coco([record()], CATEGORIES)
    with pytest.raises(CocoError, match=r"expected at least one annotation for out\.json, got none .look at what"):
        write_coco(dataset, tmp_path / "out.json")
    write_coco(dataset, tmp_path / "out.json", allow_empty=True)
    assert json.loads((tmp_path / "out.json").read_text())["annotations"] == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_coco({"annotations": [object()]}, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_results_need_scores() -> None:
    dataset, _ = records_to_coco([record(region(RING))], CATEGORIES)
    with pytest.raises(CocoError, match=r"expected a score for each annotation .* got none for 1 \(ids \[1\]\)"):
        coco_results(dataset)


@pytest.mark.parametrize(
    "categories",
    [(), (DatasetCategory(1, "a"), DatasetCategory(1, "b")), (DatasetCategory(1, "a"), DatasetCategory(2, "a"))],
)
def test_categories_must_be_told_apart(categories: tuple[DatasetCategory, ...]) -> None:
    with pytest.raises(RecordError, match="expected categories with a name and an id of their own each, got"):
        records_to_coco([], categories)
