"""A second engine in a package of its own: its presets, and where it is made. Imports no engine."""

# ruff: noqa: RUF009 - setting() is dataclasses.field with documentation; it returns a field, not a default

from dataclasses import MISSING, dataclass

from ovdiff.presets import Part
from ovdiff.presets.fields import setting
from ovdiff.presets.model_settings import ModelSettings


@dataclass(frozen=True)
class WordsModels:
    reader: ModelSettings = setting(MISSING, "reads nothing; it is here for its licence")


@dataclass(frozen=True)
class WordsPreset:
    name: str
    engine: str
    models: WordsModels
    tolerance: int = setting(60, "JPEG's colours are not exact", unit="grey levels", minimum=0)


WORDS = Part("ovdiff_words.engine:make_engine", settings=WordsPreset)
