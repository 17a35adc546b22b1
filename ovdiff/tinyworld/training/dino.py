"""Train the self-supervised ViT: a dense DINO, which uses no caption and no mask.

Command: ``python -m ovdiff.tinyworld.training.dino RUNS``. An EMA teacher assigns each patch to one of 192 prototypes,
balanced by Sinkhorn-Knopp. The student must predict three assignments: that of the same place in another crop, those of
the patches that are masked in its own crop, and, from its class token, that of the whole image.
"""

import logging
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ViTConfig, ViTModel

from ovdiff.tinyworld.training.data import SIZE_PX, load_training_set
from ovdiff.tinyworld.training.loop import ON_THE_CPU, Place, Plan, to_input, train

PLAN = Plan(steps=1800, batch=32, learning_rate=1e-3, warmup=200, ema_decay=0.99, seed=4)
_PROTOTYPES = 192
_TEACHER_DECAY = 0.99
_MASKED = 0.3
_STUDENT_TEMPERATURE = 0.1
_TEACHER_TEMPERATURE = 0.05


def build() -> ViTModel:
    """Build the untrained ViT: width 128, four blocks, patches of 8 pixels."""
    config = ViTConfig(
        hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, image_size=SIZE_PX,
        patch_size=8, attn_implementation="eager",
    )  # fmt: skip
    return ViTModel(config, add_pooling_layer=False, use_mask_token=True)


class Branch(nn.Module):
    """A ViT and its projection onto prototypes: images (B, 3, 64, 64) to logits (B, 1 + 64, 192)."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = build()
        self.head = nn.Sequential(nn.Linear(128, 256), nn.GELU(), nn.Linear(256, 64))
        self.prototypes = nn.Parameter(torch.randn(_PROTOTYPES, 64))

    def forward(self, images: Tensor, masked: Tensor | None = None) -> Tensor:
        """Return each token's cosine to each prototype."""
        tokens = self.vit(images, bool_masked_pos=masked).last_hidden_state
        return F.normalize(self.head(tokens).float(), dim=-1) @ F.normalize(self.prototypes, dim=-1).T


class StudentAndTeacher(nn.Module):
    """The student, which is trained, and the teacher, which is the student's slow average."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = Branch(), Branch()
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)

    @torch.no_grad()
    def follow(self) -> None:
        """Move the teacher towards the student."""
        for slow, fast in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            slow.lerp_(fast, 1 - _TEACHER_DECAY)


def sinkhorn(logits: Tensor, rounds: int = 3) -> Tensor:
    """Turn logits (N, K) into soft assignments in which each prototype gets an equal share."""
    share = (logits / _TEACHER_TEMPERATURE).exp()
    for _ in range(rounds):
        share = share / share.sum(dim=0, keepdim=True)
        share = share / share.sum(dim=1, keepdim=True)
    return share


def sample_views(batch: int) -> Tensor:
    """Return affine maps (B, 2, 3) from a view's [-1, 1] frame to the image's: crops, half of them mirrored."""
    side = torch.empty(batch, 2).uniform_(0.5, 1)
    side[:, 1] = (side[:, 0] * torch.empty(batch).uniform_(0.85, 1.18)).clamp(0.45, 1)
    centre = (torch.rand(batch, 2) * 2 - 1) * (1 - side)
    flip = torch.where(torch.rand(batch) < 0.5, -1.0, 1.0)
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = side[:, 0] * flip, side[:, 1]
    theta[:, :, 2] = centre
    return theta


def take_view(images: Tensor, theta: Tensor) -> Tensor:
    """Cut the views out of the images, and vary their brightness and colour."""
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    views = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    gain = torch.empty(len(images), 3, 1, 1).uniform_(0.8, 1.2) * torch.empty(len(images), 1, 1, 1).uniform_(0.8, 1.2)
    shift = torch.empty(len(images), 3, 1, 1).uniform_(-0.15, 0.15)
    return (views * gain.to(views.device) + shift.to(views.device)).clamp(-1, 1)


def matched_places(here: Tensor, there: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return where the patch centres of view ``here`` are in view ``there``.

    Returns:
        Places (B, side * side, 2) in the [-1, 1] frame of ``there``, and (B, side * side) bool: which are inside it.
    """
    grid = F.affine_grid(here, [len(here), 1, side, side], align_corners=False).flatten(1, 2)
    scale = torch.stack([there[:, 0, 0], there[:, 1, 1]], dim=1)[:, None]
    places = (grid - there[:, None, :, 2]) / scale
    return places, (places.abs() < 1).all(dim=-1)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return -(target * (logits / _STUDENT_TEMPERATURE).log_softmax(dim=-1)).sum(dim=-1)


def main(runs: Path, place: Place = ON_THE_CPU) -> None:
    """Train and leave the checkpoint ``runs/dino.pt``."""
    data = load_training_set(runs)
    torch.manual_seed(PLAN.seed)
    model = StudentAndTeacher().to(place.device)
    side = SIZE_PX // 8

    def step(number: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        model.follow()
        chosen = np.sort(rng.choice(len(data), PLAN.batch, replace=False))
        images = to_input(data.images[chosen]).contiguous().to(place.device)
        frames = [sample_views(PLAN.batch).to(place.device), sample_views(PLAN.batch).to(place.device)]
        views = [take_view(images, frame) for frame in frames]
        masked = (torch.rand(2 * PLAN.batch, side * side) < _MASKED).to(place.device)
        with torch.no_grad():
            taught = model.teacher(torch.cat(views))
            targets = sinkhorn(taught[:, 1:].flatten(0, 1)).view(2 * PLAN.batch, side * side, -1)
            whole = sinkhorn(taught[:, 0])
        logits = model.student(torch.cat(views), masked)
        inside = _cross_entropy(logits[:, 1:], targets)[masked].mean()
        across = torch.zeros((), device=place.device)
        for a, b in ((0, 1), (1, 0)):
            places, seen = matched_places(frames[a], frames[b], side)
            here, there = (slice(v * PLAN.batch, (v + 1) * PLAN.batch) for v in (a, b))
            grid = targets[there].transpose(1, 2).reshape(PLAN.batch, -1, side, side)
            wanted = F.grid_sample(grid, places[:, None], align_corners=False, padding_mode="border")[:, :, 0]
            across = across + _cross_entropy(logits[here, 1:], wanted.transpose(1, 2))[seen].mean() / 2
        summary = _cross_entropy(logits[:, 0], whole.roll(PLAN.batch, 0)).mean()
        loss = inside + across + 0.5 * summary
        return loss, {"masked": inside.item(), "across": across.item(), "class": summary.item()}

    train("dino", model, step, PLAN, runs, place)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main(Path(sys.argv[1]))
