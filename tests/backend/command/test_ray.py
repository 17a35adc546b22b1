"""The commands on a real Ray cluster with the embedded models: the files are those of one process, byte for byte."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.command import cli
from ovdiff.distributed.placement import Wish
from ovdiff.tinyworld.world import render, sample_scene
from tests.fakes.waiting import eventually
from tests.ray_cluster import kill_a_worker_with_a_call

PRESET = """base = "tinyworld"
name = "quick"
generation = { images = 2, steps = 6 }
anchors = { prototypes = [] }
cache = { disk_mib = 0 }
"""
WORDS = "balloon, sky"
SCENES = 8
SEGMENT = ["segment", "scenes", "--categories", WORDS, "--overlay", "--indexed", "--preset", "quick.toml"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with nine scenes, the last of which is no image, and a quick preset; the commands run in it."""
    folder = tmp_path_factory.mktemp("on-ray")
    (folder / "quick.toml").write_text(PRESET)
    for number in range(SCENES):
        path = folder / "scenes" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(render(sample_scene(number, "test", things=2), 96).image).save(path)
    (folder / "scenes" / f"{SCENES}.png").write_bytes(b"no image")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("OVDIFF_DATA_DIR", str(folder / "data"))
        yield folder


@pytest.fixture(scope="module")
def on_ray(ray_head: Any, ray_cluster: object) -> list[str]:
    """The options of the session's cluster; its engines take no processor, so that they never wait for one."""
    return ["--ray", str(ray_head.address), "--ray-cpus", "0.5"]


def contents(folder: Path, pattern: str = "*") -> dict[str, str]:
    """Return a hash of each file of a folder, by its path there."""
    files = (file for file in sorted(folder.rglob(pattern)) if file.is_file())
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_prototypes_and_masks_are_those_of_one_process(
    folder: Path, on_ray: list[str], ray_head: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of the two engines is killed when the first picture is written."""
    told = []
    killing = threading.Thread(target=_kill_an_engine, args=(ray_head, folder / "two"))
    killing.start()
    for out, ray in (("one", []), ("two", [*on_ray, "--ray-workers", "2"])):
        results = [
            "--out",
            out,
            "--coco",
            f"{out}/masks.json",
            "--panoptic",
            f"{out}/panoptic",
            "--bank",
            f"{out}-bank",
        ]
        assert cli.main([*SEGMENT, *results, *ray, "--json"]) == 1, "one of the nine files is no image"
        printed = capsys.readouterr()
        assert f"scenes/{SCENES}.png: " in printed.err
        told.append(json.loads(printed.out.replace(f"{out}/", "")))
    killing.join()
    lost = re.search(r"lost on the way: 1 workers, .* (\d+) of (\d+) calls were repeated", printed.err)
    assert lost and int(lost[1]) in (1, 2) and int(lost[2]) == SCENES + 1 + int(lost[1])
    assert told[0]["segmented"] == SCENES and told[0]["images"] == told[1]["images"]
    assert told[0]["categories"] == told[1]["categories"]
    assert len(contents(folder / "one")) > 12 and contents(folder / "two") == contents(folder / "one")
    made = contents(folder / "two-bank", "*.safetensors")
    assert made and made == contents(folder / "one-bank", "*.safetensors")
    assert cli.main(["prototypes", "build", WORDS, "--preset", "quick.toml", "--bank", "two-bank", *on_ray]) == 0
    assert capsys.readouterr().out.count("ready") == 2


def _kill_an_engine(head: Any, out: Path) -> None:
    assert eventually(lambda: any(out.rglob("*.png")), 200)
    kill_a_worker_with_a_call(head, 200)


def test_figures_are_those_of_one_process(folder: Path, on_ray: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "scenes" / f"{SCENES}.png").unlink(missing_ok=True)
    assert cli.main([*SEGMENT, "--out", "truth", "--coco", "truth/masks.json", "--bank", "one-bank"]) == 0
    capsys.readouterr()
    found = json.loads((folder / "truth" / "masks.json").read_text())
    for each in found["annotations"]:
        del each["score"]  # by which a prediction is known: now a person drew it
    (folder / "truth.json").write_text(json.dumps(found))
    truth = ["evaluate", "truth.json", "--images", "scenes", "--preset", "quick.toml", "--bank", "one-bank"]
    results = []
    for out, ray in (("eval-one", []), ("eval-two", [*on_ray, "--workers", "2"])):
        assert cli.main([*truth, "--out", out, *ray, "--json"]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0]["figures"]["measures"]["miou"] > 0.9, "the truth is what the same engine found"
    assert results[0]["figures"] == results[1]["figures"]
    assert (results[0]["machine"]["workers"], results[1]["machine"]["workers"]) == (1, 2)


def test_no_cluster_is_told_before_anything_is_done(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*SEGMENT, "--ray", "somewhere", "--out", "never"]) == 1
    assert "'somewhere' is no address of a Ray cluster; expected auto|HOST:PORT|local." in capsys.readouterr().err
    assert not (folder / "never").exists()


def test_amounts_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([*SEGMENT, "--ray", "auto", "--ray-gpus", "none"])
    assert "expected a number above 0, such as 1 or 0.25, got 'none'" in capsys.readouterr().err


def test_a_device_that_the_cluster_lacks_is_told(
    folder: Path, ray_cluster: object, on_ray: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from backend.command.on_ray import OnRay
    from ovdiff.bank import Bank
    from ovdiff.distributed.cluster import Cluster
    from ovdiff.engines import load_any_preset, make_engine
    from ovdiff.errors import DeviceError

    assert isinstance(ray_cluster, Cluster)
    bank = Bank(folder / "one-bank")
    engine = make_engine(load_any_preset("quick.toml"), bank, "cpu")
    with pytest.raises(DeviceError, match="no machine of the cluster offers a GPU"):
        OnRay(ray_cluster, Wish(), bank, "cuda").opener(engine)
