"""A build that is killed, and killed again, ends with the bytes of one that was left in peace."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.presets import Preset, preset_to_mapping
from ovdiff.vocabulary import Category

CATEGORY = Category("boat", ("boat", "red ship"))
IMAGES, BATCH, STEPS = 6, 2, 2  # of two phrases: (0, 2), (4), (1, 3), (5)

BUILDER = """
import json, os, signal, sys, torch
import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion, transformers.models.clip.modeling_clip
from pathlib import Path
from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.presets.preset import mapping_to_preset
from ovdiff.vocabulary import Category

folder, preset, prompts = sys.argv[1:]
torch.set_num_threads(1)  # and no work before the forks: a fork copies no other thread

def build(moment, left):
    def die(stage, _fraction=0):
        nonlocal left
        left -= stage == moment
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    sync = os.fsync

    def synced(handle):
        sync(handle)
        if "/support" in os.readlink(f"/proc/self/fd/{handle}"):  # and no lease's, which are written as time goes by
            die("writing")

    os.fsync = synced
    engine = Engine(mapping_to_preset(json.loads(preset), "test"), Bank(Path(folder)))
    engine.build(Category("boat", tuple(json.loads(prompts))), die)

for line in sys.stdin:
    moment, count = line.split()
    child = os.fork()
    if not child:
        build(moment, int(count))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextmanager
def _builder(preset: Preset, folder: Path) -> Iterator[Callable[[str, int], None]]:
    """Yield what builds in a process that kills itself at the ``count``-th such moment.

    Each is forked off one that has the libraries: importing them anew would be most of the time.
    """
    arguments = [str(folder), json.dumps(preset_to_mapping(preset)), json.dumps(CATEGORY.prompts)]
    command = [sys.executable, "-c", BUILDER, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        orders, answers = process.stdin, process.stdout

        def killed(moment: str, count: int) -> None:
            print(moment, count, file=orders, flush=True)
            assert int(answers.readline()) == -signal.SIGKILL

        yield killed


def _batches(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("support/*/batch-*/checksums.json"))


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".partial" not in str(path)
    }


@pytest.fixture(scope="module")
def small(preset: Preset) -> Preset:
    return replace(
        preset,
        generation=replace(preset.generation, images=IMAGES, batch_size=BATCH, steps=STEPS),
        extractors=replace(preset.extractors, use=("clip",)),
    )


def test_a_build_that_was_killed_twice_ends_like_an_unbroken_one(small: Preset, tmp_path: Path) -> None:
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    Engine(small, Bank(unbroken)).build(CATEGORY)

    with _builder(small, broken) as killed:
        killed("writing", 11)  # 6 files and 2 folders of the first batch, then files of the second
        assert _batches(broken) == ["batch-0000"]
        assert list(broken.glob("support/*/.*.partial/*.png"))  # it did die in the middle
        killed("extracting", 1)  # images and masks are there, prototypes are not
    assert _batches(broken) == _batches(unbroken) and not list(broken.glob("*.json"))

    drawn: list[tuple[str, float]] = []
    Engine(small, Bank(broken)).build(CATEGORY, lambda stage, fraction: drawn.append((stage, fraction)))
    assert [stage for stage, _ in drawn].count("generating") == 1  # only its start: nothing was drawn
    expected = _contents(unbroken)
    assert _contents(broken) == expected
    assert sum(name.endswith(".npy") for name in expected) == IMAGES and len(expected) > 3 * IMAGES
