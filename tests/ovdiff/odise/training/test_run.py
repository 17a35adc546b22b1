"""Whole trainings in processes of their own: killed in the middle, and shared by two processes.

One process imports the libraries, and forks the others before it has computed anything.
"""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovdiff.engines import load_any_preset
from ovdiff.errors import DeviceMemoryError, PresetError, TrainingError
from ovdiff.models.loaded import LoadedModels
from ovdiff.odise.naming import Label
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.training import run as run_module
from ovdiff.odise.training.examples import Example
from ovdiff.odise.training.run import TrainingRun

ROOT = Path(__file__).parents[4]
LABELS = [Label("car", ("car",), False), Label("sky", ("sky",), True)]


def small_preset(**training: Any) -> OdisePreset:
    """Return the embedded models with a tiny head and a short plan."""
    preset = load_any_preset("odise_tinyworld")
    assert isinstance(preset, OdisePreset)
    head = replace(
        preset.mask_generator, level_channels=32, hidden=32, mask_channels=32, encoder_layers=1, decoder_layers=1
    )
    plan = replace(
        preset.training, steps=6, batch=2, views=2, warmup=1, mask_px=32, checkpoint_every=2, validate_every=4
    )
    return replace(preset, mask_generator=head, training=replace(plan, **training))


def examples(count: int = 3, captions: tuple[str, ...] = ("a car under the sky",)) -> list[Example]:
    """Return pictures of a car, each at another place."""
    found = []
    for number in range(count):
        segments = np.zeros((48, 64), np.int32)
        segments[:20] = 1
        segments[30:42, 4 + 9 * number : 24 + 9 * number] = 2
        image = np.stack([segments * 90, 255 - segments * 40, segments * 17 % 256], axis=2).astype(np.uint8)
        found.append(Example(image, segments, (1, 0), captions, partial=number == 1))
    return found


def run_in(folder: Path, models: LoadedModels, preset: OdisePreset | None = None, **more: Any) -> TrainingRun:
    preset = preset or small_preset()
    given = {"labels": LABELS, "examples": examples(), "data_key": "d", "cache": folder / "features", **more}
    return TrainingRun(preset, OdiseParts(preset, models), folder=folder, **given)


def silent(*_: object) -> None: ...


def trained(run: TrainingRun, report: Any = silent, at_stop: Any = silent) -> dict[str, torch.Tensor]:
    with run.alone():
        run.store_features(silent)
        return run.train(report, silent, at_stop)


DRIVER = """
import json, os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion, transformers.models.clip.modeling_clip
from ovdiff.models.loaded import LoadedModels
from ovdiff.odise.training import feature_store
from ovdiff.odise.training.processes import joined
from tests.ovdiff.odise.training.test_run import run_in, silent, small_preset, trained

folder, port = Path(sys.argv[1]), sys.argv[2]

def forked(work):
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return child

def status(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def die(): os.kill(os.getpid(), signal.SIGKILL)

learned = small_preset(captioner_steps=3)
learned = replace(learned, captioner=replace(learned.captioner, condition="learned"))

def killed_while_storing():
    append, left = feature_store._append, [5]
    def cut(path, rows):
        left[0] -= 1
        append(path, rows[:1] if not left[0] else rows)
        if not left[0]:
            die()
    feature_store._append = cut
    trained(run_in(folder / "killed", LoadedModels(), learned))

def killed_at(step):
    def work():
        trained(run_in(folder / "killed", LoadedModels(), learned), lambda number, _: number == step and die())
    return work

statuses = [status(forked(each)) for each in (killed_while_storing, killed_at(2), killed_at(4))]

whole = small_preset(batch=4, steps=3, mirror=False, autocast="none", ema=0.0)
# The UNet that the captioner learns through computes in bfloat16, whose rounding depends on the size of a batch.
whole = replace(whole, captioner=replace(whole.captioner, condition="null"))

def rank(number):
    def work():
        os.environ.update(TORCHELASTIC_RUN_ID="two", RANK=str(number), WORLD_SIZE="2")
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        with joined("cpu") as device:
            run = run_in(folder / "shared", LoadedModels(device), whole)
            losses = []
            weights = trained(run, lambda _, figures: losses.append(figures["loss"]))
            torch.save({"weights": weights, "losses": losses}, folder / f"rank{number}.pt")
    return work

statuses += [status(child) for child in [forked(rank(0)), forked(rank(1))]]

models = LoadedModels()
torch.save(trained(run_in(folder / "killed", models, learned)), folder / "resumed.pt")
torch.save(trained(run_in(folder / "whole", models, learned)), folder / "whole.pt")
losses = []
run = run_in(folder / "alone", models, whole)
begun = {name: value.clone() for name, value in run.head.state_dict().items()}
weights = trained(run, lambda _, figures: losses.append(figures["loss"]))
torch.save({"weights": weights, "losses": losses, "begun": begun}, folder / "alone.pt")
print(json.dumps(statuses))
"""


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """The folder in which the processes worked, and how each ended."""
    import socket

    folder = tmp_path_factory.mktemp("driven")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", DRIVER, str(folder), str(port)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_a_killed_training_continues_to_the_same_weights_bit_for_bit(driven: tuple[Path, list[int]]) -> None:
    """Killed while features were stored, before the captioner rests, and after: each time by SIGKILL."""
    folder, statuses = driven
    assert statuses[:3] == [-signal.SIGKILL] * 3
    resumed, whole = (torch.load(folder / f"{name}.pt", weights_only=True) for name in ("resumed", "whole"))
    assert resumed.keys() == whole.keys() and any(name.startswith("captioner.") for name in whole)
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    for file in ("maps.f16", "latents.f16", "embeddings.f16", "segments.u8", "views.jsonl"):
        assert (folder / "killed/features" / file).read_bytes() == (folder / "whole/features" / file).read_bytes()


def test_two_processes_train_as_one_does_on_the_whole_batch(driven: tuple[Path, list[int]]) -> None:
    folder, statuses = driven
    assert statuses[3:] == [0, 0]
    alone, *ranks = (torch.load(folder / f"{name}.pt", weights_only=True) for name in ("alone", "rank0", "rank1"))
    for name, value in ranks[0]["weights"].items():
        assert torch.equal(value, ranks[1]["weights"][name]), name
    assert ranks[0]["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    moved = apart = 0.0
    for name, value in alone["weights"].items():
        # Adam divides by the gradient's size: of a gradient that is all rounding, nothing is left but its sign.
        near = torch.isclose(value, ranks[0]["weights"][name], rtol=1e-2, atol=2e-5)
        assert near.float().mean() > 0.98, name
        moved += float((value - alone["begun"][name]).abs().sum())
        apart += float((value - ranks[0]["weights"][name]).abs().sum())
    assert apart < 0.1 * moved


def test_a_run_is_refused_elsewhere_says_its_size_and_warms_up_from_a_head(
    tmp_path: Path, models: LoadedModels
) -> None:
    stops: list[int] = []
    run = run_in(tmp_path, models)
    expected = run.feature_bytes()
    weights = trained(run, at_stop=lambda step, _: stops.append(step))
    assert stops == [4, 6] and run.done() == 6
    features = [path for path in (tmp_path / "features").iterdir() if path.suffix in (".f16", ".u8")]
    assert sum(path.stat().st_size for path in features) == expected

    # Done is done: another call takes no step.
    steps: list[int] = []
    again = trained(run_in(tmp_path, models), report=lambda step, _: steps.append(step))
    assert not steps and all(torch.equal(value, again[name]) for name, value in weights.items())

    for changed, words in (
        ({"preset": small_preset(seed=1)}, "the seed differ"),
        ({"data_key": "e"}, "the images, annotations or captions differ"),
        ({"preset": small_preset(learning_rate=0.5)}, r"the preset's table \[training\] differ"),
        ({"labels": [LABELS[1], LABELS[0]]}, "the labels differ"),
    ):
        with pytest.raises(TrainingError, match=words):
            run_in(tmp_path, models, **changed).done()  # type: ignore[arg-type]
    assert run_in(tmp_path, models, small_preset(checkpoint_every=5, validate_every=1)).done() == 6

    stale = run_in(tmp_path / "other", models, data_key="e", cache=tmp_path / "features")
    assert stale.store.stale and len(stale.store) == 0
    third = run_in(tmp_path / "third", models, cache=tmp_path / "features")
    words = r"Another process trains in .* or with the features"
    with stale.alone(), pytest.raises(TrainingError, match=words), third.alone():
        pass
    with pytest.raises(BlockingIOError, match="a pipe"), third.alone():  # Not every such error is of the locks.
        raise BlockingIOError("a pipe")


def test_a_lack_of_room_and_memory_is_said_with_what_to_lower(
    tmp_path: Path, models: LoadedModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(tmp_path, models)
    with pytest.raises(
        TrainingError, match=r"take 2097152.0 GiB, and .* left. Name .* --cache, or lower training.views \(2\)"
    ):
        run.require_room(1 << 51)
    words = r"does not fit into the device.s memory. Lower training.batch \(2\)"
    for error in (torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        with pytest.raises(DeviceMemoryError, match=words), run.saying_what_to_lower():
            raise error
    for other in (RuntimeError("another"), torch.AcceleratorError("CUDA error: another illegal memory access", 700)):
        with pytest.raises(type(other), match="another"), run.saying_what_to_lower():
            raise other

    def too_large(_: object) -> None:
        raise torch.OutOfMemoryError("CUDA")

    monkeypatch.setattr(run.parts.encoder, "frozen", too_large)
    with pytest.raises(DeviceMemoryError, match=words):
        run.feature_bytes()


def test_stops_are_validations_the_captioner_s_rest_and_the_end() -> None:
    preset = small_preset(steps=10, validate_every=4, captioner_steps=5)
    run = TrainingRun(preset, None, LABELS, examples(), "d", Path("a"), Path("b"))  # type: ignore[arg-type]
    assert run.stops(0) == [4, 5, 8, 10]
    assert run.stops(5) == [5, 8, 10] and run.stops(9) == [10] and run.stops(10) == [10]
    assert run_module.gib(3 << 30) == "3.0 GiB" and run_module.gib(5 << 20) == "5 MiB"


def test_a_head_for_captions_needs_captions(tmp_path: Path, models: LoadedModels) -> None:
    preset = small_preset(steps=2)
    preset = replace(preset, classifier=replace(preset.classifier, void="objectness"))
    with pytest.raises(PresetError, match=r"classifier.void is 'objectness', for heads that learn .* --captions"):
        trained(run_in(tmp_path / "without", models, preset, examples=examples(captions=())))
    figures: list[dict[str, float]] = []
    trained(run_in(tmp_path / "with", models, preset), lambda _, found: figures.append(found))
    assert {"caption", "object", "mask"} <= figures[0].keys() and "name" not in figures[0]
