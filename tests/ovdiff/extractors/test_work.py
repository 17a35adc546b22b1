from dataclasses import replace

import pytest

from ovdiff.errors import PresetError
from ovdiff.extractors.work import extraction
from ovdiff.models.memory import Work
from ovdiff.presets import Preset, load_preset


def test_an_extractors_work_is_what_the_preset_says_of_it() -> None:
    paper = load_preset("paper")
    preset = replace(paper, extractors=replace(paper.extractors, batch_size=5))
    assert extraction(preset, "dino", 2.5) == Work("extracting dino features", 5, 150, 2.5)
    assert extraction(preset, "stable_diffusion", 6.0).mib_per_item == 330


def test_an_unknown_extractor_is_refused(preset: Preset) -> None:
    with pytest.raises(PresetError, match="no extractor 'colours'"):
        extraction(preset, "colours", 1.0)
