"""Recipes: all that a prototype set is made from, and its content address. Loads no model and never imports torch."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ovdiff.bank.lessons import LESSON_VERSION
from ovdiff.bank.support_store import SUPPORT_VERSION
from ovdiff.curation.curation import UNCURATED, Curation
from ovdiff.curation.store import CurationStore
from ovdiff.models.weights import Weights, weights_identity
from ovdiff.presets import Part, Preset
from ovdiff.presets.mapping import digest, encoding_values, offline_values, to_mapping
from ovdiff.presets.model_settings import CheckpointSettings, ClipModelSettings, DiffusionModelSettings
from ovdiff.presets.needs import (
    EXTRACTORS,
    PROPOSALS,
    feature_settings,
    looks_at_images,
    models_of,
    part_versions,
    values_in_use,
)
from ovdiff.vocabulary import Category, with_phrase

SCHEMA_VERSION = 2
"""The version of stored prototypes and of the code that makes them. It is part of every key: raise it when either
changes."""

JUDGEMENT_VERSION = 1
"""The version of the code that judges support images: raise it when that changes, and all words are judged anew."""


ENCODING_VERSION = 1
"""The version of stored encodings and of the code that encodes images: raise it when either changes."""

MOST_RECIPES = 20_000
"""How many recipes are remembered: a recipe costs a millisecond, and the service asks for keys at every request."""

_JUDGING_ANCHORS = ("words", "same_cosine", "near_cosine", "doubtful_below")
_JUDGING_IMAGES = ("template", "statistics", "resampling")
_CROPPING = ("crops_wider", "min_aspect", "crop_px", "min_part_px", "max_parts")
_WHERE_WEIGHTS_LIE = ("source", "revision", "sha256", "adapter")


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes the data stored under a key. All values are JSON values.

    Attributes:
        versions: the versions of the code and the files, by name.
        parameters: the preset's settings, by table; tables that are not in use are left out.
        models: how each model computes and what its weights are, by the model's name. Their place is left out.
        phrases: the texts that are drawn; ``None`` for data that does not depend on the category.
        parts: the package and version of each extractor and proposal source in use, by "extractors.NAME" or
            "proposals.NAME"; built-in parts of version 1 are left out.
        curation: what people changed of the support set (`Curation.identity`); empty for data that no person shaped.
    """

    versions: Mapping[str, int]
    parameters: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    phrases: tuple[str, ...] | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    curation: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """The content address: 64 hexadecimal digits."""
        return digest(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values.

        Absent phrases, empty parts and an empty curation are left out, so that older keys stay.
        """
        return {
            **self.versions,
            "parameters": dict(self.parameters),
            "models": dict(self.models),
            **({} if self.phrases is None else {"phrases": list(self.phrases)}),
            **({"parts": dict(self.parts)} if self.parts else {}),
            **({"curation": dict(self.curation)} if self.curation else {}),
        }


class Recipes:
    """The recipes of one preset. Safe for several threads."""

    def __init__(self, preset: Preset, curations: CurationStore | None = None) -> None:
        """Remember the preset. No weights are read yet.

        Args:
            preset: the models and hyper-parameters.
            curations: what people changed of support sets; without it no recipe has a curation.
        """
        self._preset, self.curations = preset, curations
        self._remembered = lru_cache(MOST_RECIPES)(self._make)

    def prototypes(self, category: Category) -> Recipe:
        """Return the recipe of a category's prototype set.

        The category's name and kind are no part of the recipe, so a renamed label with the same prompts keeps its set.
        The curation is looked up each time, which costs a look at a file's date: another process may have changed it.

        Raises:
            WeightsError: a model's files are missing.
            BankError: the category's curation cannot be read.
        """
        return self.curated(self._phrases(category), self.curation(category).identity())

    def curated(self, phrases: Sequence[str], identity: Mapping[str, Any]) -> Recipe:
        """Return the recipe of the prototypes of phrases with a given curation, whatever the curation in force is.

        Raises:
            WeightsError: a model's files are missing.
        """
        return self._remembered(tuple(phrases), json.dumps(identity, sort_keys=True))[0]

    def curation(self, category: Category) -> Curation:
        """Return what people changed of a category's support set.

        Raises:
            WeightsError: a model's files are missing.
            BankError: the category's curation cannot be read.
        """
        return UNCURATED if self.curations is None else self.curations.of(self.support(category).key)

    def support(self, category: Category) -> Recipe:
        """Return the recipe of a category's support images.

        Presets that differ only in proposals, extractors or prototypes have the same recipe here, so they share images.

        Raises:
            WeightsError: a model's files are missing.
        """
        return self._remembered(self._phrases(category), "{}")[1]

    def masks(self) -> Recipe:
        """Return the recipe by which support images are divided into foreground and background.

        Raises:
            WeightsError: a model's files are missing.
        """
        return self._part(("proposals", "support"), models_of(self._preset, "masks"), "proposals.")

    @cached_property
    def encodings(self) -> Recipe:
        """The recipe by which images are encoded: the windows, and the extractors that vote with their models.

        CLIP, and how the image is shown to it, takes part if it looks at whole images. A setting that concerns words or
        prototypes alone is left out, so presets that differ only in those share encodings.

        Raises:
            WeightsError: a model's files are missing.
        """
        preset, voters = self._preset, self._preset.active_extractors()
        settings = {name: encoding_values(feature_settings(preset, name)) for name in voters}
        for name, values in settings.items():
            _identify_files(values, EXTRACTORS[name])
        parameters = {"windows": encoding_values(preset.windows), "extractors": settings}
        models = {model for name in voters for model in EXTRACTORS[name].models}
        if looks_at_images(preset):
            parameters["prefilter"] = encoding_values(preset.prefilter)
            models.add("clip")
        given, versions = preset.models.all_given(), part_versions(preset)
        return Recipe(
            {"encoding_version": ENCODING_VERSION},
            parameters,
            {name: _model_values(given[name]) for name in sorted(models)},
            parts={
                path: version for name in voters for path, version in versions.items() if path == f"extractors.{name}"
            },
        )

    @cached_property
    def lessons(self) -> Recipe:
        """The recipe of lessons: how an image is encoded, how cells become rows, and how crops are cut for CLIP.

        Raises:
            WeightsError: a model's files are missing.
        """
        preset, encodings = self._preset, self.encodings
        parameters = {**encodings.parameters, "learning": to_mapping(preset.learning)}
        if preset.part_check.enabled:
            parameters["part_check"] = _chosen(preset.part_check, _CROPPING)
        versions = {**encodings.versions, "lesson_version": LESSON_VERSION}
        return replace(encodings, versions=versions, parameters=parameters)

    @cached_property
    def judgement(self) -> Recipe:
        """The recipe by which CLIP judges support images, of a preset that judges them.

        Raises:
            WeightsError: CLIP's files are missing.
        """
        preset = self._preset
        parameters = {
            "anchors": _chosen(preset.anchors, _JUDGING_ANCHORS),
            "prefilter": _chosen(preset.prefilter, _JUDGING_IMAGES),
        }
        clip = _model_values(preset.models.given("clip", ClipModelSettings))
        return Recipe({"judgement_version": JUDGEMENT_VERSION}, parameters, {"clip": clip})

    @cached_property
    def _of_preset(self) -> Recipe:
        """The recipe without phrases. It is made once, because the files of all models are read for it."""
        names = models_of(self._preset, "images", "masks", "features")
        given = self._preset.models.all_given()
        return Recipe(
            {"schema_version": SCHEMA_VERSION},
            _parameters(self._preset),
            {name: _model_values(given[name]) for name in names},
            parts=part_versions(self._preset),
        )

    def _make(self, phrases: tuple[str, ...], identity: str) -> tuple[Recipe, Recipe]:
        """Return the recipes of the prototypes and of the support images of phrases; the identity is JSON."""
        images = self._part(("attribution", "generation", "safety"), models_of(self._preset, "images"))
        return (
            replace(self._of_preset, phrases=phrases, curation=json.loads(identity)),
            replace(images, versions={"support_version": SUPPORT_VERSION}, phrases=phrases),
        )

    def _part(self, tables: tuple[str, ...], models: tuple[str, ...], parts: str = "-") -> Recipe:
        """Return the recipe with only some tables and models, and the parts whose names start with ``parts``."""
        whole = self._of_preset
        return replace(
            whole,
            parameters={name: whole.parameters[name] for name in tables},
            models={name: whole.models[name] for name in models},
            parts={name: number for name, number in whole.parts.items() if name.startswith(parts)},
        )

    def _phrases(self, category: Category) -> tuple[str, ...]:
        return with_phrase(category, self._preset.generation.phrases).phrases


def _parameters(preset: Preset) -> dict[str, Any]:
    """Return the settings that shape prototypes, without the settings of parts that are not in use."""
    values = values_in_use(preset, offline_values)
    del values["models"]  # The identity of their weights is in the recipe instead.
    del values["generation"]["phrases"]  # The phrase that is drawn is in the recipe instead.
    for name in preset.extractors.use:
        _identify_files(values["extractors"][name], EXTRACTORS[name])
    source = preset.proposals.source
    _identify_files(values["proposals"].get(source, {}), PROPOSALS[source])
    return values


def _chosen(table: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return some fields of a table as JSON values."""
    values = to_mapping(table)
    return {name: values[name] for name in names}


def _identify_files(values: dict[str, Any], part: Part) -> None:
    """Put a hash of each file of a part in the place of its path."""
    for name in part.files:
        values[name] = weights_identity(CheckpointSettings(source=values[name]))


def _model_values(settings: Weights) -> dict[str, Any]:
    """Return how a model computes and what its weights are. The place of the weights is left out."""
    kept = {name: value for name, value in offline_values(settings).items() if name not in _WHERE_WEIGHTS_LIE}
    kept["weights"] = weights_identity(settings)
    if isinstance(settings, DiffusionModelSettings) and settings.adapter is not None:
        kept["adapter"] = {"weights": weights_identity(settings.adapter), "scale": settings.adapter.scale}
    return kept


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that compute prototypes, for the card."""
    names = ("diffusers", "numpy", "ovdiff", "scikit-learn", "torch", "transformers")
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # Such as ovdiff itself, if it is run from a checkout.
        return "not installed"
