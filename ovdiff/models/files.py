"""Which files the models of a preset read, and whether these are on this machine.

This module knows the files that the loaders of `ovdiff.models` read. The files of another package's model are not
known: only its loader can say what is missing. Never imports torch, except to ask where torch keeps a checkpoint.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovdiff.errors import WeightsError
from ovdiff.extras import naming_the_extra
from ovdiff.models.checkpoint_file import cached_checkpoint
from ovdiff.models.licences import weights_settings
from ovdiff.models.weights import PIN_DIGITS, Weights, locate, weights_pin
from ovdiff.presets.model_settings import (
    AdapterSettings,
    CheckpointSettings,
    ClipModelSettings,
    DiffusionModelSettings,
    ModelSettings,
)
from ovdiff.presets.needs import Stage, models_of
from ovdiff.presets.schema import PresetTables

BUILDING: tuple[Stage, ...] = ("images", "masks", "features", "judging")
SEGMENTING: tuple[Stage, ...] = ("segmenting",)

MEGABYTES = {
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", "fp16"): 2133,
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", ""): 4265,
    ("CompVis/stable-diffusion-safety-checker", ""): 1216,
    ("latent-consistency/lcm-lora-sdv1-5", ""): 135,
    ("timm/vit_base_patch16_clip_224.openai", ""): 598,
    ("openai/clip-vit-base-patch16", ""): 598,
    ("openai/clip-vit-large-patch14-336", ""): 1712,
    ("facebook/dino-vitb8", ""): 343,
    ("nvidia/groupvit-gcc-yfcc", ""): 223,
    ("CIDAS/clipseg-rd64-refined", ""): 603,
    ("facebook/sam-vit-base", ""): 375,
    ("facebook/dinov2-base", ""): 346,
    ("https://dl.fbaipublicfiles.com/cutler/checkpoints/cutler_cascade_final.pth", ""): 287,
}
"""Millions of bytes by source and variant: the parameters of the published architectures times the bytes of each. The
adapter's size is the one that its authors state. tests/architectures holds the others to the architectures."""

Alternatives = tuple[str, ...]
"""Paths in a repository, one of which must be there; the first is the usual one."""

_TOKENIZER: tuple[Alternatives, ...] = (("vocab.json", "tokenizer.json"), ("merges.txt", "tokenizer.json"))
_OWN_ENGINES = ("odise", "clip_dense", "groupvit", "clipseg")
_HEAD_FILES: tuple[Alternatives, ...] = (("head.json",), ("head.safetensors",))
_ADAPTER_FILE = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class ModelFiles:
    """The files of one source of weights.

    Attributes:
        models: the models of the preset that read them, such as ("generator", "stable_diffusion").
        settings: the source, and what pins it.
        needed: the files, each with its alternatives; none where another package's loader knows them.
        missing: the files that are not on this machine, each by its usual name.
        place: the folder or file on this machine; ``None`` while everything is missing.
        is_local: whether the source is a folder or a file, and nothing that could be fetched.
    """

    models: tuple[str, ...]
    settings: Weights
    needed: tuple[Alternatives, ...]
    missing: tuple[str, ...]
    place: Path | None
    is_local: bool = False

    @property
    def megabytes(self) -> int | None:
        """About how large the weights are, or ``None`` where that is not known."""
        variant = getattr(self.settings, "variant", "")
        return MEGABYTES.get((self.settings.source, variant))

    @property
    def pinned_source(self) -> str:
        """The source, with the first digits of what pins the weights: "owner/name @ 977e3dd0ec55"."""
        pin = weights_pin(self.settings)[:PIN_DIGITS]
        return f"{self.settings.source} @ {pin}" if pin else self.settings.source

    def __str__(self) -> str:
        """Describe the missing files, such as "clip: owner/name @ 977e3dd0ec55 (2 files, about 598 MB)"."""
        size = f", about {self.megabytes} MB" if self.megabytes else ""
        files = f"{len(self.missing)} file{'s' * (len(self.missing) != 1)}"
        return f"{' and '.join(self.models)}: {self.pinned_source} ({files}{size})"


def files_of(preset: Any, *stages: Stage) -> tuple[ModelFiles, ...]:
    """Return the files of every model that runs in any of these stages; models of one source are one entry.

    Args:
        preset: the preset of any engine. Of an engine from another package only the sources are known: which stage uses
            them, and which files they need, is not.
        stages: when the models run.
    """
    weights = weights_settings(preset)
    names, added = set(weights), set(weights)
    if isinstance(preset, PresetTables):
        names, added = set(models_of(preset, *stages)), {name for name, _ in preset.models.added}
    elif getattr(preset, "engine", "") in _OWN_ENGINES:  # their models are loaded by this package too
        added = set()
    users: dict[Weights, list[str]] = {}
    for name, settings in weights.items():
        if name.partition(".")[0] in names:
            users.setdefault(settings, []).append(name)
    return tuple(_files(tuple(users[settings]), settings, users[settings][0] not in added) for settings in users)


def needed_files(name: str, settings: Weights) -> tuple[Alternatives, ...]:
    """Return the files that the loader of a model reads, by the model's name in ``models`` and its settings."""
    if isinstance(settings, CheckpointSettings | AdapterSettings):
        return ((_ADAPTER_FILE,),) if isinstance(settings, AdapterSettings) else ()
    if isinstance(settings, DiffusionModelSettings):
        return _diffusion_files(settings.variant)
    if isinstance(settings, ClipModelSettings) and settings.library == "open_clip":
        return (("open_clip_config.json",), ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"))
    weights = (("config.json",), _weights("model", "pytorch_model"))
    if isinstance(settings, ClipModelSettings) or name in ("groupvit", "clipseg"):
        return (*weights, *_TOKENIZER)
    if name == "safety_checker":
        return (*weights, ("preprocessor_config.json",))
    return _HEAD_FILES if name == "head" else weights


def _diffusion_files(variant: str) -> tuple[Alternatives, ...]:
    inside = f".{variant}" if variant else ""
    diffusion = _weights(f"diffusion_pytorch_model{inside}", f"diffusion_pytorch_model{inside}")
    text = _weights(f"model{inside}", f"pytorch_model{inside}")
    parts = {
        "scheduler": (("scheduler_config.json",),),
        "text_encoder": (("config.json",), text),
        "tokenizer": _TOKENIZER,
        "unet": (("config.json",), diffusion),
        "vae": (("config.json",), diffusion),
    }
    inner = (tuple(f"{part}/{name}" for name in names) for part, needed in parts.items() for names in needed)
    return (("model_index.json",), *inner)


def _weights(safetensors: str, binary: str) -> Alternatives:
    """Return the names under which weights are saved: in one file, or in several with an index."""
    whole = (f"{safetensors}.safetensors", f"{binary}.bin")
    return (*whole, *(f"{name}.index.json" for name in whole))


def _files(models: tuple[str, ...], settings: Weights, are_known: bool) -> ModelFiles:
    needed = needed_files(models[0], settings) if are_known else ()
    try:
        place = locate(settings)
    except WeightsError:
        return ModelFiles(models, settings, needed, (settings.source,), None, is_local=True)
    if place is not None:
        missing = () if isinstance(settings, AdapterSettings) else missing_in(place, needed)
        return ModelFiles(models, settings, needed, missing, place, is_local=True)
    if isinstance(settings, CheckpointSettings):
        file = cached_checkpoint(settings.source)
        return ModelFiles(models, settings, needed, *(((), file) if file.is_file() else ((file.name,), None)))
    return ModelFiles(models, settings, needed, *_in_cache(settings, needed))


def missing_in(folder: Path, needed: Iterable[Alternatives]) -> tuple[str, ...]:
    """Return the files that a folder lacks, each by its usual name."""
    return tuple(names[0] for names in needed if not any((folder / name).is_file() for name in names))


def _in_cache(
    settings: ModelSettings | AdapterSettings, needed: Sequence[Alternatives]
) -> tuple[tuple[str, ...], Path | None]:
    """Return the files that the hub's cache lacks of a hub id, and the folder of those that it has."""
    with naming_the_extra("weights from a hub"):
        from huggingface_hub import try_to_load_from_cache
    missing, place = [], None
    for names in needed:
        for name in names:
            path = try_to_load_from_cache(settings.source, name, revision=settings.revision or None)
            if isinstance(path, str):
                place = Path(path.removesuffix(name))
                break
        else:
            missing.append(names[0])
    return tuple(missing), place
