"""The terms under which the weights of a preset may be used. No lawyer wrote this.

A model's ``licence`` field is taken first. Without one, the licence is that of a known source. For any other source it
is said to be unknown.
"""

from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any

from ovdiff.presets.mapping import entries
from ovdiff.presets.model_settings import AdapterSettings, CheckpointSettings, ModelSettings
from ovdiff.presets.needs import part_licence
from ovdiff.presets.schema import PresetTables

UNKNOWN = "unknown"

Source = ModelSettings | AdapterSettings | CheckpointSettings
"""The settings of anything that has weights."""

LICENCES: dict[str, str] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "CreativeML-OpenRAIL-M",
    "CompVis/stable-diffusion-safety-checker": "CreativeML-OpenRAIL-M",
    "latent-consistency/lcm-lora-sdv1-5": "OpenRAIL++",
    "stabilityai/sd-turbo": "Stability-AI",
    "openai/clip-vit-base-patch16": "MIT",
    "openai/clip-vit-large-patch14-336": "MIT",
    "timm/vit_base_patch16_clip_224.openai": "Apache-2.0",  # The licence of these files; OpenAI's own files are MIT.
    "facebook/dino-vitb8": "Apache-2.0",
    "facebook/dino-vits8": "Apache-2.0",
    "facebook/dinov2-base": "Apache-2.0",
    "facebook/dinov3-vitb16-pretrain-lvd1689m": "DINOv3",
    "facebook/vit-mae-large": "Apache-2.0 or CC-BY-NC-4.0",
    "nvidia/groupvit-gcc-yfcc": "NVIDIA-Source-Code-NC",
    "CIDAS/clipseg-rd64-refined": "Apache-2.0",
    "facebook/sam-vit-base": "Apache-2.0",
}
"""Licence names by hub id, as the model cards and the specification give them."""

_EMBEDDED = "Apache-2.0"  # The embedded models are this project's own.
_NOTES = {
    UNKNOWN: "its licence is not known here: ask the source for it, and write it into the preset's 'licence'",
    "CreativeML-OpenRAIL-M": "commercial use is allowed; the harmful uses that the licence lists are not",
    "OpenRAIL++": "commercial use is allowed; the harmful uses that the licence lists are not",
    "Stability-AI": "the terms depend on the user and the purpose; read the licence before commercial use",
    "Apache-2.0 or CC-BY-NC-4.0": "its hub card and its authors' repository differ; ask before commercial use",
    "DINOv3": "a licence of its own, and access on request; read the licence before use",
}
_FREE = "commercial use is allowed"
_NON_COMMERCIAL = "NON-COMMERCIAL: not for commercial use"


@dataclass(frozen=True)
class WeightsLicence:
    """The terms of one of a preset's models.

    Attributes:
        model: the field of ``models`` that gives the model, such as "generator" or "generator.adapter".
        source: where the weights come from.
        licence: the licence's name, or :data:`UNKNOWN`.
        note: what the licence means for a user, in words.
    """

    model: str
    source: str
    licence: str
    note: str

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use outright."""
        return _is_non_commercial(self.licence)


def weights_licences(preset: Any) -> tuple[WeightsLicence, ...]:
    """Return the terms of every model that a preset names, in the order of the preset's fields.

    Args:
        preset: the preset of any engine: a dataclass whose tables hold the settings of models.
    """
    return tuple(
        WeightsLicence(name, settings.source, licence, licence_note(licence))
        for name, settings in weights_settings(preset).items()
        for licence in [_licence_of(preset, name, settings)]
    )


def weights_settings(preset: Any) -> dict[str, Source]:
    """Return the settings of every model that a preset names, by name, such as "generator" or "generator.adapter"."""
    return dict(_models(preset, ""))


def licence_note(licence: str) -> str:
    """Say in words whether a licence allows commercial use."""
    if licence in _NOTES:
        return _NOTES[licence]
    if _is_non_commercial(licence):
        return _NON_COMMERCIAL
    return _FREE if licence in ("MIT", "Apache-2.0") else "as its licence says"


def _is_non_commercial(licence: str) -> bool:
    words = licence.casefold().replace("_", "-").split("-")
    return "nc" in words or "non-commercial" in licence.casefold() or "noncommercial" in licence.casefold()


def _models(table: Any, path: str) -> Iterator[tuple[str, Source]]:
    """Yield the settings of models in a table and in the tables under it, each with its path in ``[models]``."""
    for entry in entries(table):
        name = f"{path}{entry.name}"
        if isinstance(entry.value, Source):
            yield name.removeprefix("models."), entry.value
        if is_dataclass(entry.value):
            yield from _models(entry.value, f"{name}.")


def _licence_of(preset: Any, name: str, settings: Source) -> str:
    if settings.licence:
        return settings.licence
    if settings.source.startswith("tinyworld:"):
        return _EMBEDDED
    of_part = part_licence(preset, name) if isinstance(preset, PresetTables) else ""
    return of_part or LICENCES.get(settings.source, UNKNOWN)
