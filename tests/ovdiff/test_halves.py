"""Each half of the method runs where the other one cannot even be imported; the bank is all that they share."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FORKING = """
import os, sys, traceback
import torch
import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion
torch.set_num_threads(1)  # and no work before the forks: a fork copies no other thread
for program in sys.argv[2:]:
    child = os.fork()
    if not child:
        try:
            exec(program, {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(1)
"""

_SMALL = """
import json, sys
assert not any(name.partition(".")[0] == "ovdiff" for name in sys.modules)
from dataclasses import replace
from pathlib import Path
sys.modules["ovdiff.{other}"] = None  # importing it raises ImportError
from ovdiff.bank import Bank
from ovdiff.bank.recipe import Recipes
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import load_preset
from ovdiff.vocabulary import Category, Vocabulary
preset = load_preset("tinyworld")
generation, prefilter = replace(preset.generation, images=2, steps=2), replace(preset.prefilter, enabled=False)
preset = replace(preset, generation=generation, prefilter=prefilter)
bank, models, categories = Bank(Path(sys.argv[1])), LoadedModels(), (Category("ball"), Category("sky"))
"""

_BUILD = """
from ovdiff.building.category_builder import CategoryBuilder
from ovdiff.building.parts import BuildingParts
builder = CategoryBuilder(BuildingParts(preset, models), bank, Recipes(preset))
for category in categories:
    builder.build(category, lambda stage, done: None)
print(json.dumps([len(bank.keys()), len(builder.support_set(categories[0]).images)]))
"""

_SEGMENT = """
import numpy as np
from ovdiff.segmenting.image_segmenter import ImageSegmenter
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.tinyworld.world import render, sample_scene
segmenter = ImageSegmenter(SegmentingParts(preset, models), bank, Recipes(preset))
found = segmenter.segment(render(sample_scene(2, "test"), 96).image, Vocabulary(categories))
print(json.dumps([np.unique(found.label_map).tolist(), found.label_map.shape[0]]))
"""


def _run(folder: Path, *programs: str) -> list[list[object]]:
    """Run programs one after the other, each in a process that has the libraries and nothing of ours."""
    run = subprocess.run(
        [sys.executable, "-c", _FORKING, str(folder), *programs], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("[")]


def test_each_half_runs_without_the_other(tmp_path: Path) -> None:
    build, segment = _SMALL.format(other="segmenting") + _BUILD, _SMALL.format(other="building") + _SEGMENT
    built, (labels, side) = _run(tmp_path, build, segment)
    assert built == [2, 2]
    assert isinstance(labels, list) and set(labels) <= {0, 1, 2} and max(labels) > 0 and side == 96
