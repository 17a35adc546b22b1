"""Each half of the method runs where the other one cannot even be imported; the bank is all that they share."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_SMALL = """
import json, sys
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


def _run(program: str, other: str, folder: Path) -> list[object]:
    text = _SMALL.format(other=other) + program
    run = subprocess.run(
        [sys.executable, "-c", text, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found: list[object] = json.loads(run.stdout.splitlines()[-1])
    return found


def test_each_half_runs_without_the_other(tmp_path: Path) -> None:
    assert _run(_BUILD, "segmenting", tmp_path) == [2, 2]
    labels, side = _run(_SEGMENT, "building", tmp_path)
    assert isinstance(labels, list) and set(labels) <= {0, 1, 2} and max(labels) > 0 and side == 96
