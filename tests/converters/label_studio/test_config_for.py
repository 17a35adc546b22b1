"""Label configs for datasets that come in: what is written is read back, and holds what the dataset needs."""

import numpy as np
import pytest

from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.colours import colour_of
from converters.errors import LabelConfigError
from converters.label_studio.categories import categories_of
from converters.label_studio.config_for import Extras, Needs, label_config_for
from converters.label_studio.label_config import parse_label_config
from converters.records import Annotation, DatasetCategory, ImageRecord, Prediction, Region

RLE = mask_to_coco_rle(np.ones((2, 3), dtype=np.bool_))


def test_a_config_is_written_for_categories_and_read_back() -> None:
    categories = (DatasetCategory(7, 'a "quoted" & <odd> name'), DatasetCategory(2, "cat"))
    for kind in ("BrushLabels", "PolygonLabels"):
        config = parse_label_config(label_config_for(categories, kind))
        assert categories_of(config) == categories
        assert config.controls[0].kind == kind.lower()
        assert config.controls[0].labels[1].attributes["background"] == colour_of("cat")


@pytest.mark.parametrize("name", ["ca\x08t", "cat\x00", "\ud83d", "cat\ufffe"])
def test_a_name_that_xml_cannot_hold_is_said(name: str) -> None:
    for strange in (DatasetCategory(2, name), DatasetCategory(2, "cat", keypoints=("nose", name))):
        with pytest.raises(LabelConfigError) as caught:
            label_config_for((DatasetCategory(1, "dog"), strange))
        assert f"got {name!r}: rename it" in str(caught.value)


def test_the_config_says_which_categories_are_stuff() -> None:
    categories = (DatasetCategory(1, "sky", "stuff"), DatasetCategory(2, "cat", "thing"), DatasetCategory(3, "dog"))
    assert categories_of(parse_label_config(label_config_for(categories))) == categories


def test_there_is_a_control_for_boxes_where_it_is_asked_for() -> None:
    categories = (DatasetCategory(7, "cat"), DatasetCategory(2, "dog"))
    config = parse_label_config(label_config_for(categories, extras=Extras(boxes=True)))
    assert [(control.name, control.kind) for control in config.controls] == [
        ("label", "brushlabels"),
        ("box", "rectanglelabels"),
    ]
    assert categories_of(config) == categories
    alone = parse_label_config(label_config_for(categories, "RectangleLabels", extras=Extras(boxes=True)))
    assert [control.name for control in alone.controls] == ["label"]


def test_needs_are_what_the_regions_are() -> None:
    boxed, plain = Region("a", ("cat",), "", RLE, box_xywh=(0, 0, 3, 2)), Region("b", ("cat",), "", RLE)
    for regions, boxes in (((plain,), False), ((plain, boxed), True)):
        records = [
            ImageRecord(1, "a", "image", annotations=(Annotation(1, regions),)),
            ImageRecord(1, "a", "image", predictions=(Prediction(1, regions),)),
        ]
        for record in records:
            needs = Needs()
            assert list(needs.seen([record])) == [record]
            assert needs.of(Extras(boxes=True)) == Extras(boxes=boxes)
