"""A build that is killed, and killed again, ends with the bytes of one that was left in peace."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.presets import Preset, preset_to_mapping
from ovdiff.vocabulary import Category

CATEGORY = Category("boat", ("boat", "red ship"))
IMAGES, BATCH, STEPS = 6, 2, 2  # of two phrases: (0, 2), (4), (1, 3), (5)

CHILD = """
import json, os, signal, sys, torch
from pathlib import Path
from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.presets.mapping import mapping_to_preset
from ovdiff.vocabulary import Category

folder, preset, prompts, moment, count = sys.argv[1:]
left = int(count)

def die(stage, _fraction=0):
    global left
    left -= stage == moment
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

sync = os.fsync
os.fsync = lambda handle: (sync(handle), die("writing"))
torch.set_num_threads(1)
engine = Engine(mapping_to_preset(json.loads(preset), "test"), Bank(Path(folder)))
engine.build(Category("boat", tuple(json.loads(prompts))), die)
"""


def _killed(preset: Preset, folder: Path, moment: str, count: int) -> None:
    """Build in another process, which kills itself at the ``count``-th such moment."""
    arguments = [str(folder), json.dumps(preset_to_mapping(preset)), json.dumps(CATEGORY.prompts), moment, str(count)]
    run = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr


def _batches(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("support/*/batch-*/checksums.json"))


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".partial-" not in str(path)
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

    _killed(small, broken, "writing", 11)  # 6 files and 2 folders of the first batch, then files of the second
    assert _batches(broken) == ["batch-0000"]
    assert list(broken.glob("support/*/.partial-*/*.png"))  # it did die in the middle
    _killed(small, broken, "extracting", 1)  # images and masks are there, prototypes are not
    assert _batches(broken) == _batches(unbroken) and not list(broken.glob("*.json"))

    drawn: list[tuple[str, float]] = []
    Engine(small, Bank(broken)).build(CATEGORY, lambda stage, fraction: drawn.append((stage, fraction)))
    assert [stage for stage, _ in drawn].count("generating") == 1  # only its start: nothing was drawn
    expected = _contents(unbroken)
    assert _contents(broken) == expected
    assert sum(name.endswith(".npy") for name in expected) == IMAGES and len(expected) > 3 * IMAGES
