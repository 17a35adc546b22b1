"""One training loop for all four models, with AdamW, bf16 autocast, EMA, and checkpoints from which a run continues.

Each process uses one thread, because on a shared machine a second OpenMP thread makes a step many times slower.
A training runs where a :class:`Place` says, and is as long as its plan's steps or, where the place has a clock for it,
as many seconds: on a GPU a machine is lent for minutes, and nobody knows how many steps these are.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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


class PausedError(Exception):
    """The place's deadline came before the training's end; the next call goes on from the checkpoint."""


@dataclass(frozen=True)
class Place:
    """Where and until when trainings run.

    Attributes:
        device: a torch device.
        seconds: how long a training takes altogether, by its name; its learning rate then falls by that clock and not
            by the number of steps. A training without an entry takes its plan's steps.
        deadline: when this process must end, by ``time.monotonic``; an unfinished training then raises `PausedError`.
    """

    device: str = "cpu"
    seconds: Mapping[str, float] = field(default_factory=dict)
    deadline: float = float("inf")


ON_THE_CPU = Place()
"""The processor, for as many steps as the plan has."""

Step = Callable[[int, np.random.Generator], tuple[Tensor, dict[str, float]]]


def train(name: str, model: nn.Module, step: Step, plan: Plan, runs: Path, place: Place = ON_THE_CPU) -> nn.Module:
    """Train ``model`` in place and return it with its EMA weights.

    Args:
        name: the name of the checkpoint ``runs/NAME.pt``, from which an interrupted run continues.
        model: the module that holds all trained parameters, on the place's device.
        step: called with the step's number and a generator seeded with it; returns the loss, and figures to log.
        plan: the number of steps and the rates.
        runs: the folder of checkpoints.
        place: the device, and how long to train.

    Raises:
        PausedError: the place's deadline came first.
    """
    torch.set_num_threads(1)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=plan.weight_decay
    )
    average = {key: value.detach().clone() for key, value in model.state_dict().items()}
    path, number, earlier_s = runs / f"{name}.pt", 0, 0.0
    delete_left_overs(runs, path.name)
    if path.exists():
        # From the CPU, as the optimizer moves its means itself, but leaves its counts of steps where they are: on a GPU
        # each would be waited for in every step.
        saved = torch.load(path, weights_only=True, map_location="cpu")
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average = {key: value.to(place.device) for key, value in saved["average"].items()}
        number, earlier_s = saved["step"], saved.get("seconds", 0.0)
    model.train()
    begun, first = time.monotonic(), number
    clock_s = place.seconds.get(name)
    while (done := _done(number, earlier_s + time.monotonic() - begun, plan, clock_s)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * _rate(number, plan, None if clock_s is None else done)
        torch.manual_seed(plan.seed * 1_000_003 + number)
        with autocast(place.device):
            loss, figures = step(number, np.random.default_rng([plan.seed, number]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay = min(plan.ema_decay, (1 + number) / (10 + number))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                average[key].lerp_(value, 1 - decay)
        now = time.monotonic()
        if number % 20 == 0:
            pace = (now - begun) / (number - first + 1)
            shown = " ".join(f"{key} {value:.4f}" for key, value in figures.items())
            logger.info("%s step %d/%d, %.2f s a step: %s", name, number, plan.steps, pace, shown)
        number, elapsed_s = number + 1, earlier_s + now - begun
        last = _done(number, elapsed_s, plan, clock_s) >= 1
        if number % plan.checkpoint_every == 0 or last or now >= place.deadline:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
            with whole_file(path) as file:
                torch.save({**state, "step": number, "seconds": elapsed_s}, file)
        if now >= place.deadline and not last:
            raise PausedError(f"The training {name!r} was paused at step {number} after {elapsed_s:.0f} s.")
    model.load_state_dict(average)
    return model.eval()


def autocast(device: str) -> torch.autocast:
    """Return a context in which matrix products run in bf16 on a device."""
    return torch.autocast(torch.device(device).type, torch.bfloat16)


def _done(number: int, elapsed_s: float, plan: Plan, clock_s: float | None) -> float:
    """Return the share of a training that is done: of its steps, or of its seconds where it has a clock."""
    return number / plan.steps if clock_s is None else elapsed_s / clock_s


def _rate(number: int, plan: Plan, clock: float | None) -> float:
    """Return the share of the learning rate at a step; ``clock`` is the share of the seconds that are over."""
    if number < plan.warmup:
        return (number + 1) / plan.warmup
    done = (number - plan.warmup) / max(1, plan.steps - plan.warmup) if clock is None else clock
    return float(0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(done, 1.0))))


def to_input(images: NDArray[np.uint8]) -> Tensor:
    """Turn (B, H, W, 3) uint8 into a channels-last (B, 3, H, W) float tensor in [-1, 1]."""
    tensor = torch.tensor(images).permute(0, 3, 1, 2).float()
    return (tensor / 127.5 - 1).contiguous(memory_format=torch.channels_last)
