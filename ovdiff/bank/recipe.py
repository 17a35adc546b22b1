"""What makes a prototype set, as data: its content address, and the card that is stored with it.

Never imports torch and loads no model, so that asking whether a set exists is cheap.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from ovdiff.bank.files import SCHEMA_VERSION
from ovdiff.bank.support_store import SUPPORT_VERSION
from ovdiff.models.weights import Weights, weights_identity
from ovdiff.presets import Preset, prototype_parameters
from ovdiff.presets.mapping import digest
from ovdiff.presets.model_settings import CheckpointSettings
from ovdiff.vocabulary import Category


def models_used(preset: Preset) -> tuple[str, ...]:
    """Return the names of the models that take part in making prototypes, sorted."""
    names = {"generator", *preset.extractors.use}
    names |= _proposal_models(preset)
    if (checker := safety_model(preset)) is not None:
        names.add(checker)
    return tuple(sorted(names))


def segmenting_models(preset: Preset) -> tuple[str, ...]:
    """Return the names of the models that take part in segmenting an image, sorted."""
    asks_clip = preset.prefilter.enabled or preset.stuff_filter.unknown_names == "nearest"
    return tuple(sorted({*preset.active_extractors(), *(["clip"] if asks_clip else [])}))


def safety_model(preset: Preset) -> Literal["safety_checker", "clip"] | None:
    """Return the model that looks at generated images, or ``None`` where nothing does."""
    check = preset.safety.check
    if check == "off":
        return None
    if check == "auto":
        return "clip" if preset.models.safety_checker is None else "safety_checker"
    return "clip" if check == "clip_text" else "safety_checker"


def _proposal_models(preset: Preset) -> set[str]:
    return {"maskcut": {"dino"}, "cutler": {"cutler"}}.get(preset.proposals.source, set())


def preset_recipe(preset: Preset) -> dict[str, Any]:
    """Return all of a preset that shapes prototypes, with the identity of each model's weights, as JSON values.

    What the preset gives but does not use is left out, and so is where weights lie: the identity of their
    content stands for it. So a moved folder or a field of another proposal source makes nothing anew.

    Cost: the model folders are walked; an engine does it once.

    Raises:
        WeightsError: a model's files are missing.
    """
    parameters = prototype_parameters(preset)
    models, extractors = parameters.pop("models"), parameters.pop("extractors")
    parameters["extractors"] = {name: extractors[name] for name in sorted(preset.extractors.use)}
    parameters["generation"].pop("phrases")  # the phrase itself is in the category's part
    for unused in {"cutler", "maskcut", "detectron2"} - {preset.proposals.source}:
        parameters["proposals"].pop(unused)
    for name in ("config", "weights") if preset.proposals.source == "detectron2" else ():
        file = CheckpointSettings(source=getattr(preset.proposals.detectron2, name))
        parameters["proposals"]["detectron2"][name] = weights_identity(file)
    return {
        "schema_version": SCHEMA_VERSION,
        "parameters": parameters,
        "models": {name: _model_recipe(getattr(preset.models, name), models[name]) for name in models_used(preset)},
    }


def _model_recipe(settings: Weights, values: dict[str, Any]) -> dict[str, Any]:
    """Return how a model computes and what its weights are; not where they lie."""
    kept = {name: value for name, value in values.items() if name not in ("source", "revision", "sha256", "adapter")}
    kept["weights"] = weights_identity(settings)
    adapter = getattr(settings, "adapter", None)
    if adapter is not None:
        kept["adapter"] = {"weights": weights_identity(adapter), "scale": adapter.scale}
    return kept


def category_recipe(of_preset: dict[str, Any], category: Category) -> dict[str, Any]:
    """Return everything that shapes a category's prototypes.

    The category's name and kind are no part of it: a renamed label with the same prompts keeps its set.
    """
    return {**of_preset, "phrases": list(category.phrases)}


def support_recipe(preset: Preset, of_preset: dict[str, Any], category: Category) -> dict[str, Any]:
    """Return everything that shapes a category's support images, out of what shapes its prototypes.

    Presets that differ in proposals, extractors or prototypes draw the same images.
    """
    names = {"generator", safety_model(preset) or "generator"}
    return {
        "support_version": SUPPORT_VERSION,
        "parameters": {name: of_preset["parameters"][name] for name in ("attribution", "generation", "safety")},
        "models": {name: of_preset["models"][name] for name in sorted(names)},
        "phrases": list(category.phrases),
    }


def masks_recipe(preset: Preset, of_preset: dict[str, Any]) -> dict[str, Any]:
    """Return everything that turns support images into foreground and background."""
    return {
        "schema_version": of_preset["schema_version"],
        "parameters": {name: of_preset["parameters"][name] for name in ("proposals", "support")},
        "models": {name: of_preset["models"][name] for name in sorted(_proposal_models(preset))},
    }


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
