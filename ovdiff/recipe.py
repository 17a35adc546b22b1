"""What makes a prototype set, as data: its content address, and the card that is stored with it.

Never imports torch and loads no model, so that asking whether a set exists is cheap.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ovdiff.bank import SCHEMA_VERSION
from ovdiff.presets import Preset, prototype_parameters
from ovdiff.presets.mapping import digest
from ovdiff.vocabulary import Category
from ovdiff.weights import weights_identity


def models_used(preset: Preset) -> tuple[str, ...]:
    """Return the names of the models that take part in making prototypes, sorted."""
    names = {"generator", *preset.extractors.use}
    if preset.proposals.source == "maskcut":
        names.add("dino")
    return tuple(sorted(names))


def preset_recipe(preset: Preset) -> dict[str, Any]:
    """Return all of a preset that shapes prototypes, with the identity of each model's weights, as JSON values.

    Cost: the model folders are walked; an engine does it once.

    Raises:
        WeightsError: a model's files are missing.
    """
    used = models_used(preset)
    parameters = prototype_parameters(preset)
    parameters["models"] = {name: parameters["models"][name] for name in used}
    # by model, not by extractors.use: MaskCut reads DINO's keys by the DINO extractor's layer and statistics
    parameters["extractors"] = {name: parameters["extractors"][name] for name in used if name != "generator"}
    return {
        "schema_version": SCHEMA_VERSION,
        "parameters": parameters,
        "weights": {name: weights_identity(getattr(preset.models, name)) for name in used},
    }


def category_recipe(of_preset: dict[str, Any], category: Category) -> dict[str, Any]:
    """Return everything that shapes a category's prototypes.

    The category's name and kind are no part of it: a renamed label with the same prompts keeps its set.
    """
    return {**of_preset, "phrases": list(category.phrases)}


def recipe_key(made_from: dict[str, Any]) -> str:
    """Return the content address of a recipe: 64 hexadecimal digits."""
    return digest(made_from)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries whose arithmetic is in the prototypes, for the card."""
    names = ("diffusers", "numpy", "ovdiff", "scikit-learn", "torch", "transformers")
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # ovdiff itself, run from a checkout
        return "not installed"
