"""Every fault of the table is found, whatever the tool or the field; a clean import of any format is quiet."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from converters.cli import main
from converters.console import DONE, LEFT_BEHIND
from converters.datasets.coco import CocoOptions, write_coco_file
from converters.datasets.panoptic import PanopticOptions, write_panoptic
from converters.datasets.semantic_png import SemanticOptions, write_semantic_png
from converters.datasets.yolo import YoloOptions, write_yolo
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.files.image_files import folder_sizes
from converters.label_studio.findings import KINDS
from converters.label_studio.label_config import read_label_config
from converters.label_studio.validate import Expectations, Finding, Seen, validate_file, validate_tasks
from converters.records import Annotation, DatasetCategory, ImageRecord, Region
from tests.converters.label_studio.fault_table import CONFIG, FAULTS, PLACES, export, with_fault


def findings(tasks: list[Any]) -> list[Finding]:
    return list(validate_tasks(tasks, Expectations(CONFIG), Seen()))


def test_the_file_without_a_fault_is_quiet() -> None:
    assert [finding.text() for finding in findings(export())] == []


def test_the_table_covers_every_kind_and_holds_no_fault_twice() -> None:
    kinds = {kind for _, _, found in FAULTS for kind in found.split()}
    of_config = {"unread-attribute", "bad-attribute"}  # which are in no task: see test_validate
    assert kinds == set(KINDS) - {"missing-image"} - of_config  # missing-image needs a folder: see test_validate
    assert len({(path, repr(value)) for path, value, _ in FAULTS}) == len(FAULTS) >= 200


@pytest.mark.parametrize(("path", "value", "kinds"), FAULTS, ids=[f"{path}={value!r:.30}" for path, value, _ in FAULTS])
def test_a_fault_is_found_and_nothing_else(path: str, value: Any, kinds: str) -> None:
    found = findings(with_fault(path, value))
    assert {finding.kind for finding in found} == set(kinds.split()), [finding.text() for finding in found]


@pytest.mark.parametrize("name", ["brush", "bitmask", "polygon", "box", "ellipse", "point"])
def test_a_finding_names_the_region(name: str) -> None:
    (found,) = findings(with_fault(f"{name}.score", 5))
    assert (found.task, found.item, found.region) == (1, "annotation 11", f"region r-{name}")
    assert name in PLACES


# ---------------------------------------------------------------- no false alarm

HEIGHT, WIDTH = 60, 80
CONTROLS = ("BrushLabels", "BitmaskLabels", "PolygonLabels", "RectangleLabels")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one dataset of each format, of three images: holes, several parts, and a negative."""
    folder = tmp_path_factory.mktemp("datasets")
    (folder / "images").mkdir()
    categories = (DatasetCategory(1, "cat", "thing"), DatasetCategory(2, "sky", "stuff"))
    records = []
    for number in range(3):
        name = f"{number}.png"
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images" / name)
        regions = tuple(regions_of(number)) if number else ()
        annotation = Annotation(number, regions)
        records.append(ImageRecord(number, name, "image", size_hw=(HEIGHT, WIDTH), annotations=(annotation,)))
    write_coco_file(records, categories, folder / "coco.json", CocoOptions())
    write_panoptic(records, categories, folder / "panoptic", PanopticOptions())
    write_semantic_png(records, categories, folder / "semantic-png", SemanticOptions())
    write_yolo(records, categories, folder / "yolo", YoloOptions(), folder_sizes(folder / "images"), folder / "images")
    return folder


def regions_of(number: int) -> Iterator[Region]:
    noise = np.random.default_rng(number).random((HEIGHT, WIDTH)) > 0.55
    ring = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    ring[20:50, 10:70] = True
    ring[25:40, 20 : 40 + number] = False
    noise[15:] = False
    for name, mask in (("cat", ring), ("sky", noise)):
        yield Region(name, (name,), "label", mask_to_coco_rle(mask))


def test_a_clean_import_with_scores_has_no_findings(datasets: Path, tmp_path: Path) -> None:
    dataset = json.loads((datasets / "coco.json").read_text())
    for annotation in dataset["annotations"]:
        annotation["score"] = 0.5
    (tmp_path / "scored.json").write_text(json.dumps(dataset))
    tasks, config = tmp_path / "tasks.json", tmp_path / "config.xml"
    words = ["--out", str(tasks), "--label-config-out", str(config), "--model-version", "theirs"]
    assert main(["import", "coco", str(tmp_path / "scored.json"), *words]) in (DONE, LEFT_BEHIND)
    expected = Expectations(read_label_config(config), folder_sizes(datasets / "images"), negatives=True)
    assert [finding.text() for finding in validate_file(tasks, expected, Seen())] == []
    made = [prediction for task in json.loads(tasks.read_text()) for prediction in task["predictions"]]
    assert {prediction["model_version"] for prediction in made} == {"theirs"}


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("form", ["coco", "panoptic", "semantic-png", "yolo"])
@pytest.mark.parametrize("mark", ["annotations", "predictions"])
def test_a_clean_import_has_no_findings(datasets: Path, tmp_path: Path, form: str, control: str, mark: str) -> None:
    source = datasets / ("coco.json" if form == "coco" else form)
    tasks, config = tmp_path / "tasks.json", tmp_path / "config.xml"
    written = ["--out", str(tasks), "--label-config-out", str(config), "--control", control, "--as", mark]
    assert main(["import", form, str(source), *written]) in (DONE, LEFT_BEHIND)
    expected = Expectations(read_label_config(config), folder_sizes(datasets / "images"), negatives=True)
    seen = Seen()
    assert [finding.text() for finding in validate_file(tasks, expected, seen)] == []
    assert seen.tasks >= 2 and seen.results >= 4
