"""The one table of needs: which extractor and which proposal source needs which models and settings.

Other facts are derived from this table: which settings and weights are in a prototype set's key, which models a preset
must give, which of its tables nothing reads, and which weights are needed to segment an image. A new extractor or
proposal source is one file and one line here. Another package adds one by an entry point
(:class:`ovdiff.presets.part.Part`). This module loads no model and never imports torch: it names the makers by strings,
and a maker is imported by the module that asks for the part.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, NamedTuple, TypeVar

from ovdiff.errors import PresetError
from ovdiff.presets.building_settings import ExtractorSettings, ProposalSettings
from ovdiff.presets.model_settings import (
    CheckpointSettings,
    ClipModelSettings,
    DiffusionModelSettings,
    Dtype,
    ModelSettings,
)
from ovdiff.presets.part import Part, Parts
from ovdiff.presets.part_settings import (
    ClipFeatureSettings,
    CutlerSettings,
    Detectron2Settings,
    DinoFeatureSettings,
    Dinov2FeatureSettings,
    Dinov3FeatureSettings,
    FeatureSettings,
    MaeFeatureSettings,
    MaskCutSettings,
    StableDiffusionFeatureSettings,
)
from ovdiff.presets.schema import PresetTables


def _own_fields(tables: type[Any]) -> frozenset[str]:
    return frozenset(entry.name for entry in fields(tables))


EXTRACTORS = Parts(
    "extractor",
    "ovdiff.extractors",
    {
        "stable_diffusion": Part(
            "ovdiff.extractors.stable_diffusion:make_extractor",
            StableDiffusionFeatureSettings,
            {"stable_diffusion": DiffusionModelSettings},
        ),
        "clip": Part("ovdiff.extractors.clip:make_extractor", ClipFeatureSettings, {"clip": ClipModelSettings}),
        "dino": Part("ovdiff.extractors.dino:make_extractor", DinoFeatureSettings, {"dino": ModelSettings}),
        "dinov2": Part("ovdiff.extractors.dinov2:make_extractor", Dinov2FeatureSettings, {"dinov2": ModelSettings}),
        "dinov3": Part("ovdiff.extractors.dinov3:make_extractor", Dinov3FeatureSettings, {"dinov3": ModelSettings}),
        "mae": Part("ovdiff.extractors.mae:make_extractor", MaeFeatureSettings, {"mae": ModelSettings}),
    },
    reserved=_own_fields(ExtractorSettings),
)
"""All extractors. A maker is called with the preset and the loaded models, and returns an
:class:`ovdiff.extractors.extractor.Extractor`. The settings are a subclass of
:class:`~ovdiff.presets.part_settings.FeatureSettings`."""

PROPOSALS = Parts(
    "proposal source",
    "ovdiff.proposals",
    {
        "cutler": Part(
            "ovdiff.proposals.cutler:make_proposer",
            CutlerSettings,
            {"cutler": CheckpointSettings},
            licence="CC-BY-NC-SA-4.0",  # The licence that CutLER's authors give their weights, wherever the file is.
        ),
        "maskcut": Part("ovdiff.proposals.maskcut:make_proposer", MaskCutSettings, {"dino": ModelSettings}),
        "detectron2": Part(
            "ovdiff.proposals.detectron2:make_proposer", Detectron2Settings, files=("config", "weights")
        ),
        "otsu": Part("ovdiff.proposals.threshold:make_otsu", of_attribution=True),
        "multi_otsu": Part("ovdiff.proposals.threshold:make_multi_otsu", of_attribution=True),
        "fixed": Part("ovdiff.proposals.threshold:make_fixed", of_attribution=True),
    },
    reserved=_own_fields(ProposalSettings),
)
"""All proposal sources. A maker is called with the preset and the loaded models, and returns an
:class:`ovdiff.proposals.Proposer` or a :class:`ovdiff.proposals.Thresholder`."""

Stage = Literal["images", "masks", "features", "judging", "segmenting"]
"""When a model runs: while support images are drawn, while their masks are found, while their features are extracted,
while CLIP judges whether they show the word, or while an image is segmented."""

P = TypeVar("P", bound=PresetTables)
S = TypeVar("S")


class Need(NamedTuple):
    """A model that a preset asks for, the stage in which the model runs, and the setting that asks for it."""

    model: str
    stage: Stage
    reason: str


class PartInUse(NamedTuple):
    """An extractor, or the proposal source, of a preset: the path of its table ("extractors.clip") and its settings."""

    path: str
    part: Part
    settings: Any | None


def parts_in_use(preset: PresetTables) -> Iterator[PartInUse]:
    """Yield the extractors of a preset in their order, then its proposal source.

    Raises:
        PresetError: there is no part of a name that the preset gives, or an extractor's settings are no extractor's.
    """
    for name in preset.extractors.use:
        yield PartInUse(f"extractors.{name}", EXTRACTORS[name], feature_settings(preset, name))
    source = preset.proposals.source
    yield PartInUse(f"proposals.{source}", PROPOSALS[source], source_settings(preset))


def object_part(preset: PresetTables) -> PartInUse | None:
    """Return the proposal source that finds objects in images, or ``None`` if the preset finds them without one.

    Raises:
        PresetError: there is no proposal source of the name that the preset gives.
    """
    if preset.instances.method != "proposals":
        return None
    name = preset.instances.source or preset.proposals.source
    return PartInUse(f"proposals.{name}", PROPOSALS[name], _settings(preset.proposals, PROPOSALS, name))


def needs(preset: PresetTables) -> Iterator[Need]:
    """Yield every model that some part of a preset asks for. A model occurs once for each part that asks for it.

    Raises:
        PresetError: there is no extractor or proposal source of a name that the preset gives.
    """
    yield Need("generator", "images", "drawing support images")
    if (checker := safety_model(preset)) is not None:
        yield Need(checker, "images", f"safety.check = {preset.safety.check!r}")
    source = preset.proposals.source
    for model in PROPOSALS[source].models:
        yield Need(model, "masks", f"proposals.source = {source!r}")
    for name in preset.extractors.use:
        for model in EXTRACTORS[name].models:
            yield Need(model, "features", f"extractors.use ({name!r})")
            if name in preset.active_extractors():
                yield Need(model, "segmenting", f"matching.extractors ({name!r})")
    if judges_words(preset):
        yield Need("clip", "judging", "anchors.words")
    if preset.prefilter.enabled:
        yield Need("clip", "segmenting", "prefilter.enabled")
    if (found := object_part(preset)) is not None:
        for model in found.part.models:
            yield Need(model, "segmenting", f"instances.method = 'proposals' ({found.path})")
    if preset.part_check.enabled:
        yield Need("clip", "segmenting", "part_check.enabled")
    if preset.stuff_filter.unknown_names == "nearest":
        yield Need("clip", "segmenting", "stuff_filter.unknown_names = 'nearest'")


def models_of(preset: PresetTables, *stages: Stage) -> tuple[str, ...]:
    """Return the names of the models that run in any of these stages, sorted."""
    return tuple(sorted({need.model for need in needs(preset) if need.stage in stages}))


def safety_model(preset: PresetTables) -> Literal["safety_checker", "clip"] | None:
    """Return the model that checks generated images, or ``None`` if the preset checks none."""
    check = preset.safety.check
    if check == "off":
        return None
    if check == "auto":
        return "clip" if preset.models.safety_checker is None else "safety_checker"
    return "clip" if check == "clip_text" else "safety_checker"


def judges_words(preset: PresetTables) -> bool:
    """Say whether CLIP judges a preset's support images: if there are anchors to compare with, and a CLIP."""
    return bool(preset.anchors.words) and preset.models.clip is not None


def feature_settings(preset: PresetTables, extractor: str) -> FeatureSettings:
    """Return the settings of an extractor, or its default settings if the preset has no table for it.

    Raises:
        PresetError: there is no such extractor, or its settings are no :class:`FeatureSettings`.
    """
    settings = _settings(preset.extractors, EXTRACTORS, extractor)
    if not isinstance(settings, FeatureSettings):
        raise PresetError(
            f"The settings of the extractor {extractor!r} are {type(settings).__name__}; expected a subclass of "
            f"ovdiff.presets.FeatureSettings."
        )
    return settings


def extractor_settings(preset: PresetTables, extractor: str, kind: type[S]) -> S:
    """Return the settings of an extractor as the dataclass that its maker expects.

    Raises:
        PresetError: there is no such extractor, or its settings are of another dataclass.
    """
    return _of_kind(feature_settings(preset, extractor), kind, f"extractors.{extractor}")


def proposal_settings(preset: PresetTables, kind: type[S]) -> S:
    """Return the settings of the chosen proposal source as the dataclass that its maker expects.

    Raises:
        PresetError: there is no such source, or its settings are of another dataclass.
    """
    source = preset.proposals.source
    return _of_kind(_settings(preset.proposals, PROPOSALS, source), kind, f"proposals.{source}")


def source_settings(preset: PresetTables) -> Any | None:
    """Return the settings of the chosen proposal source, or ``None`` if it has no table of its own."""
    return _settings(preset.proposals, PROPOSALS, preset.proposals.source)


def looks_at_images(preset: PresetTables) -> bool:
    """Say whether encoding an image embeds it by CLIP as a whole, for the prefilter or the part check."""
    return preset.prefilter.enabled or preset.part_check.enabled


def feature_dtype(preset: PresetTables, extractor: str) -> Dtype:
    """Return the least precise dtype in which the models of an extractor compute; float32 if it has no model."""
    given = preset.models.all_given()
    found = {given[model].dtype for model in EXTRACTORS[extractor].models}
    return next((dtype for dtype in ("float16", "bfloat16") if dtype in found), "float32")


def dtype_fields(extractor: str) -> tuple[str, ...]:
    """Return the fields of a preset that say in which dtype the models of an extractor compute."""
    return tuple(f"models.{model}.dtype" for model in EXTRACTORS[extractor].models)


def unread_tables(preset: PresetTables) -> frozenset[str]:
    """Return the names of the tables of extractors and proposal sources that the preset gives but does not use."""
    extractors = (f"extractors.{name}" for name in _table_names(preset.extractors))
    proposals = (f"proposals.{name}" for name in _table_names(preset.proposals))
    of_objects = object_part(preset)
    read = [*parts_in_use(preset), *([of_objects] if of_objects else [])]
    return frozenset((*extractors, *proposals)) - {found.path for found in read}


def table_type(parts: str, name: str) -> type[Any] | None:
    """Return the dataclass of a table that another package's part brings, or ``None`` if no part has such a table.

    Args:
        parts: "extractors", "proposals" or "models".
        name: the table's name.

    Raises:
        PresetError: the part of this name cannot be imported.
    """
    if parts == "models":
        return next((part.models[name] for part in _all_parts() if name in part.models), None)
    known = {"extractors": EXTRACTORS, "proposals": PROPOSALS}[parts]
    return known[name].settings if name in known else None


def part_licence(preset: PresetTables, model: str) -> str:
    """Return the licence that a part gives for the weights of a model, whoever hosts them; "" if no part gives one.

    All built-in parts are asked, and those parts of other packages that the preset uses.
    """
    used = (found.part for found in parts_in_use(preset))
    parts = [*used, *EXTRACTORS.built_in.values(), *PROPOSALS.built_in.values()]
    return next((part.licence for part in parts if part.licence and model in part.models), "")


def part_versions(preset: PresetTables) -> dict[str, str]:
    """Return the package and version of each part in use, by "extractors.NAME" or "proposals.NAME".

    Built-in parts of version 1 are left out, so that keys made before there were versions are still found.
    """
    versions = {path: f"{part.distribution} {part.version}".strip() for path, part, _ in parts_in_use(preset)}
    return {name: version for name, version in versions.items() if version != "1"}


def values_in_use(preset: PresetTables, values_of: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Return the values of a preset without the tables of extractors, proposal sources and models that it does not use.

    Args:
        preset: the preset.
        values_of: gives the values of a table, as :func:`ovdiff.presets.mapping.offline_values` does.
    """
    values, source = values_of(preset), preset.proposals.source
    given, own = preset.models.all_given(), source_settings(preset)
    shared = {name: value for name, value in values["proposals"].items() if name not in _table_names(preset.proposals)}
    return {
        **values,
        "models": {need.model: values_of(given[need.model]) for need in needs(preset)},
        "extractors": {name: values_of(feature_settings(preset, name)) for name in preset.extractors.use},
        "proposals": {**shared, **({} if own is None else {source: values_of(own)})},
    }


def with_tables_in_use(preset: P) -> P:
    """Return a preset that also has the tables, at their defaults, of those parts of other packages that it uses.

    So whoever shows a preset shows every number that it computes with.
    """
    extractors, proposals = preset.extractors, preset.proposals
    return replace(
        preset,
        extractors=replace(extractors, added=_with_defaults(extractors, EXTRACTORS, extractors.use)),
        proposals=replace(proposals, added=_with_defaults(proposals, PROPOSALS, _sources(preset))),
    )


def _sources(preset: PresetTables) -> tuple[str, ...]:
    of_objects = object_part(preset)
    named = (preset.proposals.source, *([of_objects.path.partition(".")[2]] if of_objects else []))
    return tuple(dict.fromkeys(named))


def _with_defaults(
    tables: ExtractorSettings | ProposalSettings, known: Parts, used: tuple[str, ...]
) -> tuple[tuple[str, Any], ...]:
    absent = (name for name in used if name not in _table_names(tables))
    defaults = ((name, _settings(tables, known, name)) for name in absent)
    return (*tables.added, *((name, table) for name, table in defaults if table is not None))


def _all_parts() -> Iterator[Part]:
    """Yield all parts, the built-in ones first. A broken package that nobody named is passed over."""
    for known in (EXTRACTORS, PROPOSALS):
        yield from known.built_in.values()
    for known in (EXTRACTORS, PROPOSALS):
        for name in known.names():
            with contextlib.suppress(PresetError):
                yield known[name]


def _settings(tables: ExtractorSettings | ProposalSettings, known: Parts, name: str) -> Any | None:
    part = known[name]
    if name in _table_names(tables):
        return {**vars(tables), **dict(tables.added)}[name]
    return None if part.settings is None else part.settings()


def _table_names(tables: ExtractorSettings | ProposalSettings) -> tuple[str, ...]:
    """Return the names of the tables that stand in a table beside its own fields."""
    known = (entry.name for entry in fields(tables) if is_dataclass(vars(tables)[entry.name]))
    return (*known, *(name for name, _ in tables.added))


def _of_kind(settings: Any, kind: type[S], path: str) -> S:
    if not isinstance(settings, kind):
        raise PresetError(f"{path} is {type(settings).__name__}; expected {kind.__name__}.")
    return settings
