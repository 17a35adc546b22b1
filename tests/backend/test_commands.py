import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.commands import build_missing, convert_to_coco, read_categories, segment_file
from backend.errors import ImageDecodeError, RequestError
from backend.settings import Settings
from converters.brush import mask_to_brush_rle
from converters.coco import CocoOptions
from converters.errors import CocoError
from ovdiff.errors import SupportError, VocabularyError
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine
from tests.fakes.pictures import encoded, red_and_blue

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red"/></BrushLabels></View>'
)


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(tmp_path / "bank")


def test_categories_are_names_with_optional_prompts() -> None:
    vocabulary = read_categories("boat, water=sea; lake ,")
    assert vocabulary.categories == (Category("boat"), Category("water", ("sea", "lake")))
    with pytest.raises(VocabularyError, match="The vocabulary is empty"):
        read_categories(" , ")


def test_an_image_file_is_segmented(tmp_path: Path, engine: FakeEngine) -> None:
    (tmp_path / "in.png").write_bytes(encoded(red_and_blue()))
    said: list[str] = []
    summary = segment_file(
        tmp_path / "in.png",
        read_categories("red, green"),
        tmp_path / "out.png",
        settings=Settings(),
        engine=engine,
        say=said.append,
    )
    assert [line.split() for line in summary.splitlines()[1:]] == [["red", "12.5%", "0.75"], ["green", "0.0%", "0.00"]]
    assert said == [f"{name}: {stage}" for name in ("red", "green") for stage in ("generating", "extracting")]
    assert np.asarray(Image.open(tmp_path / "out.png")).shape[1] == 64


def test_files_that_cannot_be_used_are_named(tmp_path: Path, engine: FakeEngine) -> None:
    def segment(image: str, out: str) -> None:
        segment_file(
            tmp_path / image,
            read_categories("red"),
            tmp_path / out,
            settings=Settings(),
            engine=engine,
            say=lambda _: None,
        )

    (tmp_path / "in.png").write_bytes(encoded(red_and_blue()))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(RequestError, match=r"Cannot read the image .*missing\.png"):
        segment("missing.png", "out.png")
    with pytest.raises(ImageDecodeError, match="are no picture"):
        segment("text.png", "out.png")
    with pytest.raises(RequestError, match=r"Cannot write the overlay .*out\.unknown"):
        segment("in.png", "out.unknown")


def test_only_missing_prototypes_are_built(engine: FakeEngine) -> None:
    said: list[str] = []
    engine.build(Category("red"))
    build_missing(read_categories("red, blue").categories, engine, said.append)
    assert said == ["red: ready", "blue: generating", "blue: extracting"]
    engine.failing = frozenset({"green"})
    with pytest.raises(SupportError):
        build_missing([Category("green")], engine, said.append)


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
