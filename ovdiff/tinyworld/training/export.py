"""Export the trained models, in half precision, to the folder from which they are loaded.

Command: ``python -m ovdiff.tinyworld.training.export RUNS [FOLDER]``, which takes seconds. It exports the averaged
weights of the newest checkpoints, so an unfinished training can be tried out. A model without a checkpoint is left out.
Tested by tests/ovdiff/tinyworld/training/test_training.py.
"""

import sys
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import nn
from transformers import CLIPImageProcessor, ViTImageProcessor

from ovdiff.tinyworld import weights_dir
from ovdiff.tinyworld.training import clip, diffusion, dino, tokenizer
from ovdiff.tinyworld.training.data import SIZE_PX

_HALF = [0.5, 0.5, 0.5]
_INPUT: dict[str, Any] = {
    "size": {"height": SIZE_PX, "width": SIZE_PX},
    "image_mean": _HALF,
    "image_std": _HALF,
}
"""All models were trained on images of this size in [-1, 1]."""

Model = TypeVar("Model", bound=nn.Module)


def _averaged(model: Model, checkpoint: Path) -> Model:
    """Load a checkpoint's EMA weights."""
    model.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu")["average"])
    return model.eval()


def export_stable_diffusion(runs: Path, folder: Path) -> None:
    """Write the pipeline: autoencoder, UNet, text encoder, tokenizer, scheduler."""
    words = tokenizer.build()
    newest = [path for name in diffusion.ROUNDS if (path := runs / f"{name}.pt").exists()][-1]
    trained = _averaged(diffusion.TextToLatent(words), newest)
    StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(runs / "vae", low_cpu_mem_usage=False),
        text_encoder=trained.text_encoder,
        tokenizer=words,
        unet=trained.unet,
        scheduler=diffusion.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(torch.float16).save_pretrained(folder)


def export_clip(runs: Path, folder: Path) -> None:
    """Write the CLIPModel with its tokenizer and image processor."""
    words = tokenizer.build()
    _averaged(clip.build(words), runs / "clip_second.pt").half().save_pretrained(folder)
    words.save_pretrained(folder)
    CLIPImageProcessor(**_INPUT, crop_size=_INPUT["size"], do_center_crop=False).save_pretrained(folder)


def export_dino(runs: Path, folder: Path) -> None:
    """Write the teacher's ViTModel with its image processor."""
    _averaged(dino.StudentAndTeacher(), runs / "dino.pt").teacher.vit.half().save_pretrained(folder)
    ViTImageProcessor(**_INPUT).save_pretrained(folder)


def main(runs: Path, folder: Path) -> None:
    """Export every model that has a checkpoint of its first round, or, for CLIP, of its second."""
    exporters = {
        "diffusion": (export_stable_diffusion, "stable_diffusion"),
        "clip_second": (export_clip, "clip"),
        "dino": (export_dino, "dino"),
    }
    for name, (export, target) in exporters.items():
        if (runs / f"{name}.pt").exists():
            export(runs, folder / target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else weights_dir())
