from pathlib import Path

import numpy as np
import pytest

from backend.demo.errors import DemoError
from backend.demo.loop.heads import STEPS_ANEW, STEPS_ON, predict, starts, write_preset
from backend.demo.loop.scores import regions_to_touch
from backend.demo.project import demo_labels
from converters.metrics.panoptic_quality import SegmentMap
from ovdiff.engines import load_any_preset
from ovdiff.odise.preset import OdisePreset
from ovdiff.tinyworld import weights_dir
from ovdiff.tinyworld.world import NAMES, render, sample_scene

LABELS = demo_labels()


def test_heads_begin_from_nothing_and_from_the_embedded_one() -> None:
    nothing, embedded = starts([], LABELS)
    assert (nothing.folder, nothing.steps) == (None, STEPS_ANEW)
    assert (embedded.folder, embedded.steps) == (weights_dir() / "odise", STEPS_ON)
    assert nothing.given(LABELS) == "nothing" and embedded.given(LABELS).endswith("all of the project's words")
    more = starts([weights_dir() / "odise"], [*LABELS, "zebra"])[-1]
    assert more.name == "head from odise, without 1 words" and more.given([*LABELS, "zebra"]).endswith("but zebra")


def test_a_folder_without_a_head_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="no head to begin from"):
        starts([tmp_path], LABELS)


@pytest.mark.parametrize(("begun_from", "condition"), [(None, "null"), (weights_dir() / "odise", "learned")])
def test_the_preset_of_a_head_is_one(tmp_path: Path, begun_from: Path | None, condition: str) -> None:
    write_preset(tmp_path / "head.toml", tmp_path / "head", begun_from=begun_from)
    preset = load_any_preset(tmp_path / "head.toml")
    assert isinstance(preset, OdisePreset)
    assert preset.captioner.condition == condition and preset.models.head.source == str(tmp_path / "head")


def test_the_embedded_head_finds_most_of_a_scene() -> None:
    drawn = render(sample_scene(0, "thresholds", 1), 128)
    names = [name for name in drawn.visible() if name in LABELS]
    ids = np.zeros(drawn.owners.shape, dtype=np.int32)
    for number, name in enumerate(names, 1):
        ids[drawn.label_map == NAMES.index(name)] = number
    truth = SegmentMap(ids, tuple(LABELS.index(name) + 1 for name in names))
    (found,) = predict("odise_tinyworld", [drawn.image], LABELS)
    assert regions_to_touch(truth, found) < len(names)
