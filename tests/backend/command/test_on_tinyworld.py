"""The commands on the embedded models: a real folder in, real masks out; and the service, while a label is built."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from backend.command import cli
from backend.settings import Settings
from converters.encodings.brush import mask_to_brush_rle
from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.presets import load_preset
from ovdiff.tinyworld.world import Rendering, render, sample_scene
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import LEGACY_TOKEN, PROJECT_UID
from tests.fakes.pictures import encoded
from tests.fakes.project_studio import CONFIG, ProjectStudio, running_project

SCENES = {"first.png": 1, "deep/second.png": 5}  # of the test split: both have sky
PRESET = 'base = "tinyworld"\nname = "quick"\n[generation]\nimages = 2\nsteps = 6\n'


@pytest.fixture
def scenes(tmp_path: Path) -> dict[str, Rendering]:
    """Two scenes, drawn into the folder `scenes`."""
    drawn = {name: render(sample_scene(index, "test", things=2), 128) for name, index in SCENES.items()}
    for name, rendering in drawn.items():
        path = tmp_path / "scenes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rendering.image).save(path)
    return drawn


def test_a_folder_of_scenes(
    scenes: dict[str, Rendering], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "quick.toml").write_text(PRESET)
    options = ["--preset", "quick.toml", "--bank", "bank"]
    segment = ["segment", "scenes", "--categories", "balloon, sky", "--out", "out", "--indexed", "--coco", "masks.json"]
    assert cli.main([*segment, *options]) == 0
    coco = COCO("masks.json")
    for image in coco.loadImgs(coco.getImgIds()):
        name = image["file_name"]
        labels = np.asarray(Image.open((Path("out") / name).with_suffix(".indexed.png")))
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            assert np.array_equal(coco.annToMask(annotation).astype(bool), labels == annotation["category_id"])
        # Two quick drawings of the sky need not tell it from all else, whatever the weights; they do find the sky.
        sky = scenes[name].mask("sky")
        assert (labels[sky] == 2).mean() > max(0.6, 0.2 + (labels[~sky] == 2).mean())
    capsys.readouterr()
    assert cli.main(["prototypes", "show", "balloon", "--out", "sheet.png", *options]) == 0
    assert Image.open("sheet.png").height > 600
    capsys.readouterr()
    assert cli.main(["prototypes", "list", "--bank", "bank", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(item["category"], item["preset"], item["images"]) for item in listed] == [
        ("balloon", "quick", 2), ("sky", "quick", 2)
    ]  # fmt: skip
    assert listed[0]["models"]["clip"] == "tinyworld:clip"
    assert cli.main(["prototypes", "remove", "balloon", "sky", "--bank", "bank", "--yes"]) == 0
    left = {path for path in Path("bank").rglob("*") if path.is_file()}
    assert left == set(Path("bank/encodings").iterdir())  # these are of the images, and of no word


def test_annotated_scenes_become_lessons_and_leave_nothing_behind(
    scenes: dict[str, Rendering], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "quick.toml").write_text(PRESET)
    (tmp_path / "config.xml").write_text(
        '<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i">'
        '<Label value="balloon"/><Label value="heaven" prompts="sky"/></BrushLabels></View>'
    )
    tasks = [_annotated(number, name, drawn) for number, (name, drawn) in enumerate(scenes.items(), start=1)]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    options = ["--preset", "quick.toml", "--bank", "bank"]
    learn = ["learn", "export.json", "--label-config", "config.xml", "--images", "scenes", *options]
    segment = ["segment", "scenes", "--categories", "balloon, sky", "--out", "out", "--indexed", *options]
    assert cli.main(segment) == 0
    before = {path: path.read_bytes() for path in Path("out").rglob("*.png")}
    assert cli.main(learn) == 0
    assert "2 in, 2 lessons taken, 0 already there, 0 refused" in capsys.readouterr().out
    assert cli.main(learn) == 0
    assert "2 in, 0 lessons taken, 2 already there, 0 refused" in capsys.readouterr().out
    assert cli.main(["lessons", "list", "--bank", "bank", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [lesson["source"]["task"] for lesson in listed] == ["1", "2"]
    assert all("heaven" in lesson["present"] and lesson["complete"] for lesson in listed)
    assert [word["phrases"] for word in listed[0]["words"]] == [["balloon"], ["sky"]]
    assert cli.main(["lessons", "remove", "--person", "7", "--bank", "bank", "--yes"]) == 0
    assert cli.main(segment) == 0
    assert {path: path.read_bytes() for path in Path("out").rglob("*.png")} == before and len(before) == 2


def _annotated(number: int, name: str, drawn: Rendering) -> dict[str, object]:
    """Return a scene as a task of an export, with its sky and its balloon brushed by a person."""
    height, width = drawn.image.shape[:2]
    results = []
    for word, label in (("balloon", "balloon"), ("sky", "heaven")):
        if drawn.mask(word).any():
            value = {"format": "rle", "rle": mask_to_brush_rle(drawn.mask(word)), "brushlabels": [label]}
            size = {"original_width": width, "original_height": height}
            results.append(
                {"from_name": "b", "to_name": "i", "type": "brushlabels", "id": label, "value": value, **size}
            )
    annotation = {"id": 10 + number, "completed_by": 7, "updated_at": "2026-11-21T10:00:00Z", "result": results}
    return {"id": number, "data": {"image": f"/data/local-files/?d={name}"}, "annotations": [annotation]}


def test_a_project_is_predicted_by_the_second_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the first engine it is in tests/end_to_end/test_prelabel.py."""
    scene = encoded(render(sample_scene(242, "test", things=2), 128).image)
    studio = ProjectStudio(label_config=CONFIG.replace("red", "boat").replace("blue", "sky"), picture=scene)
    studio.add_tasks(2)
    with running_project(studio):
        monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY_TOKEN)
        monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
        command = ["prelabel", "--project", "1", "--json", "--preset", "odise_tinyworld"]
        for expected in ("predicted", "up_to_date"):
            assert cli.main(command) == 0
            assert json.loads(capsys.readouterr().out)[expected] == 2
    regions = [region for each in studio.predictions.values() for region in each["result"]]
    assert {name for region in regions for name in region["value"]["brushlabels"]} == {"boat", "sky"}


@contextmanager
def models_in_use(engine: Engine) -> Iterator[None]:
    """Hold the models in another thread, as a build does while it draws a batch."""
    taken, given_back = threading.Event(), threading.Event()

    def hold() -> None:
        with engine._models.lock:
            taken.set()
            given_back.wait(60)

    builder = threading.Thread(target=hold)
    builder.start()
    try:
        assert taken.wait(60)
        yield
    finally:
        given_back.set()
        builder.join()


def test_a_click_on_an_image_that_was_looked_at_and_a_stored_prediction_wait_for_no_build(
    here: Path, settings: Settings, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a label that was added is not ready yet: the masks are still those of the labels that are."""
    monkeypatch.setattr("backend.serving.predicting.given.STORING_S", 0.0)
    engine = Engine(load_preset("quick.toml"), Bank(here / "data/bank"))
    patient = replace(settings.prediction, answer_within_s=60.0, wait_for_prototypes_s=0.0, partial_predictions=True)
    service = make_app(replace(settings, data_dir=here / "data", prediction=patient), engine).extensions["ovdiff"]
    one = CONFIG.replace('"red"', '"boat"').replace('<Label value="blue"/>', "")
    two = CONFIG.replace('"red"', '"boat"').replace('"blue"', '"fish"')
    task = {"id": 1, "data": {"image": "/data/upload/1/picture.png"}}
    value = {"x": 50.0, "y": 50.0, "width": 0.2, "keypointlabels": ["boat"]}
    region = {"type": "keypointlabels", "from_name": "k", "to_name": "image", "origin": "manual", "value": value}
    first = service.predict(PROJECT_UID, [task], one)
    assert "result" in first[0], first
    with ThreadPoolExecutor(1) as pool, models_in_use(engine):
        for asked in (
            lambda: service.predict(PROJECT_UID, [task], one),
            lambda: service.predict(PROJECT_UID, [task], one, {"result": [region]}),
            lambda: service.predict(PROJECT_UID, [task], two, {"result": [region]}),
        ):
            (item,) = pool.submit(asked).result(timeout=50)
            assert "result" in item and "error" not in item
