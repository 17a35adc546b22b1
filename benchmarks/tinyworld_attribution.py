"""Does attribution find the object in generated images? Held against a judge that has seen the drawn masks.

Command: ``python benchmarks/tinyworld_attribution.py RUNS --out benchmarks/results/tinyworld_attribution.json``.
Generated images have no true masks. The judge is a small segmentation UNet, trained here to tell things from all
else on the drawn scenes as the autoencoder reproduces them (generated images are as soft as those); it is used for
this measurement only and is not shipped. Its own IoU on held-out scenes is reported beside what it judges. Whether
the thing is the right one is measured by :mod:`benchmarks.tinyworld_support`. Needs the training set in RUNS; ten
minutes for the judge.
"""

import argparse
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DModel
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ovdiff import load_preset
from ovdiff.building.parts import BuildingParts
from ovdiff.building.steps import make_support_set
from ovdiff.models.loaded import LoadedModels
from ovdiff.tinyworld import weights_dir
from ovdiff.tinyworld.training.data import SIZE_PX, load_training_set
from ovdiff.tinyworld.training.loop import Plan, to_input, train
from ovdiff.tinyworld.world import THINGS, render, sample_scene

PLAN = Plan(steps=900, batch=16, learning_rate=2e-3, warmup=50, ema_decay=0.98, seed=6)
_TRAINED_ON = 6000
FIGURES = ("shown", "peak", "iou")
_MIN_SEEN = 0.01
"""An image counts as showing something where the judge gives things this share of the pixels."""


def build_judge() -> UNet2DModel:
    """Build the untrained judge: images (B, 3, 64, 64) to logits of (no thing, thing)."""
    return UNet2DModel(
        sample_size=SIZE_PX,
        in_channels=3,
        out_channels=2,
        block_out_channels=(32, 64, 96, 96),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * 4,
        up_block_types=("UpBlock2D",) * 4,
        add_attention=False,
    )


@torch.inference_mode()
def reproduce(vae: AutoencoderKL, images: NDArray[np.uint8]) -> Tensor:
    """Pass images (B, 64, 64, 3) through the autoencoder; (B, 3, 64, 64) in [-1, 1]."""
    parts = []
    with torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(images), 64):
            latents = vae.encode(to_input(images[start : start + 64])).latent_dist.mean
            parts.append(vae.decode(latents).sample.clamp(-1, 1).half())
    return torch.cat(parts)


def judge_logits(judge: UNet2DModel, images: Tensor) -> Tensor:
    """Return logits (B, 2, 64, 64)."""
    return judge(images.float(), torch.zeros(len(images), dtype=torch.long)).sample.float()


def train_judge(vae: AutoencoderKL, runs: Path) -> UNet2DModel:
    """Train the judge, or load it from the checkpoint in RUNS."""
    data = load_training_set(runs)
    chosen = np.arange(_TRAINED_ON)
    judge = build_judge()
    images = reproduce(vae, data.images[chosen]) if not (runs / "judge.pt").exists() else torch.empty(0)

    def step(number: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        picked = rng.choice(_TRAINED_ON, PLAN.batch, replace=False)
        logits = judge_logits(judge, images[torch.from_numpy(picked)])
        wanted = torch.from_numpy((data.label_maps[picked] < len(THINGS)).astype(np.int64))
        loss = F.cross_entropy(logits, wanted)
        return loss, {"loss": loss.item(), "right": (logits.argmax(1) == wanted).float().mean().item()}

    train("judge", judge, step, PLAN, runs)
    return judge.eval()


@torch.inference_mode()
def judged(judge: UNet2DModel, images: Tensor) -> NDArray[np.bool_]:
    """Return where the judge sees things, (B, 64, 64)."""
    return np.concatenate([judge_logits(judge, part).argmax(dim=1).bool().numpy() for part in torch.split(images, 32)])


def judge_quality(judge: UNet2DModel, vae: AutoencoderKL, scenes: int = 150) -> float:
    """Return the judge's IoU of things on held-out scenes, reproduced by the autoencoder."""
    renderings = [render(sample_scene(index, "thresholds"), SIZE_PX) for index in range(scenes)]
    found = judged(judge, reproduce(vae, np.stack([each.image for each in renderings])))
    true = np.stack([each.label_map for each in renderings]) < len(THINGS)
    return float((true & found).sum() / (true | found).sum())


def measure(judge: UNet2DModel, parts: BuildingParts, name: str) -> dict[str, float]:
    """Return the figures of one thing: an object is seen, peaks inside an object, IoU of the foreground."""
    support = make_support_set(parts, [name], lambda _stage, _done: None)
    images = np.stack([item.image for item in support.images])
    peaks, ious = [], []
    for item, mask in zip(support.images, judged(judge, to_input(images)), strict=True):
        if mask.mean() >= _MIN_SEEN:
            peaks.append(bool(mask.ravel()[item.attribution.argmax()]))
            ious.append(float((mask & item.foreground).sum() / (mask | item.foreground).sum()))
    return {
        "shown": len(ious) / len(images),
        "peak": float(np.mean(peaks or [False])),
        "iou": float(np.mean(ious or [0.0])),
    }


def main(write: Callable[[str], None] = print) -> None:
    """Train the judge, measure each thing, print a table, write the figures."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", type=Path)
    parser.add_argument("--preset", default="tinyworld")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    vae = AutoencoderKL.from_pretrained(weights_dir() / "stable_diffusion" / "vae", low_cpu_mem_usage=False).float()
    judge = train_judge(vae, options.runs)
    parts = BuildingParts(load_preset(options.preset), LoadedModels("cpu"))
    rows = {name: measure(judge, parts, name) for name in THINGS}
    rows["mean"] = {key: float(np.mean([row[key] for row in rows.values()])) for key in FIGURES}
    write("| thing | an object is seen | peak inside it | IoU |\n| --- | --- | --- | --- |")
    for name, row in rows.items():
        write(f"| {name} | {' | '.join(f'{row[key]:.2f}' for key in FIGURES)} |")
    quality = judge_quality(judge, vae)
    write(f"\nthe judge's own IoU of things on held-out scenes: {quality:.3f}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"judge": quality, "things": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
