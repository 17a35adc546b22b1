"""What each command does with its parsed options; the whole command line is tested in `test_cli`."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from converters import cli, commands
from converters.console import DONE, LEFT_BEHIND, answering
from converters.encodings.brush import mask_to_brush_rle
from converters.errors import OutputError, RecordError, YOLOError
from converters.label_studio.label_config import parse_label_config

GOLDEN = Path(__file__).parent / "golden"
EXPORT, CONFIG = GOLDEN / "api_tasks.json", GOLDEN / "label_config.xml"


def convert_options(out: Path, **more: object) -> Namespace:
    options = {
        "export": EXPORT, "label_config": CONFIG, "out": out, "predictions": False, "every_annotator": False,
        "keep_unlabelled": False, "images": None, "image_root": "", "split_parts": False, "min_area": 0,
        "tolerance": 1.0, "max_vertices": None, "boxes": False, "workers": 1, "min_score": None, "threshold": [],
    }  # fmt: skip
    return Namespace(**(options | more))


def import_options(source: Path, out: Path, **more: object) -> Namespace:
    options = {
        "source": source, "out": out, "label_config_out": None, "mark_as": None, "model_version": "imported",
        "image_root": "", "control": "BrushLabels", "boxes": "rectangles", "images": None, "data_yaml": None,
        "workers": 1,
    }  # fmt: skip
    return Namespace(**(options | more))


def coco_file(folder: Path) -> Path:
    out = folder / "coco.json"
    commands.convert_coco(convert_options(out, polygons=False, results=False, original=None, allow_empty=False))
    return out


def test_each_format_is_written_and_its_place_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = {
        "coco.json": lambda: coco_file(tmp_path),
        "panoptic": lambda: commands.convert_panoptic(convert_options(tmp_path / "panoptic", stuff=[])),
        "masks": lambda: commands.convert_semantic_png(convert_options(tmp_path / "masks", ignore_label=None)),
        "yolo": lambda: commands.convert_yolo(convert_options(tmp_path / "yolo")),
    }
    for name, command in written.items():
        command()
        assert (tmp_path / name).exists()
        assert capsys.readouterr().out.endswith(f"written: {tmp_path / name}\n")


def test_options_reach_what_is_written(tmp_path: Path) -> None:
    more = {"results": False, "original": None, "allow_empty": False}
    commands.convert_coco(convert_options(tmp_path / "c.json", polygons=True, every_annotator=True, **more))
    everyone = json.loads((tmp_path / "c.json").read_text())["annotations"]
    assert any(isinstance(annotation["segmentation"], list) for annotation in everyone)
    assert len(everyone) > len(json.loads(coco_file(tmp_path).read_text())["annotations"])
    with pytest.raises(RecordError, match="no such label"):
        commands.convert_panoptic(convert_options(tmp_path / "panoptic", stuff=["no such label"]))
    assert not (tmp_path / "panoptic").exists()


def test_a_command_never_writes_over_what_it_reads(tmp_path: Path) -> None:
    export = tmp_path / "export.json"
    export.write_bytes(EXPORT.read_bytes())
    linked = tmp_path / "link.json"
    linked.symlink_to(export)
    for out in (export, linked):
        with pytest.raises(OutputError, match="to be a file of its own"):
            commands.convert_yolo(convert_options(out, export=export))
    source = coco_file(tmp_path)
    with pytest.raises(OutputError, match="to be a file of its own"):
        commands.import_coco(import_options(source, tmp_path / "tasks.json", label_config_out=tmp_path / "tasks.json"))
    assert export.read_bytes() == EXPORT.read_bytes() and not (tmp_path / "tasks.json").exists()


def test_an_import_brings_a_label_config_that_fits(tmp_path: Path) -> None:
    options = import_options(
        coco_file(tmp_path), tmp_path / "tasks.json", label_config_out=tmp_path / "c.xml", mark_as="predictions"
    )
    assert commands.import_coco(options) == DONE
    config = parse_label_config((tmp_path / "c.xml").read_text())
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    names = {result["from_name"] for task in tasks for item in task["predictions"] for result in item["result"]}
    assert names == {control.name for control in config.controls}
    assert {item["model_version"] for task in tasks for item in task["predictions"]} == {"imported"}


def test_a_label_config_without_areas_is_said_to_be_one(tmp_path: Path) -> None:
    config = tmp_path / "points.xml"
    config.write_text(
        '<View><Image name="image" value="$image"/><KeyPointLabels name="point" toName="image"><Label value="nose"/>'
        "</KeyPointLabels></View>"
    )
    with pytest.raises(RecordError, match=r"points\.xml: expected labels of a control that marks areas \(brushlabels"):
        commands.convert_csv(convert_options(tmp_path / "out.csv", label_config=config))


def test_a_file_that_label_studio_refuses_for_its_size_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = import_options(coco_file(tmp_path), tmp_path / "tasks.json")
    commands.import_coco(tasks)
    assert "refuses" not in capsys.readouterr().out
    size = tasks.out.stat().st_size
    monkeypatch.setattr(commands, "LARGEST_IMPORT_BYTES", size)
    commands.import_coco(tasks)
    said = capsys.readouterr().out
    assert f"Label Studio refuses files of {size} bytes or more, and {tasks.out} has {size}: start" in said
    assert f"DATA_UPLOAD_MAX_MEMORY_SIZE={size + 1}, or" in said


def test_a_yolo_import_needs_the_images(tmp_path: Path) -> None:
    commands.convert_yolo(convert_options(tmp_path / "yolo"))
    (tmp_path / "yolo" / "images").rmdir()
    with pytest.raises(YOLOError, match=r"expected images in .*yolo, for the sizes, got 1 label files and no image"):
        commands.import_yolo(import_options(tmp_path / "yolo", tmp_path / "tasks.json"))


def test_findings_are_said_and_counted_in_the_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"label_config": CONFIG, "images": None, "image_root": "", "negatives": True}
    with answering(as_json=True):
        assert commands.validate(Namespace(file=EXPORT, **options)) == DONE
    assert json.loads(capsys.readouterr().out) == []
    broken = tmp_path / "broken.json"
    broken.write_text('[{"data": {}}]')
    with answering(as_json=True):
        assert commands.validate(Namespace(file=broken, **options)) == LEFT_BEHIND
    (finding,) = json.loads(capsys.readouterr().out)
    assert (finding["file"], finding["kind"]) == (str(broken), "unreadable-task")


def test_an_evaluation_says_what_it_compared_and_where_the_report_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Namespace(
        export=GOLDEN / "corrections_api.json",
        label_config=GOLDEN / "corrections_config.xml",
        out=tmp_path / "report",
        unlinked=False,
        worst=2,
        images=None,
        image_root="",
        label_studio_url="http://labels.example.org",
        project=7,
        workers=1,
    )
    assert commands.evaluate(options) in (DONE, LEFT_BEHIND)
    said = capsys.readouterr().out
    for path in (tmp_path / "report").iterdir():
        assert str(path) in said.splitlines()[-1]
    assert "corrections compared: " in said and len(list((tmp_path / "report").iterdir())) == 4
    assert "1. Correct more images before you change anything: 7 regions cannot tell" in said
    for page in ("html", "md", "csv"):
        assert "http://labels.example.org/projects/7/data?task=" in (tmp_path / f"report/corrections.{page}").read_text(
            "utf-8"
        )


@pytest.mark.parametrize("form", ["coco", "panoptic", "semantic-png", "yolo", "voc", "csv"])
def test_every_format_splits_and_drops_parts_and_says_how_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    mask = np.zeros((40, 60), dtype=np.bool_)
    mask[2:12, 2:12] = mask[20:30, 30:50] = mask[35:37, 5:7] = True
    value = {"format": "rle", "rle": mask_to_brush_rle(mask), "brushlabels": ["boat"]}
    result = {"id": "r", "from_name": "l", "to_name": "i", "type": "brushlabels", "value": value}
    size = {"original_width": 60, "original_height": 40}
    task = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"id": 1, "result": [{**result, **size}]}]}
    brush = '<BrushLabels name="l" toName="i"><Label value="boat"/></BrushLabels>'
    config = f'<View><Image name="i" value="$image"/>{brush}</View>'
    (tmp_path / "export.json").write_text(json.dumps([task]))
    (tmp_path / "config.xml").write_text(config)
    files = [str(tmp_path / "export.json"), "--label-config", str(tmp_path / "config.xml")]
    out = tmp_path / "out"
    assert cli.main(["convert", form, *files, "--out", str(out), "--split-parts", "--min-area", "10"]) == DONE
    said = capsys.readouterr().out
    assert "parts smaller than 10 px dropped: 1\n" in said
    assert "regions split into their parts: 1\n" in said
    found = {
        "coco": lambda: [a["area"] for a in json.loads(out.read_text())["annotations"]],
        "panoptic": lambda: [
            s["area"] for s in json.loads((out / "panoptic.json").read_text())["annotations"][0]["segments_info"]
        ],
        "semantic-png": lambda: [int((np.asarray(Image.open(out / "masks/a.png")) > 0).sum())],
        "voc": lambda: [100, 200] if (out / "Annotations/a.xml").read_text().count("<object>") == 2 else [],
        "csv": lambda: [int(line.split(",")[11]) for line in out.read_text().splitlines()[1:]],
        "yolo": lambda: [100, 200] if len((out / "labels/a.txt").read_text().splitlines()) == 2 else [],
    }
    assert found[form]() == ([300] if form == "semantic-png" else [100, 200])
