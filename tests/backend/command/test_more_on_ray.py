"""Manifests, lessons and a project's predictions on a real Ray cluster: what is stored is what one process stores."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.command import cli
from ovdiff.tinyworld.world import render, sample_scene
from tests.backend.command.learning_export import BLUE, RED, annotation, region, task
from tests.backend.command.test_odise_images import write_panoptic
from tests.backend.command.test_odise_train import SMALL
from tests.fakes.label_studio import LEGACY_TOKEN
from tests.fakes.pictures import encoded
from tests.fakes.project_studio import ProjectStudio, running_project

CONFIG = """<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">
<Label value="boat"/></BrushLabels></View>"""

ONE = ["--ray-workers", "1"]
"""For commands whose results have no order, or the one of `converters.workers.in_order`: each worker starts in 5 s."""


@pytest.fixture
def scenes(here: Path) -> list[Any]:
    """Three scenes in a folder where boat is built; encodings are not kept, so that every engine works."""
    Path("quick.toml").write_text(Path("quick.toml").read_text() + "[cache]\ndisk_mib = 0\n")
    drawn = [render(sample_scene(242 + number, "test", things=2), 96) for number in range(3)]
    for number, scene in enumerate(drawn):
        Image.fromarray(scene.image).save(f"{number}.png")
    return drawn


@pytest.fixture
def on_ray(ray_head: Any, ray_cluster: object) -> list[str]:
    """The options of the session's cluster."""
    return ["--ray", str(ray_head.address), "--ray-cpus", "0.5"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.mark.slow
def test_shards_are_those_of_one_process(
    scenes: list[Any], on_ray: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"image": f"{number % 3}.png", "id": number} for number in range(11)]
    rows[4]["image"], rows[7]["image"] = "gone.png", 3
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = ["segment", "--manifest", "rows.jsonl", "--categories", "boat", "--shard-size", "4", "--json"]
    told = []
    for out, ray in (("one", []), ("two", [*on_ray, "--ray-workers", "2"])):
        assert cli.main([*command, "--out", out, *ray]) == cli.FAILED
        told.append(json.loads(capsys.readouterr().out.replace(f'"{out}"', '"out"')))
    assert contents(Path("two")) == contents(Path("one")) and len(contents(Path("one"))) == 4
    assert told[0] == told[1] and told[0]["images"] == 9 and told[0]["annotations"] > 0


@pytest.mark.slow
def test_lessons_are_those_of_one_process(
    scenes: list[Any], on_ray: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = (RED, BLUE, RED)
    tasks = [task(number, annotation(number, region("boat", box, (96, 96)))) for number, box in enumerate(boxes)]
    tasks.append({**tasks[0], "id": 9})  # the same image with the same annotation: its lesson is there already
    Path("export.json").write_text(json.dumps(tasks))
    Path("config.xml").write_text(CONFIG.replace("Brush", "Polygon").replace("brush", "shape"))
    command = ["learn", "export.json", "--label-config", "config.xml", "--images", ".", "--json"]
    told = []
    for bank, ray in (("one", []), ("two", [*on_ray, *ONE])):
        shutil.copytree("data/bank", f"{bank}/bank")
        assert cli.main([*command, "--bank", f"{bank}/bank", *ray]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1] and told[0]["lessons_taken"] == 3 and told[0]["already_there"] == 1
    (lessons,) = {
        path.parent.relative_to("one") for path in Path("one").rglob("*.safetensors") if "lesson" in str(path)
    }
    assert contents("two" / lessons) == contents("one" / lessons)


@pytest.mark.slow
def test_predictions_are_those_of_one_process(
    scenes: list[Any], on_ray: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    studio = ProjectStudio(label_config=CONFIG)
    studio.add_tasks(3)
    studio.images = {f"/data/upload/1/{n + 1}.png": encoded(scene.image) for n, scene in enumerate(scenes)}
    stored = []
    with running_project(studio):
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY_TOKEN)
        monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
        for ray in ([], [*on_ray, *ONE]):
            assert cli.main(["prelabel", "--project", "1", "--json", *ray]) == 0
            assert json.loads(capsys.readouterr().out)["predicted"] == 3
            found = sorted(studio.predictions.values(), key=lambda each: each["task"])
            stored.append([(each["task"], each["model_version"], each["score"], each["result"]) for each in found])
            studio.predictions.clear()
    assert stored[0] == stored[1] and any(result for *_, result in stored[0])


@pytest.mark.slow
def test_stored_features_are_those_of_one_process(
    here: Path, on_ray: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_panoptic(here, 3)
    Path("small.toml").write_text(SMALL + "[taps]\nbatch_size = 2\n")
    command = ["odise", "train", "--labels", "panoptic.json", "--images", "images", "--preset", "small.toml"]
    for out, ray in (("one", []), ("two", [*on_ray, *ONE])):
        assert cli.main([*command, "--steps", "1", "--validate", "0", "--out", out, *ray]) == 0
    features = contents(Path("two.training/features"))
    assert features == contents(Path("one.training/features"))
    assert {"maps.f16", "latents.f16", "segments.u8", "views.jsonl"} <= features.keys() and features["maps.f16"]


@pytest.mark.slow
def test_an_ablation_has_the_digits_of_one_process(
    here: Path, on_ray: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("naclip.toml").write_text('base = "naclip_tinyworld"\nname = "naclip"\n[refine]\npamr = false\n')
    command = ["ablate", "drawn", "--preset", "naclip.toml", "--limit", "2", "--rows", "no-windows", "--json"]
    told = []
    for out, ray in (("one", []), ("two", [*on_ray, "--workers", "1"])):
        assert cli.main([*command, "--out", out, *ray]) == 0
        told.append(json.loads(capsys.readouterr().out))
        monkeypatch.setattr("ovdiff.evaluation.ablation.Judge", None)  # the second run judges nothing in this process
    assert told[0] == told[1] and len(told[0]["rows"]) == 2
