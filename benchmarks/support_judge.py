"""The second judge of support images: a small ResNet that names the thing in an image, trained apart from the product.

It shares nothing with the product's CLIP but the world: another architecture, other scenes (numbered after those of
CLIP's rounds, one thing each), names and no captions as its supervision, and another seed. It is used for measurements
only and is not shipped. Half of what it sees is blurred, because generated images are softer than drawn ones.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import ResNetConfig, ResNetForImageClassification

from ovdiff.tinyworld.training.clip import CROWDED
from ovdiff.tinyworld.training.data import COUNT, SIZE_PX, load_training_set
from ovdiff.tinyworld.training.data import main as render_scenes
from ovdiff.tinyworld.training.loop import Plan, to_input, train
from ovdiff.tinyworld.world import THINGS, render, sample_scene

PLAN = Plan(steps=1000, batch=64, learning_rate=2e-3, warmup=50, ema_decay=0.98, seed=31)
SCENES = 6000
_FIRST = COUNT + CROWDED
_SOFTEST_PX = 32
"""A blurred image is shrunk to this side at least, and enlarged again."""


def build() -> ResNetForImageClassification:
    """Build the untrained judge: images (B, 3, 64, 64) in [-1, 1] to logits (B, 12), in the order of THINGS."""
    config = ResNetConfig(
        embedding_size=32, hidden_sizes=[32, 64, 128, 128], depths=[1, 1, 1, 1], layer_type="basic",
        num_labels=len(THINGS),
    )  # fmt: skip
    return ResNetForImageClassification(config)


def train_second_judge(runs: Path) -> ResNetForImageClassification:
    """Train the judge, or continue from its checkpoint in ``runs/second_judge`` (minutes on one thread)."""
    folder = runs / "second_judge"
    if not (folder / "seen.json").exists():
        render_scenes(folder, SCENES, things=1, first=_FIRST)
    data = load_training_set(folder)
    usable = np.array([number for number, things in enumerate(data.things) if len(things) == 1])
    torch.manual_seed(PLAN.seed)
    judge = build()

    def step(_number: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen = np.sort(rng.choice(usable, min(PLAN.batch, len(usable)), replace=False))
        logits = judge(_varied(to_input(data.images[chosen]), rng)).logits.float()
        wanted = torch.tensor([THINGS.index(data.things[number][0][0]) for number in chosen])
        loss = F.cross_entropy(logits, wanted)
        return loss, {"loss": loss.item(), "right": (logits.argmax(dim=1) == wanted).float().mean().item()}

    train("judge", judge, step, PLAN, folder)
    return judge.eval()


def _varied(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirror half of the batches, and blur half of them."""
    if rng.random() < 0.5:
        images = images.flip(-1)
    if rng.random() < 0.5:
        side = int(rng.integers(_SOFTEST_PX, SIZE_PX))
        small = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
        images = F.interpolate(small, size=(SIZE_PX, SIZE_PX), mode="bicubic").clamp(-1, 1)
    return images


@torch.inference_mode()
def name_things(judge: ResNetForImageClassification, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the index into THINGS that the judge gives each image (B, 64, 64, 3) uint8, as (B,)."""
    answers: NDArray[np.int64] = judge(to_input(images)).logits.argmax(dim=1).numpy()
    return answers


def accuracy(judge: Callable[[NDArray[np.uint8]], NDArray[np.int64]], scenes: int = 300) -> float:
    """Return the share of held-out drawn scenes of one thing in which a judge names the thing."""
    drawn = [
        scene for scene in (sample_scene(number, "thresholds", things=1) for number in range(scenes)) if scene.things
    ]
    answers = judge(np.stack([render(scene, SIZE_PX).image for scene in drawn]))
    return float(
        np.mean([THINGS[answer] == scene.things[0].name for answer, scene in zip(answers, drawn, strict=True)])
    )
