"""Presets: each names the models and hyper-parameters of the method. A preset is data: copy it to a file and change it.

A TOML file may give ``base = "tinyworld"`` and only the fields that differ from that base. Never imports torch.
"""

from ovdiff.presets.fields import setting
from ovdiff.presets.files import load_preset, preset_description, preset_names
from ovdiff.presets.needs import extractor_settings, proposal_settings
from ovdiff.presets.part import Part
from ovdiff.presets.part_settings import FeatureSettings
from ovdiff.presets.preset import Preset, preset_to_mapping

__all__ = [
    "FeatureSettings",
    "Part",
    "Preset",
    "extractor_settings",
    "load_preset",
    "preset_description",
    "preset_names",
    "preset_to_mapping",
    "proposal_settings",
    "setting",
]
