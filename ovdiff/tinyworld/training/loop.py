"""One training loop for all four models, with AdamW, bf16 autocast, EMA, and checkpoints from which a run continues.

Each process uses one thread, because on a shared machine a second OpenMP thread makes a step many times slower.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from converters.files.atomic import delete_left_overs, whole_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """The length and the rates of a training.

    After ``warmup`` steps the learning rate falls along a cosine, down to 2 % of ``learning_rate`` at the last step.
    """

    steps: int
    batch: int
    learning_rate: float
    warmup: int = 100
    ema_decay: float = 0.998
    weight_decay: float = 0.01
    seed: int = 0
    checkpoint_every: int = 200


Step = Callable[[int, np.random.Generator], tuple[Tensor, dict[str, float]]]


def train(name: str, model: nn.Module, step: Step, plan: Plan, runs: Path) -> nn.Module:
    """Train ``model`` in place and return it with its EMA weights.

    Args:
        name: the name of the checkpoint ``runs/NAME.pt``, from which an interrupted run continues.
        model: the module that holds all trained parameters.
        step: called with the step's number and a generator seeded with it; returns the loss, and figures to log.
        plan: the number of steps and the rates.
        runs: the folder of checkpoints.
    """
    torch.set_num_threads(1)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=plan.weight_decay
    )
    average = {key: value.detach().clone() for key, value in model.state_dict().items()}
    path, start = runs / f"{name}.pt", 0
    delete_left_overs(runs, path.name)
    if path.exists():
        saved = torch.load(path, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average, start = saved["average"], saved["step"]
    model.train()
    begun = time.monotonic()
    for number in range(start, plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * _rate(number, plan)
        torch.manual_seed(plan.seed * 1_000_003 + number)
        with torch.autocast("cpu", torch.bfloat16):
            loss, figures = step(number, np.random.default_rng([plan.seed, number]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay = min(plan.ema_decay, (1 + number) / (10 + number))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                average[key].lerp_(value, 1 - decay)
        if number % 20 == 0:
            pace = (time.monotonic() - begun) / (number - start + 1)
            shown = " ".join(f"{key} {value:.4f}" for key, value in figures.items())
            logger.info("%s step %d/%d, %.2f s a step: %s", name, number, plan.steps, pace, shown)
        if (number + 1) % plan.checkpoint_every == 0 or number + 1 == plan.steps:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
            with whole_file(path) as file:
                torch.save({**state, "step": number + 1}, file)
    model.load_state_dict(average)
    return model.eval()


def _rate(number: int, plan: Plan) -> float:
    if number < plan.warmup:
        return (number + 1) / plan.warmup
    done = (number - plan.warmup) / max(1, plan.steps - plan.warmup)
    return float(0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(done, 1.0))))


def to_input(images: NDArray[np.uint8]) -> Tensor:
    """Turn (B, H, W, 3) uint8 into a channels-last (B, 3, H, W) float tensor in [-1, 1]."""
    tensor = torch.tensor(images).permute(0, 3, 1, 2).float()
    return (tensor / 127.5 - 1).contiguous(memory_format=torch.channels_last)
