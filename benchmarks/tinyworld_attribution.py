"""Does attribution find the object in generated images? Held against a judge that has seen every drawn mask.

Command: ``python benchmarks/tinyworld_attribution.py RUNS --out benchmarks/results/tinyworld_attribution.json``.
Generated images have no true masks. The judge is a small segmentation UNet, trained here on the drawn scenes as the
autoencoder reproduces them (generated images are as soft as those); it is used for this measurement only and is not
shipped. Its own mIoU on held-out scenes is reported beside what it judges. Needs the training set in RUNS.
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

from converters.evaluate import category_ious, confusion_matrix
from ovdiff import load_preset
from ovdiff.building import make_support_set
from ovdiff.parts import Parts
from ovdiff.tinyworld import weights_dir
from ovdiff.tinyworld.training.data import SIZE_PX, load_training_set
from ovdiff.tinyworld.training.loop import Plan, to_input, train
from ovdiff.tinyworld.world import NAMES, THINGS, render, sample_scene

PLAN = Plan(steps=700, batch=16, learning_rate=2e-3, warmup=50, ema_decay=0.98, seed=6)
_TRAINED_ON = 6000
_MIN_SEEN = 0.01
"""An image counts as showing its thing where the judge gives the thing this share of the pixels."""


def build_judge() -> UNet2DModel:
    """Build the untrained judge: images (B, 3, 64, 64) to logits over the world's names."""
    return UNet2DModel(
        sample_size=SIZE_PX,
        in_channels=3,
        out_channels=len(NAMES),
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
    """Return logits (B, names, 64, 64)."""
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
        wanted = torch.from_numpy(data.label_maps[picked].astype(np.int64))
        loss = F.cross_entropy(logits, wanted)
        return loss, {"loss": loss.item(), "right": (logits.argmax(1) == wanted).float().mean().item()}

    train("judge", judge, step, PLAN, runs)
    return judge.eval()


@torch.inference_mode()
def judged(judge: UNet2DModel, images: Tensor) -> NDArray[np.int64]:
    """Return the judge's label maps (B, 64, 64), indices into the world's names."""
    return np.concatenate([judge_logits(judge, part).argmax(dim=1).numpy() for part in torch.split(images, 32)])


def judge_quality(judge: UNet2DModel, vae: AutoencoderKL, scenes: int = 150) -> float:
    """Return the judge's mIoU over things on held-out scenes, reproduced by the autoencoder."""
    renderings = [render(sample_scene(index, "thresholds"), SIZE_PX) for index in range(scenes)]
    found = judged(judge, reproduce(vae, np.stack([each.image for each in renderings])))
    total = sum(
        confusion_matrix(each.label_map.astype(np.int64), labels, len(NAMES) - 1)
        for each, labels in zip(renderings, found, strict=True)
    )
    return float(np.nanmean(category_ious(np.asarray(total))[: len(THINGS)]))


def measure(judge: UNet2DModel, parts: Parts, name: str) -> dict[str, float]:
    """Return the figures of one thing: images that show it, peaks inside it, IoU of the foreground."""
    support = make_support_set(parts, [name], lambda _stage, _done: None)
    labels = judged(judge, to_input(np.stack([item.image for item in support.images])))
    seen, peaks, ious = 0, [], []
    for item, label_map in zip(support.images, labels, strict=True):
        mask = label_map == NAMES.index(name)
        if mask.mean() < _MIN_SEEN:
            continue
        seen += 1
        peaks.append(bool(mask.ravel()[item.attribution.argmax()]))
        ious.append((mask & item.foreground).sum() / (mask | item.foreground).sum())
    count = len(support.images)
    return {"shown": seen / count, "peak": float(np.mean(peaks or [False])), "iou": float(np.mean(ious or [0]))}


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
    parts = Parts(load_preset(options.preset), "cpu")
    rows = {name: measure(judge, parts, name) for name in THINGS}
    rows["mean"] = {key: float(np.mean([row[key] for row in rows.values()])) for key in ("shown", "peak", "iou")}
    write("| thing | images that show it | peak inside | IoU |\n| --- | --- | --- | --- |")
    for name, row in rows.items():
        write(f"| {name} | {row['shown']:.2f} | {row['peak']:.2f} | {row['iou']:.2f} |")
    quality = judge_quality(judge, vae)
    write(f"the judge's own mIoU of things on held-out scenes: {quality:.3f}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"judge": quality, "things": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
