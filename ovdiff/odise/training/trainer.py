"""The training loop: AdamW on cached features, averaged weights, checkpoints from which a run continues (C.4).

A step depends on its number, the seed, the weights and the store alone, so that a run that was killed continues to the
same numbers. Processes that train together (`ovdiff.odise.training.processes`) each take a part of the step's views.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ovdiff.errors import PresetError, TrainingError
from ovdiff.odise.encoding import WindowEncoder, WindowGrid
from ovdiff.odise.head import OdiseHead, best_of_synonyms
from ovdiff.odise.mask_generator import Masks
from ovdiff.odise.naming import LabelTexts
from ovdiff.odise.preset import OdisePreset, TrainingSettings
from ovdiff.odise.training.checkpoint import Checkpoint
from ovdiff.odise.training.feature_store import Batch, FeatureStore
from ovdiff.odise.training.grounding import grounding_loss
from ovdiff.odise.training.losses import (
    Matches,
    Target,
    mask_loss,
    match,
    name_loss,
    objectness_loss,
    stacked,
    targets_of,
)
from ovdiff.odise.training.processes import process_count, process_number, sum_of_all, wait_for_all

Report = Callable[[int, dict[str, float]], None]


class CaptionWords(NamedTuple):
    """The words that a step draws from the captions of a batch.

    Attributes:
        embeddings: (B, W, P), CLIP's texts of each view's words.
        excused: (B, B) bool, see :func:`ovdiff.odise.training.grounding.grounding_loss`.
    """

    embeddings: Tensor
    excused: Tensor


DrawWords = Callable[[Sequence[Sequence[str]], np.random.Generator], CaptionWords]


@dataclass
class _Course:
    """What changes from step to step, apart from the head."""

    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: dict[str, Tensor]
    step: int = 0


@dataclass
class Trainer:
    """One training of a head.

    Attributes:
        preset: the losses and rates.
        head: what is trained, in place.
        encoder: the frozen models, for a captioner that learns; else they are not used.
        store: the features.
        grid: how a view was cut into windows.
        texts: the labels; ``None`` if the masks have no names.
        words: draws words from captions; ``None`` if captions do not matter.
        checkpoint: the file from which an interrupted run continues.
        key: what the training is: a checkpoint in which an entry differs is refused by the entry's name.
        stuff: the labels that are stuff.
    """

    preset: OdisePreset
    head: OdiseHead
    encoder: WindowEncoder
    store: FeatureStore
    grid: WindowGrid
    texts: LabelTexts | None
    words: DrawWords | None
    checkpoint: Path
    key: Mapping[str, str] = field(default_factory=dict)
    stuff: frozenset[int] = frozenset()

    def run(self, steps: int, report: Report) -> dict[str, Tensor]:
        """Train up to step ``steps`` of the plan, and return the averaged weights.

        Args:
            steps: where to stop; a later call continues.
            report: called after every step with its number and figures.

        Raises:
            TrainingError: the checkpoint is of another training, or the loss is no number any more.
        """
        plan, course = self.preset.training, self._course
        self.head.train()
        losses = self._losses_of_all()
        for number in range(course.step, steps):
            for group in course.optimizer.param_groups:
                group["lr"] = plan.learning_rate * group["factor"] * rate(number, plan)
            figures = self._step(number, losses)
            _follow(course.average, self.head, plan.ema, number, keeps_captioner=self.store.has_unet)
            course.step = number + 1
            report(number, figures)
            if course.step % plan.checkpoint_every == 0 or course.step == steps:
                self._save()
        return {key: value.clone() for key, value in course.average.items()}

    def done(self) -> int:
        """Return how many steps are done; at first those of the checkpoint, whose weights the head takes.

        Raises:
            TrainingError: the checkpoint is of another training, or is damaged.
        """
        return self._course.step

    def _step(self, number: int, losses: nn.Module) -> dict[str, float]:
        optimizer, scaler = self._course.optimizer, self._course.scaler
        plan, device = self.preset.training, next(self.head.parameters()).device
        rng = np.random.default_rng([plan.seed, number])
        torch.manual_seed(plan.seed * 1_000_003 + number)
        views = np.sort(rng.choice(len(self.store), min(plan.batch, len(self.store)), replace=False))
        own = self.store.batch(_own_part(views))
        batch = replace(own, captions=self.store.captions(views), images=self.store.images(views)).on(device)
        with _autocast(plan, device):
            parts = losses(batch, rng, mirror=bool(plan.mirror and rng.random() < 0.5))
        total = torch.stack(list(parts.values())).sum() * process_count()  # The library divides gradients by the count.
        if not bool(torch.isfinite(total)):
            raise TrainingError(
                f"The loss of step {number + 1} is {total.item()}. Lower training.learning_rate "
                f"({plan.learning_rate:g}), or set training.autocast ({plan.autocast!r}) and the models' dtype to full "
                f'precision: "none" and "float32".'
            )
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self.head.parameters(), plan.max_gradient)
        scaler.step(optimizer)
        scaler.update()
        # Each process has the captions' loss whole, and its share of the others.
        whole = {key: (value if key == "caption" else sum_of_all(value)).item() for key, value in parts.items()}
        return {"loss": sum(whole.values()), "gradient": norm.item(), **whole}

    def _losses_of_all(self) -> nn.Module:
        """Return :meth:`losses` as a module, whose gradients are the mean over the processes that train together."""
        losses = _Losses(self)
        return DistributedDataParallel(losses, find_unused_parameters=True) if process_count() > 1 else losses

    def losses(self, batch: Batch, rng: np.random.Generator, *, mirror: bool) -> dict[str, Tensor]:
        """Return the weighted losses of a batch by name."""
        taps = self._taps(batch)
        segments = batch.segments.flip(-1) if mirror else batch.segments
        targets = targets_of(segments, batch.names, batch.partial, self.stuff)
        layers = self.head.find(taps, self.grid, mirror=mirror)
        with torch.autocast(taps[0].device.type, enabled=False):
            masks = stacked(layers)
            found, matches = self._losses_of_names(masks, targets)
            found["mask"] = mask_loss(masks.logits, matches, targets, self.preset.loss)
            if self.words is not None:
                words = self.words(batch.captions, rng)
                found["caption"] = self._loss_of_captions(masks, matches, words, batch.images)
        return found

    def _losses_of_names(self, masks: Masks, targets: Sequence[Target]) -> tuple[dict[str, Tensor], Matches]:
        """Match masks with segments, and return the loss of names, or of "a segment or nothing" without names."""
        settings, logits = self.preset.loss, masks.logits
        if self.texts is None:
            if masks.objects is None:
                raise PresetError("classifier.void is 'null'; a head without names needs 'objectness'.")
            matches = match(logits, None, targets, settings)
            loss = objectness_loss(masks.objects, logits, matches, targets, settings)
            return {"object": settings.name * loss}, matches
        scores, null = self.head.names(masks.embeddings.flatten(0, 1), self.texts.embeddings)
        names = best_of_synonyms(scores, self.texts.owners, self.texts.labels)
        names, null = (each.unflatten(0, logits.shape[:2]) for each in (names, null))
        shares = torch.cat([names, null[..., None]], dim=-1).softmax(dim=-1)[..., :-1]
        matches = match(logits, shares, targets, settings)
        return {"name": settings.name * name_loss(names, null, logits, matches, targets, settings)}, matches

    def _loss_of_captions(self, masks: Masks, matches: Matches, words: CaptionWords, images: Sequence[int]) -> Tensor:
        """Return the loss of the last layer's masks with words. Views of one image are no negatives of one another."""
        settings = self.preset.loss
        said, _ = self.head.names(masks.embeddings[-1], words.embeddings.flatten(0, 1))
        grounded = said.unflatten(2, words.embeddings.shape[:2])
        counted = None
        if settings.grounded == "matched":
            counted = torch.zeros(grounded.shape[:2], dtype=torch.bool, device=grounded.device)
            last = matches.layers == len(masks.logits) - 1
            counted[matches.images[last], matches.queries[last]] = True
        shown = torch.tensor(images, device=words.excused.device)
        excused = words.excused | (shown[:, None] == shown[None])
        return settings.grounding * grounding_loss(grounded, excused, counted)

    def _taps(self, batch: Batch) -> list[Tensor]:
        unet = batch.unet
        if unet is None:
            with torch.set_grad_enabled(self.head.captioner is not None):
                unet = self.encoder.unet(batch.latents.float(), batch.embeddings.float(), self.head.captioner)
        return [tap.float() for tap in (*batch.maps, *unet)]

    def _groups(self) -> list[dict[str, object]]:
        """Return the parameters in groups: matrices decay and vectors do not; the captioner has a rate of its own."""
        plan = self.preset.training
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.head.named_parameters():
            groups.setdefault((parameter.dim() > 1, name.startswith("captioner.")), []).append(parameter)
        return [
            {
                "params": parameters,
                "weight_decay": plan.weight_decay if matrix else 0.0,
                "factor": plan.captioner_rate if captioner else 1.0,
            }
            for (matrix, captioner), parameters in groups.items()
        ]

    @cached_property
    def _course(self) -> _Course:
        """The course as the checkpoint has it, which is read once; without one it begins."""
        plan, device = self.preset.training, next(self.head.parameters()).device
        optimizer = torch.optim.AdamW(self._groups(), lr=plan.learning_rate, betas=(0.9, 0.999))
        scaler = torch.amp.GradScaler(device.type, enabled=plan.autocast == "float16" and device.type == "cuda")
        saved = self._file.read()
        if not saved:
            average = {key: value.detach().clone() for key, value in self.head.state_dict().items()}
            return _Course(optimizer, scaler, average)
        self.head.load_state_dict(saved["head"])
        optimizer.load_state_dict(saved["optimizer"])
        if saved.get("scaler"):
            scaler.load_state_dict(saved["scaler"])
        average = {key: value.to(device) for key, value in saved["average"].items()}
        return _Course(optimizer, scaler, average, int(saved["step"]))

    def _save(self) -> None:
        if process_number() == 0:
            course = self._course
            states = {"head": self.head.state_dict(), "optimizer": course.optimizer.state_dict()}
            more = {"scaler": course.scaler.state_dict(), "average": course.average, "step": course.step}
            self._file.write({**states, **more})
        wait_for_all()

    @property
    def _file(self) -> Checkpoint:
        return Checkpoint(self.checkpoint, self.key)


class _Losses(nn.Module):
    """The losses of a trainer as a module, which DistributedDataParallel can wrap."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self.head = trainer.head
        self._trainer = trainer

    def forward(self, batch: Batch, rng: np.random.Generator, *, mirror: bool) -> dict[str, Tensor]:
        return self._trainer.losses(batch, rng, mirror=mirror)


def _own_part(views: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return this process's part of a step's views: an equal run of them.

    Raises:
        TrainingError: the views cannot be divided among the processes.
    """
    count = process_count()
    if len(views) % count:
        raise TrainingError(
            f"{len(views)} views a step cannot be divided among {count} processes. Let training.batch and the number "
            f"of views be multiples of {count}."
        )
    size = len(views) // count
    return views[process_number() * size :][:size]


def rate(number: int, plan: TrainingSettings) -> float:
    """Return the learning rate of a step as a multiple of the plan's (C.4)."""
    if number < plan.warmup:
        return (number + 1) / plan.warmup
    done = (number - plan.warmup) / max(1, plan.steps - plan.warmup)
    if plan.schedule == "steps":
        return float(0.1 ** sum(number >= plan.steps * share for share in (0.889, 0.963)))
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


@torch.no_grad()
def _follow(average: dict[str, Tensor], head: nn.Module, decay: float, number: int, *, keeps_captioner: bool) -> None:
    """Move the averaged weights towards the head's; the first steps count more, so that no first weight is left.

    A captioner that learns no more is taken as it is: the stored features were made with it, and not with an average.
    """
    share = 1 - min(decay, (1 + number) / (10 + number))
    for key, value in head.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value, 1.0 if keeps_captioner and key.startswith("captioner.") else share)


@contextmanager
def _autocast(plan: TrainingSettings, device: torch.device) -> Iterator[None]:
    with torch.autocast(device.type, getattr(torch, plan.autocast, None), enabled=plan.autocast != "none"):
        yield
