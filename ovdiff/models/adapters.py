"""LoRA adapters: low-rank changes of a pipeline's weights, which are fused into the weights when these are read.

With an adapter such as LCM-LoRA, Stable Diffusion 1.5 draws an image in four steps. A fused adapter costs nothing when
the model runs, and it leaves the pipeline with the layers that attribution and feature extraction look for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import hf_hub_download

from ovdiff.errors import WeightsError
from ovdiff.extras import naming_the_extra
from ovdiff.models.weights import locate
from ovdiff.presets.model_settings import AdapterSettings

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

_FILE = "pytorch_lora_weights.safetensors"  # diffusers' name for an adapter's file


def fuse_adapter(pipeline: StableDiffusionPipeline, settings: AdapterSettings) -> None:
    """Add a LoRA to the weights that it changes: W + scale * alpha / rank * B A. The pipeline gets no new layers.

    Raises:
        WeightsError: the pipeline lacks layers that the adapter has, or has them with other widths.
        MissingExtraError: peft, by which diffusers reads adapters, is not installed.
    """
    with naming_the_extra("models.generator.adapter"):
        import peft  # noqa: F401
    file = _adapter_file(settings)
    found: dict[str, Any] = {"weight_name": file.name, "local_files_only": True, "use_safetensors": True}
    tensors, _ = pipeline.lora_state_dict(str(file.parent), unet_config=pipeline.unet.config, **found)
    wanted = [name for name in tensors if not name.endswith("alpha")]
    pipeline.load_lora_weights(str(file.parent), **found)
    present = sum(
        "lora_" in name for part in (pipeline.unet, pipeline.text_encoder) for name, _ in part.named_parameters()
    )
    if not wanted or present != len(wanted):
        raise WeightsError(
            f"The adapter {settings.source!r} does not fit: {present} of its {len(wanted)} tensors have a place in "
            f"this pipeline. Is it a LoRA of another version of Stable Diffusion?"
        )
    pipeline.fuse_lora(lora_scale=settings.scale, safe_fusing=True)
    pipeline.unload_lora_weights()


def _adapter_file(settings: AdapterSettings) -> Path:
    """Return the adapter's file: a folder's only .safetensors file, or the file of diffusers' name for adapters."""
    folder = locate(settings)
    if folder is None:
        return Path(hf_hub_download(settings.source, _FILE, revision=settings.revision or None))
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if folder / _FILE in files:
        return folder / _FILE
    raise WeightsError(
        f"The adapter folder {folder} holds {len(files)} .safetensors files; leave only the adapter's file there, or "
        f"name that file {_FILE}."
    )
