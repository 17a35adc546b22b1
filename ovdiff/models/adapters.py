"""LoRA adapters: low-rank changes of a pipeline's weights, fused into them when they are read.

A few-step adapter such as LCM-LoRA makes Stable Diffusion 1.5 draw in four steps. Fused, it costs nothing when the
model runs, and attribution and features find the layers that they know.
"""

from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from huggingface_hub import hf_hub_download

from ovdiff.errors import WeightsError
from ovdiff.extras import naming_the_extra
from ovdiff.models.weights import locate
from ovdiff.presets.model_settings import AdapterSettings

_FILE = "pytorch_lora_weights.safetensors"  # diffusers' name for it


def fuse_adapter(pipeline: StableDiffusionPipeline, settings: AdapterSettings) -> None:
    """Add a LoRA to the weights that it changes, W + scale * alpha / rank * B A, and leave no layer of it behind.

    Raises:
        WeightsError: the adapter has layers that this pipeline has not, or of other widths.
        MissingExtraError: peft is not installed, which diffusers reads adapters with.
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
    """Return the adapter's one file: any .safetensors of a folder, diffusers' name for it of a hub repository."""
    folder = locate(settings)
    if folder is None:
        return Path(hf_hub_download(settings.source, _FILE, revision=settings.revision or None))
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if folder / _FILE in files:
        return folder / _FILE
    raise WeightsError(
        f"The adapter folder {folder} holds {len(files)} .safetensors files; leave one there, or name it {_FILE}."
    )
