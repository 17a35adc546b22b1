"""The annotations of COCO files as regions: shapes, boxes, and what cannot be read."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from converters.datasets.coco_index import index_coco
from converters.datasets.coco_reader import coco_to_records
from converters.datasets.coco_regions import FoundRegions, read_regions
from converters.records import Region

SIZE_HW = (20, 30)


def dataset(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "images": [{"id": 9, "file_name": "a.png", "height": 20, "width": 30}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 1, "name": "dog"}],
        "annotations": [{"id": n, "image_id": 9, "category_id": 3, **a} for n, a in enumerate(annotations, start=1)],
    }


def read(**annotation: Any) -> FoundRegions:
    return read_regions([{"id": 1, "category_id": 3, **annotation}], SIZE_HW, index_coco(dataset()), "image 9")


def test_polygons_and_counts_of_other_tools_are_read_as_pycocotools_reads_them() -> None:
    polygon = [[3.3, 2.1, 20.8, 5.5, 9.2, 17.9], [22.0, 1.0, 28.0, 1.0, 28.0, 6.5, 22.0, 6.5]]
    counts = {"size": [20, 30], "counts": [100, 40, 460]}
    foreign = dataset({"segmentation": polygon}, {"segmentation": counts, "iscrowd": 1})
    coco = COCO()
    coco.dataset = foreign
    coco.createIndex()
    (found,) = coco_to_records(foreign)
    for region, annotation in zip(found.annotations[0].regions, foreign["annotations"], strict=True):
        assert np.array_equal(region.mask(), coco.annToMask(annotation) > 0)


LEFT_OUT = [
    ({"segmentation": None}, "expected a segmentation as RLE or polygons, got None"),
    ({"segmentation": []}, "expected a segmentation as RLE or polygons, got []"),
    ({"segmentation": [], "bbox": [1, 2, 3]}, "expected a box as [x, y, width, height] in pixels, got [1, 2, 3]"),
    ({"segmentation": [], "bbox": [1, 2, 0, 4]}, "expected a box as [x, y, width, height] in pixels"),
    ({"segmentation": [], "bbox": [1, 2, None, 4, 5]}, "expected a box as [x, y, width, height] in pixels"),
    ({"bbox": [100, 2, 3, 4]}, "expected a segmentation or box around the centre of a pixel or more, got none"),
    ({"segmentation": {"size": [20, 30], "counts": [600]}}, "around the centre of a pixel or more, got none"),
    ({"segmentation": [[1, 2, 3, 4]]}, "expected polygons of 3 or more x, y pairs"),
    ({"segmentation": [[1, 2, 3, 4, 5, 1e9]]}, "within 120 pixels of the image"),
    ({"segmentation": [[1, 2, 3, 4, 5, "x"]]}, "expected polygons of 3 or more x, y pairs"),
    ({"segmentation": {"size": [20, 30], "counts": [5]}}, "expected counts that sum to 600"),
    ({"segmentation": {"size": [30, 20], "counts": [600]}}, "expected a segmentation of [20, 30] (height, width)"),
    ({"segmentation": {"size": [99999, 99999], "counts": [5]}}, "expected an image of at most 600 pixels"),
    (
        {"segmentation": {"size": [20, 30], "counts": [0, 600]}, "category_id": 8},
        "expected the id of a category, got 8",
    ),
]


@pytest.mark.parametrize(("annotation", "message"), LEFT_OUT)
def test_an_annotation_that_cannot_be_read_is_listed(annotation: dict[str, Any], message: str) -> None:
    (found,) = coco_to_records(dataset(annotation))
    assert found.annotations == ()  # not one without a region: that would say that there is nothing to see
    assert found.left_out[0].reason == "unreadable annotation"
    assert message in found.left_out[0].where


@pytest.mark.parametrize("nothing", [None, [], [[]], {}])
def test_a_segmentation_that_is_none_leaves_the_box(nothing: Any) -> None:
    (found,) = read(segmentation=nothing, bbox=[2, 3, 5, 4]).regions
    assert found.box_xywh == (2, 3, 5, 4)


@pytest.mark.parametrize("part", [[1, 2, 3, 4], [1, 2, 3, 4, 5], [], None, [1, 2, 3, 4, 5, 1e9]])
def test_one_bad_part_of_a_polygon_costs_that_part_alone(part: Any) -> None:
    sound = [2.0, 2.0, 12.0, 2.0, 12.0, 9.0, 2.0, 9.0]
    found, whole = read(segmentation=[part, sound]), read(segmentation=[sound])
    assert found.regions == whole.regions != ()
    assert [item.reason for item in found.incomplete] == ["part of a polygon that cannot be read"]
    assert found.incomplete[0].where.startswith("image 9, annotation 1: expected polygons of 3 or more x, y pairs")
    assert found.left_out == ()


@pytest.mark.parametrize("segmentation", [None, [], ...])
def test_a_box_alone_is_a_box(segmentation: Any) -> None:
    more = {} if segmentation is ... else {"segmentation": segmentation}
    (region,) = read(bbox=[2.5, 3.0, 4.0, 5.25], **more).regions
    assert region.box_xywh == (2.5, 3.0, 4.0, 5.25)
    ys, xs = np.nonzero(region.mask())
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (3, 7, 2, 5)
    assert region.polygon is None


def test_a_box_is_cut_at_the_borders_of_its_image() -> None:
    (region,) = read(bbox=[-2, 15, 10, 500]).regions
    assert region.box_xywh == (0, 15, 8, 5)


def test_an_annotation_with_a_mask_is_no_box() -> None:
    (region,) = read(segmentation=[[2, 2, 12, 2, 12, 9]], bbox=[2, 2, 10, 7]).regions
    assert region.box_xywh is None


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers() | st.none() | st.text(max_size=2)
boxes = st.lists(numbers, max_size=6) | st.tuples(*[st.floats(-50, 50)] * 4).map(list)


@given(boxes)
def test_any_box_is_a_region_inside_its_image_or_counted(box: list[Any]) -> None:
    found = read(bbox=box)
    assert len(found.regions) + len(found.left_out) == 1
    for region in found.regions:
        assert isinstance(region, Region) and region.box_xywh is not None
        x, y, width, height = region.box_xywh
        assert 0 <= x < x + width <= 30 + 1e-9 and 0 <= y < y + height <= 20 + 1e-9
        assert region.mask().any()
