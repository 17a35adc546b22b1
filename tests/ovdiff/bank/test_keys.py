"""The keys of the packaged presets, as they were when people began to build with them.

They were written at version 2 of the schema. A key that changes has every user's prototypes made anew. The embedded
models' keys change when these models are trained anew; then the new keys are written here. Any other change is meant
only together with a higher SCHEMA_VERSION or SUPPORT_VERSION. A new field of a preset wants `later=True` instead (see
ovdiff.presets.fields).
"""

import json
from pathlib import Path

import pytest

from ovdiff.bank.recipe import Recipes
from ovdiff.presets import load_preset, preset_names
from ovdiff.vocabulary import Category

GOLDEN = json.loads(Path(__file__).with_name("keys.json").read_text("utf-8"))
CATEGORIES = {"ball": Category("ball"), "tank": Category("tank"), "boat": Category("boat", ("boat", "sailing boat"))}


def test_every_packaged_preset_is_held() -> None:
    assert set(GOLDEN) == set(preset_names("ovdiff"))


@pytest.mark.parametrize("name", preset_names("ovdiff"))
def test_keys_are_what_they_were(name: str) -> None:
    recipes = Recipes(load_preset(name))
    found = {
        "prototypes": {text: recipes.prototypes(category).key for text, category in CATEGORIES.items()},
        "support": {text: recipes.support(category).key for text, category in CATEGORIES.items()},
        "masks": recipes.masks().key,
    }
    assert found == GOLDEN[name]
