"""Which images and regions go into a dataset, and the count of those that do not."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from converters.encodings.coco_rle import mask_to_coco_rle
from converters.errors import RecordError
from converters.records import Annotation, ImageRecord, Keypoint, LeftOut, Prediction, Region
from converters.selection import (
    NO_THRESHOLDS,
    OTHER_FILE_SIZE,
    SHARED_NAME,
    SelectedImage,
    Selection,
    Tally,
    Thresholds,
    labelled_regions,
    select_images,
    with_own_file,
)

RLE = mask_to_coco_rle(np.eye(4, 6, dtype=np.bool_))


def region(region_id: str, score: float | None = None) -> Region:
    return Region(region_id, ("cat",), "brush", RLE, score=score)


OLD = Annotation(1, (region("old"),), updated_at="1")
NEW = Annotation(2, (region("new"),), updated_at="2")
RECORD = ImageRecord(7, "/data/upload/1/a.png", "image", size_hw=(4, 6), annotations=(OLD, NEW))


def select(record: ImageRecord, **selection: object) -> tuple[list[SelectedImage], Tally]:
    tally = Tally()
    return list(select_images([record], Selection(**selection), None, tally)), tally  # type: ignore[arg-type]


def ids(images: list[SelectedImage]) -> list[str]:
    return [region.id for image in images for region in image.regions]


def test_what_a_format_cannot_hold_of_a_region_is_counted() -> None:
    held = Region("r", ("cat",), "", RLE, is_crowd=True, keypoints=(Keypoint("nose", 1, 1),), answers={"a": ("b",)})
    image = SelectedImage(1, 1, "a.png", (2, 3), (held,))
    for holds, lost in (((), 3), (("iscrowd",), 2), (("iscrowd", "keypoints", "answers"), 0)):
        tally = Tally()
        assert list(labelled_regions(image, {"cat": 4}, tally, holds=holds)) == [(held, 4)]
        assert sum(tally.left_out.values()) == lost
        assert all(reason.endswith("which this format cannot hold") for reason in tally.left_out)


def test_one_annotation_stands_for_an_image_unless_all_are_asked_for() -> None:
    (image,), tally = select(RECORD)
    assert (image.task_id, image.file_name, image.size_hw) == (7, "a.png", (4, 6))
    assert ids([image]) == ["new"]
    assert tally.details == ("another one of the same image was preferred: task 7, id 1",)
    assert (tally.images_in, tally.regions_in) == (1, 1)
    assert ids(select(RECORD, every_annotator=True)[0]) == ["old", "new"]


def test_the_last_prediction_counts_and_its_score_stands_for_regions_without() -> None:
    first, last = Prediction(1, (region("a"),)), Prediction(2, (region("b"), region("c", score=0.9)), score=0.4)
    record = ImageRecord(7, "a.png", "image", size_hw=(4, 6), predictions=(first, last))
    (image,), tally = select(record, source="predictions")
    assert [(r.id, r.score) for r in image.regions] == [("b", 0.4), ("c", 0.9)]
    assert tally.left_out == {"another one of the same image was preferred": 1}


def test_the_newest_prediction_counts_in_whatever_order_they_come() -> None:
    new = Prediction(2, (region("new"),), created_at="2026-02-01")
    old = Prediction(1, (region("old"),), created_at="2026-01-01")
    for predictions in ((new, old), (old, new)):
        record = ImageRecord(7, "a.png", "image", size_hw=(4, 6), predictions=predictions)
        assert ids(select(record, source="predictions")[0]) == ["new"]


def test_regions_of_another_annotator_and_size_are_left_out_and_the_size_is_that_of_what_goes_in() -> None:
    small = Region("small", ("cat",), "brush", mask_to_coco_rle(np.ones((2, 3), dtype=np.bool_)))
    first, second = Annotation(1, (small,)), Annotation(2, (region("a"), region("b")))
    record = ImageRecord(7, "a.png", "image", size_hw=(2, 3), annotations=(first, second))
    (image,), tally = select(record, every_annotator=True)
    assert (ids([image]), image.size_hw) == (["a", "b"], (4, 6))
    assert tally.left_out == {"region that states another image size": 1}
    assert "expected (height, width) (4, 6) as most regions state, got (2, 3)" in tally.details[0]


@pytest.mark.parametrize("source", ["annotations", "predictions"])
def test_an_image_of_which_every_region_was_lost_is_no_negative(source: Literal["annotations", "predictions"]) -> None:
    def record(*regions: Region, lost: int) -> ImageRecord:
        made: Any = Annotation(1, regions, lost_regions=lost)
        if source == "predictions":
            made = Prediction(1, regions, lost_regions=lost)
        return ImageRecord(7, "a.png", "image", size_hw=(4, 6), **{source: (made,)})

    images, tally = select(record(lost=2), source=source)
    assert images == []
    assert tally.details == ("image of which every region was left out: task 7: a.png",)
    (negative,), tally = select(record(lost=0), source=source)
    assert (negative.regions, tally.left_out) == ((), {})
    (partly,), _ = select(record(region("a"), lost=2), source=source)
    assert ids([partly]) == ["a"]


def test_an_image_of_which_every_label_is_no_category_is_no_negative() -> None:
    tally = Tally()
    assert list(select_images([RECORD], Selection(), None, tally, {"dog"})) == []
    assert tally.left_out == {
        "another one of the same image was preferred": 1,
        "label that is no category": 1,
        "image of which every region was left out": 1,
    }
    assert ids(list(select_images([RECORD], Selection(), None, Tally(), {"dog", "cat"}))) == ["new"]


def test_records_stream() -> None:
    tally = Tally()
    images = select_images((RECORD for _ in iter(int, 1)), Selection(), None, tally)  # endless
    next(images)
    next(images)
    assert tally.images_in == 2


def test_details_are_kept_for_the_first_hundred_only() -> None:
    record = ImageRecord(7, "a.png", "image", left_out=tuple(LeftOut("unreadable region", str(i)) for i in range(150)))
    _, tally = select(record)
    assert tally.left_out["unreadable region"] == 150
    assert len(tally.details) == 100


def test_each_image_has_a_file_of_its_own() -> None:
    names = ["a/cat.jpg", "a/cat.png", "cat.jpg", "../../etc/passwd"]
    tally = Tally()
    named = list(with_own_file([SelectedImage(1, 1, name, (4, 6), ()) for name in names], ".txt", tally))
    assert [str(name) for _, name in named] == ["a/cat.txt", "cat.txt"]
    assert tally.left_out == {
        "image name that another image has, its suffix aside": 1,
        "image name that cannot be a file inside a folder": 1,
    }
    assert "task 1: '../../etc/passwd'" in tally.details[1]


def test_no_image_needs_a_file_as_a_folder() -> None:
    for first, second in (("z.jpg", "z.txt/a.jpg"), ("z.txt/a/b.jpg", "z.jpg")):
        tally = Tally()
        named = list(with_own_file([SelectedImage(1, 1, name, (4, 6), ()) for name in (first, second)], ".txt", tally))
        assert [image.file_name for image, _ in named] == [first]
        assert tally.left_out == {"image name whose file another image needs as a folder, or the other way": 1}


def test_regions_come_with_each_of_their_categories() -> None:
    both = Region("r", ("cat", "dog", "fly"), "", RLE)
    tally = Tally()
    found = list(
        labelled_regions(
            SelectedImage(1, 1, "a", (4, 6), (both, Region("s", (), "", RLE))), {"cat": 3, "dog": 1}, tally
        )
    )
    assert found == [(both, 3), (both, 1)]
    assert tally.details == (
        "label that is no category: task 1, region 'r': 'fly'",
        "region without a label: task 1, region 's'",
    )


def test_an_address_outside_the_root_is_left_out_and_stops_nothing() -> None:
    elsewhere = ImageRecord(8, "s3://b/a.png", "image", size_hw=(4, 6), annotations=(NEW,))
    tally = Tally()
    (image,) = select_images([elsewhere, RECORD], Selection(image_root="/data/"), None, tally)
    assert image.task_id == 7
    assert tally.left_out["image address that gives no file name"] == 1


def test_counts_say_what_was_left_out_and_what_was_written_otherwise() -> None:
    tally = Tally()
    assert tally.counts().reasons() == "nothing was left out"
    tally.leave_out("too odd", "task 1")
    tally.note("pixels moved", 5)
    tally.note("pixels eaten", 0)
    counts = tally.counts()
    assert (counts.left_out, counts.details, counts.notes) == (
        {"too odd": 1},
        ("too odd: task 1",),
        {"pixels moved": 5},
    )
    assert tally.counts().reasons() == "too odd (1)"


TWO_PARTS = np.zeros((4, 6), dtype=np.bool_)
TWO_PARTS[0:2, 0:2] = TWO_PARTS[3, 4] = True  # 4 px and 1 px
DRAWN = Region("r", ("cat",), "polygon", mask_to_coco_rle(TWO_PARTS), polygon=((0.0, 0.0), (2.0, 0.0), (0.0, 2.0)))


def parts(**selection: object) -> tuple[list[int], Tally]:
    record = ImageRecord(7, "a.png", "image", size_hw=(4, 6), annotations=(Annotation(1, (DRAWN, region("one"))),))
    (image,), tally = select(record, **selection)
    return [int(found.mask().sum()) for found in image.regions], tally


def test_each_part_is_an_entry_if_that_is_asked_for_and_counted() -> None:
    areas, tally = parts()
    assert (areas, tally.counts().notes) == ([5, 4], {})
    areas, tally = parts(split_parts=True)
    assert (areas, tally.regions_in) == ([4, 1, 4], 2)
    assert tally.counts().notes == {"regions split into their parts": 1}


def test_small_parts_are_dropped_and_counted_also_whole_regions() -> None:
    areas, tally = parts(min_area_px=2)
    assert areas == [4, 4]
    assert tally.counts().notes == {"parts smaller than 2 px dropped": 1}
    areas, tally = parts(min_area_px=5, split_parts=True)
    assert areas == []
    assert tally.counts().notes == {
        "parts smaller than 5 px dropped": 3,
        "regions without a part of 5 px dropped": 2,
    }
    assert tally.counts().left_out == {}  # it was asked for


def test_a_region_that_lost_or_was_split_into_parts_is_no_drawn_polygon_any_more() -> None:
    record = ImageRecord(7, "a.png", "image", size_hw=(4, 6), annotations=(Annotation(1, (DRAWN,)),))
    for selection in ({"min_area_px": 2}, {"split_parts": True}):
        (image,), _ = select(record, **selection)
        assert {found.polygon for found in image.regions} == {None}
    (image,), _ = select(record, min_area_px=1)
    assert image.regions == (DRAWN,)


def test_a_crowd_stays_whole_and_keypoints_belong_to_the_whole() -> None:
    crowd = replace(DRAWN, id="crowd", is_crowd=True)
    posed = replace(DRAWN, id="posed", keypoints=(Keypoint("nose", 1.0, 1.0),))
    record = ImageRecord(7, "a.png", "image", size_hw=(4, 6), annotations=(Annotation(1, (crowd, posed)),))
    (image,), tally = select(record, split_parts=True)
    assert ids([image]) == ["crowd", "posed", "posed"]
    assert [found.keypoints for found in image.regions] == [()] * 3
    assert tally.counts().notes == {
        "regions split into their parts": 1,
        "keypoints of a region that was split, not written": 1,
    }


def test_predicted_regions_below_their_threshold_are_dropped_and_counted() -> None:
    regions = (region("low", 0.2), region("high", 0.6), region("unknown"))
    both = replace(region("both", 0.3), labels=("cat", "dog"))
    record = ImageRecord(7, "a.png", "image", size_hw=(4, 6), predictions=(Prediction(1, (*regions, both)),))
    for thresholds, kept, dropped in (
        (NO_THRESHOLDS, ["low", "high", "unknown", "both"], 0),
        (Thresholds(0.6), ["high", "unknown"], 2),
        (Thresholds(0.6, {"dog": 0.3}), ["high", "unknown", "both"], 1),
        (Thresholds(0.0, {"cat": 0.7}), ["unknown", "both"], 2),
    ):
        images, tally = select(record, source="predictions", thresholds=thresholds)
        assert ids(images) == kept
        counts = tally.counts()
        assert counts.notes == ({"regions below their threshold dropped": dropped} if dropped else {})
        assert (counts.regions_in, counts.left_out) == (4, {})  # it was asked for


def test_thresholds_of_unknown_labels_are_refused_with_what_was_perhaps_meant() -> None:
    Thresholds(0.5, {"cat": 0.1}).require_known(["cat"])
    with pytest.raises(RecordError, match=r"one of the labels \['cat', 'dog'\], got cats=0.1: did you mean 'cat'\?"):
        Thresholds(0.5, {"cats": 0.1}).require_known(["cat", "dog"])


def test_thresholds_that_can_hide_nothing_are_none() -> None:
    assert not NO_THRESHOLDS and not Thresholds(0, {"cat": 0.0})
    assert Thresholds(0.1) and Thresholds(0, {"cat": 0.1})


def test_images_of_one_file_name_are_noted() -> None:
    addresses = ("https://host/image?id=1", "https://host/image?id=2", "https://host/image?id=1")
    records = [replace(RECORD, image=address) for address in addresses]
    whole = [address.removeprefix("https://host/") for address in addresses]
    for root, names, times in (("", ["image"] * 3, 1), ("https://host/", whole, 0)):
        tally = Tally()
        images = list(select_images(records, Selection(image_root=root), None, tally))
        assert [image.file_name for image in images] == names
        assert tally.counts().notes == ({SHARED_NAME: times} if times else {})


def test_images_whose_files_are_of_another_size_than_their_regions_state_are_noted() -> None:
    for size_hw, times in (((4, 6), 0), ((6, 4), 1), (None, 0)):
        tally = Tally()
        (image,) = select_images([RECORD], Selection(), {"a.png": size_hw}.get, tally)
        assert image.size_hw == (4, 6)
        assert tally.counts().notes == ({OTHER_FILE_SIZE: times} if times else {})
