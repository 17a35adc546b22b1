import json
from pathlib import Path

import numpy as np
import pytest

from backend.commands.convert import convert_to_coco
from backend.errors import RequestError
from converters.brush import mask_to_brush_rle
from converters.coco import CocoOptions
from converters.errors import CocoError

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red"/></BrushLabels></View>'
)


def write_export(folder: Path, *, annotated: bool) -> Path:
    mask = np.zeros((4, 6), dtype=np.bool_)
    mask[1:3, 2:5] = True
    region = {
        "from_name": "b",
        "to_name": "image",
        "type": "brushlabels",
        "original_width": 6,
        "original_height": 4,
        "value": {"format": "rle", "rle": mask_to_brush_rle(mask), "brushlabels": ["red"]},
    }
    annotations = [{"id": 1, "result": [region]}] if annotated else []
    (folder / "export.json").write_text(
        json.dumps([{"id": 1, "data": {"image": "/data/upload/1/a.png"}, "annotations": annotations}])
    )
    (folder / "config.xml").write_text(CONFIG)
    return folder / "export.json"


def test_an_export_becomes_coco(tmp_path: Path) -> None:
    export, out = write_export(tmp_path, annotated=True), tmp_path / "coco.json"
    text = convert_to_coco(export, tmp_path / "config.xml", out, CocoOptions(), allow_empty=False)
    assert text.splitlines()[:2] == ["images: 1 read, 1 written", "regions: 1 read, 1 annotations written"]
    assert [annotation["area"] for annotation in json.loads(out.read_text())["annotations"]] == [6]


def test_an_empty_export_is_refused_unless_allowed(tmp_path: Path) -> None:
    export, out = write_export(tmp_path, annotated=False), tmp_path / "coco.json"
    with pytest.raises(CocoError, match="at least one annotation"):
        convert_to_coco(export, tmp_path / "config.xml", out, CocoOptions(), allow_empty=False)
    assert not out.exists()
    assert "left out" in convert_to_coco(export, tmp_path / "config.xml", out, CocoOptions(), allow_empty=True)


def test_a_missing_export_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"Cannot convert .*export\.json"):
        convert_to_coco(
            tmp_path / "export.json", tmp_path / "config.xml", tmp_path / "x", CocoOptions(), allow_empty=False
        )
