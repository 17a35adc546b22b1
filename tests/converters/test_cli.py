"""The command: each format there and back, counts, exit status, and nothing half written."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from converters.cli import main
from converters.console import DONE, FAILED, LEFT_BEHIND, WRONG_USE
from converters.encodings.brush import mask_to_brush_rle
from converters.encodings.masks import Mask
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.reader import read_export

GOLDEN = Path(__file__).parent / "golden"
HEIGHT, WIDTH = 24, 36
XML = (
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">'
    '<Label value="cat" category="7"/><Label value="sky" kind="stuff"/></BrushLabels></View>'
)
CAT = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
CAT[4:12, 6:20] = True
SKY = ~CAT
SKY[12:] = False


def result(mask: Mask, label: str, region_id: str, **more: Any) -> dict[str, Any]:
    return {
        "id": region_id, "from_name": "brush", "to_name": "image", "type": "brushlabels", "original_width": WIDTH,
        "original_height": HEIGHT, "value": {"format": "rle", "rle": mask_to_brush_rle(mask), "brushlabels": [label]},
        **more,
    }  # fmt: skip


def task(number: int, *results: Any) -> dict[str, Any]:
    return {
        "id": number,
        "data": {"image": f"/pictures/{number}.png"},
        "annotations": [{"id": number, "result": list(results)}],
    }


TASKS = [task(1, result(CAT, "cat", "a"), result(SKY, "sky", "b")), task(2, result(CAT, "cat", "c"))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.xml").write_text(XML)
    (tmp_path / "export.json").write_text(json.dumps(TASKS))
    (tmp_path / "images" / "pictures").mkdir(parents=True)
    for number in (1, 2):
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images" / "pictures" / f"{number}.png")
    return tmp_path


def run(folder: Path, *words: str | Path) -> int:
    return main([str(word) for word in words])


def convert(folder: Path, kind: str, out: str, *more: str | Path, export: str = "export.json") -> int:
    words = ("convert", kind, folder / export, "--label-config", folder / "config.xml", "--out", folder / out)
    return run(folder, *words, *more)


def masks_in(folder: Path, tasks: str = "tasks.json", config: str = "back.xml") -> list[list[tuple[str, bytes]]]:
    """Return labels and pixels of each image's regions in a file of tasks."""
    records = read_export(folder / tasks, parse_label_config((folder / config).read_text()))
    regions = [[r for a in (*record.annotations, *record.predictions) for r in a.regions] for record in records]
    return [sorted((r.labels[0], r.mask().tobytes()) for r in image) for image in regions]


EXPECTED = [[("cat", CAT.tobytes()), ("sky", SKY.tobytes())], [("cat", CAT.tobytes())]]
IMAGES = {"coco": "coco.json", "panoptic": "panoptic", "semantic-png": "semantic", "yolo": "yolo"}


@pytest.mark.parametrize("kind", list(IMAGES))
@pytest.mark.parametrize("mark_as", ["predictions", "annotations"])
def test_there_and_back_with_counts(folder: Path, kind: str, mark_as: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = IMAGES[kind]
    more = ["--images", folder / "images", "--tolerance", "0"] if kind == "yolo" else []
    assert convert(folder, kind, out, *more) == DONE
    said = capsys.readouterr().out
    assert "images: 2 read, 2 written\nregions: 3 read, 3 entries written\n" in said
    assert said.endswith(f"written: {folder / out}\n")
    words = ("import", kind, folder / out, "--out", folder / "tasks.json", "--label-config-out", folder / "back.xml")
    assert run(folder, *words, "--as", mark_as, "--image-root", "/served/") == DONE
    assert "images: 2 read, 2 written\nregions: 3 read, 3 entries written\n" in capsys.readouterr().out
    tasks = json.loads((folder / "tasks.json").read_text())
    assert [t["data"]["image"] for t in tasks] == ["/served/pictures/1.png", "/served/pictures/2.png"]
    assert all(
        t[mark_as] and not t[{"predictions": "annotations", "annotations": "predictions"}[mark_as]] for t in tasks
    )
    assert masks_in(folder) == EXPECTED


@pytest.mark.parametrize("kind", [*IMAGES, "voc", "csv"])
def test_an_image_of_which_every_region_was_left_out_is_not_written_as_a_negative(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    unreadable = result(CAT, "cat", "a")
    unreadable["value"]["rle"] = unreadable["value"]["rle"][:-9]
    tasks = [task(1, unreadable), task(2, result(CAT, "cow", "b")), task(3, result(CAT, "cat", "c")), task(4)]
    (folder / "export.json").write_text(json.dumps(tasks))
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images" / "pictures" / "3.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images" / "pictures" / "4.png")
    assert convert(folder, kind, "out", "--images", folder / "images") == LEFT_BEHIND
    said = capsys.readouterr().out
    assert "images: 4 read, 2 written\n" in said  # the third, and the fourth, in which there is nothing to see
    assert "image of which every region was left out: 2" in said


def test_a_name_of_a_label_list_that_xml_cannot_hold_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "set" / "images").mkdir(parents=True)
    (folder / "set" / "data.yaml").write_text('names: [cat, "sk\\by"]\n')
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "set" / "images" / "a.png")
    assert run(folder, "import", "yolo", folder / "set", "--out", folder / "tasks.json") == FAILED
    assert (
        "expected names that the XML of a label config can hold, got 'sk\\x08y': rename it" in capsys.readouterr().err
    )


def test_the_imported_tasks_are_valid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(folder, "coco", "coco.json")
    run(folder, "import", "coco", folder / "coco.json", "--out", folder / "tasks.json", "--label-config-out",
        folder / "back.xml", "--as", "predictions")  # fmt: skip
    capsys.readouterr()
    words = ("validate", folder / "tasks.json", "--label-config", folder / "back.xml", "--images", folder / "images")
    assert run(folder, *words) == DONE
    assert capsys.readouterr().out == "2 tasks and 3 results looked at, 0 findings\n"


def test_a_coco_file_is_loadable_with_the_configs_ids(folder: Path) -> None:
    assert convert(folder, "coco", "coco.json", "--polygons") == DONE
    coco = COCO(str(folder / "coco.json"))
    assert {c["name"]: c["id"] for c in coco.dataset["categories"]} == {"cat": 7, "sky": 1}
    assert [image["file_name"] for image in coco.dataset["images"]] == ["pictures/1.png", "pictures/2.png"]


def test_corrections_go_back_into_the_file_that_they_began_with(folder: Path) -> None:
    convert(folder, "coco", "original.json")
    original = json.loads((folder / "original.json").read_text()) | {"licenses": [{"id": 1}]}
    (folder / "original.json").write_text(json.dumps(original))
    run(folder, "import", "coco", folder / "original.json", "--out", folder / "tasks.json", "--label-config-out",
        folder / "config.xml", "--as", "annotations")  # fmt: skip
    words = ("--original", folder / "original.json")
    assert convert(folder, "coco", "new.json", *words, export="tasks.json") == DONE
    assert json.loads((folder / "new.json").read_text()) == original


def test_results_of_predictions_are_a_list(folder: Path) -> None:
    predicted = [
        {**t, "annotations": [], "predictions": [{"score": 0.5, "result": t["annotations"][0]["result"]}]}
        for t in TASKS
    ]
    (folder / "export.json").write_text(json.dumps(predicted))
    assert convert(folder, "coco", "results.json", "--predictions", "--results") == DONE
    assert [r["score"] for r in json.loads((folder / "results.json").read_text())] == [0.5] * 3


BOXES = {
    "images": [
        {"id": 1, "file_name": "pictures/1.png"},
        {"id": 2, "file_name": "pictures/2.png", "width": 0, "height": 9},
    ],
    "categories": [{"id": 4, "name": "cat"}, {"id": 5, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 1.0, "category_id": 5, "bbox": [2, 3, 10, 8]},
        {"id": 2, "image_id": 2, "category_id": 4, "segmentation": [[1, 1, 9, 1, 9, 9], [1, 1, 2, 2]]},
        {"id": 3, "image_id": 3, "category_id": 4, "bbox": [2, 3, 10, 8]},
    ],
}


@pytest.mark.parametrize(
    ("more", "types"),
    [
        ([], [["rectanglelabels"], ["brushlabels"]]),
        (["--boxes", "masks"], [["brushlabels"], ["brushlabels"]]),
        (["--control", "PolygonLabels"], [["rectanglelabels"], ["polygonlabels"]]),
    ],
)
def test_a_coco_file_with_faults_comes_in_but_for_the_faults(
    folder: Path, more: list[str], types: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "boxes.json").write_text(json.dumps(BOXES))
    words = ["import", "coco", folder / "boxes.json", "--out", folder / "tasks.json", "--images", folder / "images"]
    assert run(folder, *words, "--label-config-out", folder / "config.xml", *more) == LEFT_BEHIND
    said = capsys.readouterr().out
    assert "images: 2 read, 2 written\nregions: 2 read, 2 entries written\n" in said
    assert "categories joined with another of the same name: 1\n" in said
    assert "left out, annotation of an image that the file does not list: 1\n" in said
    assert "left out, part of a polygon that cannot be read: 1\n" in said
    tasks = json.loads((folder / "tasks.json").read_text())
    assert [[r["type"] for r in task["annotations"][0]["result"]] for task in tasks] == types
    capsys.readouterr()
    assert run(folder, "validate", folder / "tasks.json", "--label-config", folder / "config.xml") == DONE
    assert ("RectangleLabels" in (folder / "config.xml").read_text()) == ("--boxes" not in more)


def test_boxes_of_yolo_come_in_and_go_out_as_boxes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(folder / "images" / "pictures", folder / "set" / "images")
    (folder / "set" / "data.yaml").write_text("names: [cat]\n")
    (folder / "set" / "labels").mkdir()
    (folder / "set" / "labels" / "1.txt").write_text("0 0.5 0.5 0.25 0.5\n0 0.3 0.21 0.2 0.31\n")
    words = ["import", "yolo", folder / "set", "--out", folder / "tasks.json", "--as", "annotations"]
    assert run(folder, *words, "--label-config-out", folder / "config.xml") == DONE
    assert "images without a label file, read as images without a region: 1\n" in capsys.readouterr().out
    images = folder / "set" / "images"
    assert convert(folder, "yolo", "out", "--boxes", "--images", images, export="tasks.json") == DONE
    assert "IoU" not in capsys.readouterr().out
    assert (folder / "out/labels/1.txt").read_text() == (folder / "set/labels/1.txt").read_text()
    assert (folder / "out/labels/2.txt").read_text() == ""


def test_voc_comes_in_by_its_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, pixels in (("Class", [[15, 255, 15], [0, 0, 20]]), ("Object", [[1, 255, 2], [0, 0, 3]])):
        (folder / "voc" / f"Segmentation{kind}").mkdir(parents=True)
        Image.fromarray(np.array(pixels, dtype=np.uint8)).save(folder / "voc" / f"Segmentation{kind}" / "1.png")
    words = ["import", "semantic-png", folder / "voc", "--labels", "voc", "--out", folder / "tasks.json"]
    assert run(folder, *words, "--label-config-out", folder / "back.xml", "--image-root", "/served/") == DONE
    said = capsys.readouterr().out
    assert "regions: 3 read, 3 entries written\n" in said
    assert "masks with pixels that do not count, which are in no region: 1\n" in said
    (task,) = json.loads((folder / "tasks.json").read_text())
    assert task["data"]["image"] == "/served/JPEGImages/1.jpg"
    labels = [result["value"]["brushlabels"] for result in task["annotations"][0]["result"]]
    assert labels == [["person"], ["person"], ["tvmonitor"]]
    assert run(folder, *words, "--ignore-label", "unsure") == DONE
    assert "regions: 4 read, 4 entries written\n" in capsys.readouterr().out


def test_what_was_left_behind_is_told_and_the_rest_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = [5, {"id": 9}, task(3, result(CAT, "unknown", "u"), {**result(CAT, "cat", "v"), "value": {"rle": [1]}})]
    (folder / "export.json").write_text(json.dumps([*TASKS, *broken]))
    assert convert(folder, "coco", "coco.json") == LEFT_BEHIND
    said = capsys.readouterr().out
    assert "images: 5 read, 2 written" in said  # nothing is left of the third task, which is no negative
    assert "left out, unreadable task: 2\n" in said
    assert "left out, label that is no category: 1\n" in said
    assert "left out, unreadable region: 1\n" in said
    assert "  unreadable task: task 2: expected an object, got int\n" in said
    assert len(json.loads((folder / "coco.json").read_text())["annotations"]) == 3


def test_an_image_without_a_region_is_kept_once_its_file_says_how_large_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "export.json").write_text(json.dumps([TASKS[0], task(2)]))
    assert convert(folder, "coco", "coco.json") == LEFT_BEHIND
    assert "name the folder of the images with --images.\n" in capsys.readouterr().out
    assert convert(folder, "coco", "coco.json", "--images", folder / "images") == DONE
    images = json.loads((folder / "coco.json").read_text())["images"]
    assert [(image["file_name"], image["width"], image["height"]) for image in images] == [
        ("pictures/1.png", WIDTH, HEIGHT),
        ("pictures/2.png", WIDTH, HEIGHT),
    ]


def test_lines_of_yolo_need_their_images(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(folder, "yolo", "yolo")
    shutil.rmtree(folder / "yolo" / "images")
    assert run(folder, "import", "yolo", folder / "yolo", "--out", folder / "tasks.json") == FAILED
    assert (
        "for the sizes, got 2 label files and no image: name the folder of the dataset, and that of the"
        in capsys.readouterr().err
    )


def test_a_hundred_reasons_are_not_all_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "export.json").write_text(json.dumps([*TASKS, *[5] * 120]))
    assert convert(folder, "coco", "coco.json") == LEFT_BEHIND
    assert "  and 110 more\n" in capsys.readouterr().out


@pytest.mark.parametrize("kind", list(IMAGES))
def test_a_failure_says_why_in_a_line_and_writes_nothing(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "export.json").write_text(json.dumps(TASKS)[:-2])
    before = sorted(folder.iterdir())
    assert convert(folder, kind, "out") == FAILED
    captured = capsys.readouterr()
    assert captured.err.startswith(
        f"python -m converters convert {kind}: {folder / 'export.json'}: expected JSON, which breaks or ends too"
    )
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("convert coco none.json --label-config config.xml --out x", "No such file or directory"),
        ("convert coco export.json --label-config none.xml --out x", "No such file or directory"),
        ("convert coco export.json --label-config export.json --out x", "expected a label config"),
        ("convert coco export.json --label-config config.xml --out export.json/x", "cannot be written"),
        ("convert coco export.json --label-config config.xml --out x --results", "source='predict"),
        ("convert panoptic export.json --label-config config.xml --out .", "one that holds files"),
        ("convert panoptic export.json --label-config config.xml --out x --stuff sea", "['sea']"),
        ("convert coco export.json --label-config config.xml --out ./export.json", "to be a file of its own"),
        ("convert coco export.json --label-config config.xml --out config.xml", "to be a file of its own"),
        (
            "convert coco export.json --label-config config.xml --original o.json --out ./o.json",
            "to be a file of its own",
        ),
        ("import coco export.json --out x", "expected a list of objects under 'images'"),
        ("import yolo . --out x", "data.yaml"),
        ("import semantic-png . --out x", "labels.json"),
        ("import panoptic none.json --out x", "No such file or directory"),
        ("validate config.xml --label-config config.xml", "expected a JSON array of tasks"),
        ("evaluate-corrections export.json --label-config config.xml --out x", "at least one annotation"),
        (
            "evaluate-corrections export.json --label-config config.xml --out x --project 7",
            "expected --label-studio-url beside --project 7",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(words.split()) == FAILED
    error = capsys.readouterr().err
    assert error.startswith(f"python -m converters {words.split(maxsplit=1)[0]}")
    assert message in error


@pytest.mark.parametrize(
    "outs",
    ["--out coco.json", "--out x --label-config-out coco.json", "--out x --label-config-out ./x"],
)
def test_a_dataset_is_not_overwritten_by_its_tasks(
    folder: Path, outs: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    convert(folder, "coco", "coco.json")
    before = {path.name for path in folder.iterdir()}, (folder / "coco.json").read_bytes()
    assert main(["import", "coco", "coco.json", *outs.split()]) == FAILED
    assert "to be a file of its own, got one that this command uses besides" in capsys.readouterr().err
    assert ({path.name for path in folder.iterdir()}, (folder / "coco.json").read_bytes()) == before


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["convert", "coco", "export.json", "--out", "x"],
        ["convert", "coco", "e", "--label-config", "c", "--out", "x", "--tolerance", "-1"],
        ["convert", "coco", "e", "--label-config", "c", "--out", "x", "--tolerance", "nan"],
        ["convert", "coco", "e", "--label-config", "c", "--out", "x", "--max-vertices", "2"],
        ["convert", "coco", "e", "--label-config", "c", "--out", "x", "--results", "--original", "o"],
        ["convert", "yolo", "e", "--label-config", "c", "--out", "x", "--images", "no such folder"],
        ["import", "coco", "c", "--out", "x", "--as", "guesses"],
        ["import", "coco", "c", "--out", "x", "--control", "Brush"],
    ],
)
def test_wrong_use_has_a_status_of_its_own(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == WRONG_USE


def test_findings_are_lines_or_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = [*TASKS, task(3, {**result(CAT, "cow", "v"), "score": 7}), task(4)]
    (folder / "export.json").write_text(json.dumps(tasks))
    words = ("validate", folder / "export.json", "--label-config", folder / "config.xml")
    assert run(folder, *words) == LEFT_BEHIND
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{folder / 'export.json'}: task 3, annotation 3, region v: expected a score")
    assert (len(lines), last) == (3, "4 tasks and 4 results looked at, 3 findings")
    assert run(folder, *words, "--json", "--negatives") == LEFT_BEHIND
    found = json.loads(capsys.readouterr().out)
    assert [finding["kind"] for finding in found] == ["bad-score", "unknown-label"]
    assert set(found[0]) == {"file", "kind", "task", "item", "region", "what", "advice"}
    (folder / "export.json").write_text(json.dumps(TASKS))
    assert run(folder, *words, "--json") == DONE
    assert json.loads(capsys.readouterr().out) == []


def test_predictions_below_a_threshold_are_not_converted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    regions = [
        result(CAT, "cat", "a", score=0.9),
        result(CAT, "cat", "b", score=0.4),
        result(SKY, "sky", "c", score=0.4),
    ]
    predicted = {"id": 5, "model_version": "v1", "result": regions}
    tasks = [{"id": 1, "data": {"image": "/1.png"}, "annotations": [], "predictions": [predicted]}]
    (folder / "export.json").write_text(json.dumps(tasks))

    def converted(*words: object) -> list[str]:
        assert convert(folder, "coco", "coco.json", "--predictions", *words) == DONE
        return [each["region_id"] for each in json.loads((folder / "coco.json").read_text())["annotations"]]

    assert converted() == ["a", "b", "c"]
    assert converted("--min-score", "0.5", "--threshold", "sky=0.3") == ["a", "c"]
    assert "regions below their threshold dropped: 1\n" in capsys.readouterr().out
    assert convert(folder, "coco", "coco.json", "--min-score", "0.5") == FAILED
    assert "expected --predictions beside --min-score or --threshold" in capsys.readouterr().err
    assert convert(folder, "coco", "coco.json", "--predictions", "--threshold", "cats=0.5") == FAILED
    assert "got cats=0.5: did you mean 'cat'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--min-score", "high"], "expected a score from 0 to 1, such as 0.5, got 'high'"),
        (["--min-score", "1.5"], "expected a score from 0 to 1, such as 0.5, got '1.5'"),
        (["--threshold", "0.5"], "expected a label and its score, such as boat=0.5, got '0.5'"),
        (["--threshold", "boat=x"], "expected a score from 0 to 1, such as 0.5, got 'x'"),
    ],
)
def test_a_threshold_that_is_none_is_wrong_use(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["thresholds", "masks.json", *words])
    assert stopped.value.code == WRONG_USE
    assert complaint in capsys.readouterr().err


def test_what_other_thresholds_would_leave_is_listed_and_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = [("cat", 0.9), ("cat", 0.35), ("sky", 0.35), ("a=b", 0.8)]
    names = ["cat", "sky", "a=b"]
    dataset = {
        "images": [{"id": 1, "file_name": "1.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": names.index(name), "score": score}
            for number, (name, score) in enumerate(scores)
        ],
    }
    (folder / "masks.json").write_text(json.dumps(dataset))
    assert run(folder, "thresholds", folder / "masks.json") == DONE
    first = capsys.readouterr().out.splitlines()
    assert [line.split() for line in first[:2]] == [
        ["category", "all", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"],
        ["cat", "2", "2", "2", "2", "1", "1", "1", "1", "1", "1"],
    ]
    words = (
        "thresholds",
        folder / "masks.json",
        "--min-score",
        "0.5",
        "--threshold",
        "sky=0.3",
        "--threshold",
        "a=b=.9",
    )
    assert run(folder, *words, "--out", folder / "chosen.json") == DONE
    assert "annotations: 4 read, 2 written, 2 hidden\n" in capsys.readouterr().out
    assert [each["id"] for each in json.loads((folder / "chosen.json").read_text())["annotations"]] == [0, 2]
    assert run(folder, "thresholds", folder / "chosen.json") == DONE
    assert "written with --min-score 0.5 --threshold sky=0.3 --threshold a=b=0.9: what" in capsys.readouterr().out
    assert run(folder, *words, "--out", folder / "masks.json") == FAILED
    assert "to be a file of its own" in capsys.readouterr().err
    assert run(folder, "thresholds", folder / "masks.json", "--threshold", "cow=0.5") == FAILED
    assert "one of the labels ['cat', 'sky', 'a=b'], got cow=0.5" in capsys.readouterr().err


def test_validate_finds_what_nobody_reads_in_the_label_config(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "export.json").write_text(json.dumps(TASKS))
    config = (folder / "config.xml").read_text()
    (folder / "config.xml").write_text(config.replace('<Label value="cat"', '<Label prompt="a cat" value="cat"', 1))
    words = ("validate", folder / "export.json", "--label-config", folder / "config.xml")
    assert run(folder, *words) == LEFT_BEHIND
    line, last = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{folder / 'config.xml'}: label config: prompt=\"a cat\" of the label 'cat' of <")
    assert last == "2 tasks and 3 results looked at, 1 findings"
    assert run(folder, *words, "--json") == LEFT_BEHIND
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["file"], found["task"], found["item"]) == (str(folder / "config.xml"), None, "label config")


def test_corrections_are_evaluated(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predicted = {"id": 5, "model_version": "v1", "result": [result(CAT, "cat", "a", score=0.9)]}
    corrected = {"id": 1, "parent_prediction": 5, "result": [result(CAT, "cat", "a", origin="prediction", score=0.9)]}
    tasks = [{"id": 1, "data": {"image": "/1.png"}, "annotations": [corrected], "predictions": [predicted]}]
    (folder / "export.json").write_text(json.dumps(tasks))
    words = ("evaluate-corrections", folder / "export.json", "--label-config", folder / "config.xml")
    assert run(folder, *words, "--out", folder / "report") == DONE
    said = capsys.readouterr().out
    assert "images: 1 read; corrections compared: 1\nregions: 1 predicted, 1 annotated\n" in said
    assert (folder / "report" / "corrections.html").is_file()


def test_names_that_the_terminal_lacks_do_not_stop_it(folder: Path) -> None:
    (folder / "export.json").write_text(json.dumps([task(1, result(CAT, "猫", "a"), result(CAT, "cat", "b"))]))
    words = ["convert", "coco", "export.json", "--label-config", "config.xml", "--out", "coco.json"]
    ran = subprocess.run(
        [sys.executable, "-m", "converters", *words],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (LEFT_BEHIND, b"")
    assert b"label that is no category: task 1, region 'a': '\\u732b'" in ran.stdout


def test_a_reader_that_has_enough_ends_it_without_a_word(folder: Path) -> None:
    (folder / "export.json").write_text(json.dumps([5] * 20_000))
    words = "validate export.json --label-config config.xml"
    ran = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m converters {words} | head -n 1'],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.defpath, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout.count("\n"), ran.stderr) == (1, "")


@pytest.mark.parametrize("form", ["export_json", "export_json_min", "api_tasks"])
@pytest.mark.parametrize("kind", list(IMAGES))
def test_what_a_real_label_studio_exported_converts(
    tmp_path: Path, form: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["convert", kind, GOLDEN / f"{form}.json", "--label-config", GOLDEN / "label_config.xml"]
    status = run(tmp_path, *words, "--out", tmp_path / "out")
    said = capsys.readouterr().out
    assert status in (DONE, LEFT_BEHIND), said
    assert (status == LEFT_BEHIND) == ("left out, " in said)
    assert (tmp_path / "out").exists()


def test_a_damaged_prediction_is_no_matter_for_a_dataset_of_annotations(folder: Path) -> None:
    damaged = result(CAT, "cat", "p")
    damaged["value"]["rle"] = damaged["value"]["rle"][:-9]
    tasks = [{**one, "predictions": [{"id": 5, "result": [damaged]}]} for one in TASKS]
    (folder / "export.json").write_text(json.dumps(tasks))
    assert convert(folder, "coco", "coco.json") == DONE
    assert convert(folder, "coco", "guessed.json", "--predictions", "--allow-empty") == LEFT_BEHIND
    tasks = [{**one, "annotations": [{"id": 1, "result": [damaged]}], "predictions": []} for one in TASKS]
    tasks[0]["predictions"] = tasks[1]["predictions"] = [{"id": 5, "result": [result(CAT, "cat", "p")]}]
    (folder / "export.json").write_text(json.dumps(tasks))
    assert convert(folder, "coco", "coco.json", "--predictions") == DONE
    assert convert(folder, "coco", "guessed.json", "--allow-empty") == LEFT_BEHIND
