"""Presets: which models and hyper-parameters. A preset is data; copy one to a TOML file and change it.

A file may give ``base = "tinyworld"`` and only the fields that differ from it. Never imports torch.
"""

from ovdiff.presets.files import load_preset, preset_description, preset_names
from ovdiff.presets.part import Part
from ovdiff.presets.preset import Preset, preset_to_mapping

__all__ = ["Part", "Preset", "load_preset", "preset_description", "preset_names", "preset_to_mapping"]
