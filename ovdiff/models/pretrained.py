"""The libraries' models are read from files here: completely, frozen and in the wanted dtype, or an error is raised.

The libraries only warn if tensors are missing or superfluous, and here both are errors: a missing tensor would hold
random numbers, and a superfluous one is a sign of another architecture. Weights are safetensors, or ``.bin`` files that
are read with ``weights_only=True``; nothing is unpickled. The revision of a hub id is fetched once; a folder needs no
network at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import snapshot_download
from safetensors.torch import load_file

from ovdiff.errors import DeviceMemoryError, OVDiffError, WeightsError
from ovdiff.extras import naming_the_extra
from ovdiff.models.adapters import fuse_adapter
from ovdiff.models.weights import Weights, locate
from ovdiff.presets.model_settings import DiffusionModelSettings, Dtype, ModelSettings

if TYPE_CHECKING:
    import open_clip
    from diffusers import StableDiffusionPipeline

DTYPES: dict[Dtype, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_OPEN_CLIP_CONFIG = "open_clip_config.json"
_OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

_ADVICE = (
    " If the hub cannot be reached from here, download the repository where it can be, and give its folder as "
    "the source."
)

# Published checkpoints hold more than the encoder that is read here: heads, MAE's decoder, counters of old versions.
_LEFT_OUT = re.compile(r"(^|\.)(pooler|decoder|classifier|mask_token|position_ids)(\.|$)")


def where(settings: ModelSettings) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` that say where a model's files are."""
    folder = locate(settings)
    if folder is not None:
        return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}
    return {"pretrained_model_name_or_path": settings.source, "revision": settings.revision or None}


@contextmanager
def errors_of_loading(settings: Weights, what: str) -> Iterator[None]:
    """Turn the many errors that five libraries raise while files are read into one error.

    Args:
        settings: where the weights come from.
        what: the model that they should be, such as "a ViTModel", for the message.

    Raises:
        WeightsError: the files cannot be read. The message names the source and the wanted model, and quotes the
            library.
        DeviceMemoryError: the weights do not fit into the device's memory.
    """
    try:
        yield
    except OVDiffError:
        raise
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(
            f"The weights of {settings.source!r}, {what}, do not fit into the device's free memory. Free some of it, "
            f"or use a preset with fewer models or dtype 'float16'."
        ) from error
    except Exception as error:
        advice = "" if locate(settings) else _ADVICE
        words = shorten(str(error), 500, placeholder=" ...")
        raise WeightsError(f"{settings.source!r} does not load as {what}: {words}{advice}") from error


def load_transformer(model: Any, settings: ModelSettings, dtype: torch.dtype, **options: Any) -> Any:
    """Load a model of the transformers library.

    Args:
        model: the model's class.
        settings: where its files are.
        dtype: the dtype of all its weights.
        options: further arguments of ``from_pretrained``, such as fields of the model's configuration.

    Raises:
        WeightsError: tensors are missing, superfluous, or of another shape.
    """
    loaded, report = model.from_pretrained(
        **where(settings),
        dtype=dtype,
        weights_only=True,
        ignore_mismatched_sizes=True,  # The report names them, and _check refuses them.
        output_loading_info=True,
        **options,
    )
    unexpected = [name for name in report["unexpected_keys"] if not _LEFT_OUT.search(name)]
    _check(settings.source, model.__name__, {**report, "unexpected_keys": unexpected})
    return loaded.requires_grad_(False).eval()


def load_diffusion(settings: DiffusionModelSettings) -> StableDiffusionPipeline:
    """Load a latent diffusion pipeline without its safety checker; its adapter is fused into the weights.

    Raises:
        WeightsError: tensors of the UNet, the VAE or the text encoder are missing, superfluous, or of another shape; or
            the adapter does not fit.
    """
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    dtype, variant = DTYPES[settings.dtype], settings.variant or None
    pipeline = StableDiffusionPipeline.from_pretrained(
        **where(settings),
        variant=variant,
        unet=_load_diffusion_part(UNet2DConditionModel, "unet", settings, dtype),
        vae=_load_diffusion_part(AutoencoderKL, "vae", settings, DTYPES[settings.vae_dtype]),
        text_encoder=load_transformer(CLIPTextModel, settings, dtype, subfolder="text_encoder", variant=variant),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    if settings.adapter is not None:
        with errors_of_loading(settings.adapter, "a LoRA of this pipeline"):
            fuse_adapter(pipeline, settings.adapter)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.requires_grad_(False).eval()
    return pipeline


def load_open_clip(settings: ModelSettings) -> tuple[open_clip.CLIP, open_clip.SimpleTokenizer]:
    """Load a CLIP of the open_clip library in float32, and its tokenizer.

    Raises:
        WeightsError: the folder holds no such model, tensors are missing or superfluous, or the model is of another
            architecture than OpenAI's: its image tower must be a plain vision transformer, its tokenizer CLIP's own.
        MissingExtraError: open_clip is not installed.
    """
    with naming_the_extra("models.clip.library 'open_clip'"):
        import open_clip

    folder = locate(settings) or _fetch_open_clip(settings)
    config = json.loads((folder / _OPEN_CLIP_CONFIG).read_text("utf-8"))["model_cfg"]
    _check_open_clip(settings.source, config)
    config["quick_gelu"] = config.get("quick_gelu", False) or _trained_with_quick_gelu(settings.source)
    with torch.device("meta"):  # No weights are allocated or drawn at random; the file's tensors take their places.
        model = open_clip.CLIP(**config)
    tensors = {name: tensor.float() for name, tensor in _read_open_clip(folder).items()}
    _check(settings.source, "CLIP of open_clip", _compare(tensors, model.state_dict()))
    model.load_state_dict(tensors, assign=True)
    model.attn_mask = _causal_mask(model.context_length)  # The only buffer that is in no file.
    options = config["text_cfg"].get("tokenizer_kwargs", {})
    words = open_clip.SimpleTokenizer(context_length=model.context_length, **options)
    return model.requires_grad_(False).eval(), words


def _load_diffusion_part(model: Any, name: str, settings: DiffusionModelSettings, dtype: torch.dtype) -> Any:
    loaded, report = model.from_pretrained(
        **where(settings), subfolder=name, variant=settings.variant or None, dtype=dtype, output_loading_info=True
    )
    _check(f"{settings.source}/{name}", model.__name__, report)
    return loaded


def _fetch_open_clip(settings: ModelSettings) -> Path:
    """Download a hub repository's configuration and the first of the known weights files that it has."""
    for name in _OPEN_CLIP_FILES:
        wanted = [_OPEN_CLIP_CONFIG, name]
        folder = Path(snapshot_download(settings.source, revision=settings.revision or None, allow_patterns=wanted))
        if (folder / name).is_file():
            break
    return folder


def _read_open_clip(folder: Path) -> dict[str, torch.Tensor]:
    file = next((folder / name for name in _OPEN_CLIP_FILES if (folder / name).is_file()), None)
    if file is None:
        raise WeightsError(f"{folder} holds no weights of open_clip: {' or '.join(_OPEN_CLIP_FILES)}.")
    if file.suffix == ".safetensors":
        return load_file(file)
    tensors: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return tensors


def _trained_with_quick_gelu(source: str) -> bool:
    """Say whether open_clip's own table of models gives a hub id's weights OpenAI's activation, QuickGELU.

    The repository's configuration may leave the activation out, so the library reads it from this table. With the wrong
    activation everything loads, but the features are poor.
    """
    import open_clip

    known = (open_clip.get_pretrained_cfg(*entry) for entry in open_clip.list_pretrained())
    return any(entry.get("quick_gelu") and entry.get("hf_hub", "").strip("/") == source for entry in known)


def _check_open_clip(source: str, config: Mapping[str, Any]) -> None:
    special = {"timm_model_name", "attentional_pool"} & set(config["vision_cfg"])
    special |= {"hf_model_name", "hf_tokenizer_name"} & set(config["text_cfg"])
    special |= {"custom_text", "multimodal_cfg"} & set(config)
    if special:
        raise WeightsError(
            f"{source!r} is a model of open_clip with {', '.join(sorted(special))}; only OpenAI's architecture can be "
            f"read: a plain vision transformer, and CLIP's own tokenizer. Choose a model of this architecture."
        )


def _causal_mask(length: int) -> torch.Tensor:
    """Return the mask (length, length) that is added to attention, so that no token sees a later token."""
    return torch.full((length, length), float("-inf")).triu(1)


def _compare(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> dict[str, list[Any]]:
    """Return the differences between two sets of tensors, in the form of the libraries' reports."""
    shapes = [(name, found[name].shape, wanted[name].shape) for name in found.keys() & wanted.keys()]
    return {
        "missing_keys": list(wanted.keys() - found.keys()),
        "unexpected_keys": list(found.keys() - wanted.keys()),
        "mismatched_keys": [(name, shape, expected) for name, shape, expected in shapes if shape != expected],
    }


def _check(source: str, what: str, report: Mapping[str, Collection[Any]]) -> None:
    """Refuse a model that was not read completely; ``mismatched_keys`` are (name, found shape, wanted shape)."""
    if missing := sorted(report["missing_keys"]):
        raise WeightsError(f"{source!r} lacks {len(missing)} weights of a {what}, such as {missing[0]!r}.")
    if unexpected := sorted(report["unexpected_keys"]):
        raise WeightsError(
            f"{source!r} has {len(unexpected)} weights that a {what} of its configuration does not have, "
            f"such as {unexpected[0]!r}. Do its configuration and its weights belong together?"
        )
    if mismatched := sorted(report.get("mismatched_keys", ())):
        name, found, wanted = mismatched[0]
        raise WeightsError(
            f"{source!r} has {len(mismatched)} weights of another shape than its configuration says, such as "
            f"{name!r}: {tuple(found)} instead of {tuple(wanted)}."
        )
