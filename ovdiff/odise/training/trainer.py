"""The training loop: AdamW on cached features, averaged weights, checkpoints from which a run continues (C.4)."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from converters.files.atomic import delete_left_overs, whole_file
from ovdiff.errors import PresetError
from ovdiff.odise.encoding import WindowEncoder, WindowGrid
from ovdiff.odise.head import OdiseHead, best_of_synonyms
from ovdiff.odise.naming import LabelTexts
from ovdiff.odise.preset import OdisePreset, TrainingSettings
from ovdiff.odise.training.feature_store import Batch, FeatureStore
from ovdiff.odise.training.grounding import grounding_loss
from ovdiff.odise.training.losses import mask_loss, match, name_loss, objectness_loss, stacked, targets_of

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
    """

    preset: OdisePreset
    head: OdiseHead
    encoder: WindowEncoder
    store: FeatureStore
    grid: WindowGrid
    texts: LabelTexts | None
    words: DrawWords | None
    checkpoint: Path

    def run(self, steps: int, report: Report) -> dict[str, Tensor]:
        """Train up to step ``steps`` of the plan, and return the averaged weights.

        Args:
            steps: where to stop; a later call continues.
            report: called after every step with its number and figures.
        """
        plan = self.preset.training
        optimizer = torch.optim.AdamW(self._groups(), lr=plan.learning_rate, betas=(0.9, 0.999))
        average = {key: value.detach().clone() for key, value in self.head.state_dict().items()}
        begun = self._resume(optimizer, average)
        self.head.train()
        for number in range(begun, steps):
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * group["factor"] * rate(number, plan)
            figures = self._step(number, optimizer)
            _follow(average, self.head, plan.ema, number)
            report(number, figures)
            if (number + 1) % plan.checkpoint_every == 0 or number + 1 == steps:
                self._save(optimizer, average, number + 1)
        return average

    def _step(self, number: int, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        plan = self.preset.training
        rng = np.random.default_rng([plan.seed, number])
        torch.manual_seed(plan.seed * 1_000_003 + number)
        views = np.sort(rng.choice(len(self.store), min(plan.batch, len(self.store)), replace=False))
        batch = self.store.batch(views)
        with _autocast(plan, batch.latents.device):
            losses = self.losses(batch, rng, mirror=bool(plan.mirror and rng.random() < 0.5))
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.head.parameters(), plan.max_gradient)
        optimizer.step()
        return {"loss": total.item(), "gradient": norm.item(), **{key: value.item() for key, value in losses.items()}}

    def losses(self, batch: Batch, rng: np.random.Generator, *, mirror: bool) -> dict[str, Tensor]:
        """Return the weighted losses of a batch by name."""
        settings, head = self.preset.loss, self.head
        taps = self._taps(batch)
        segments = batch.segments.flip(-1) if mirror else batch.segments
        targets = targets_of(segments, batch.names)
        layers = head.find(taps, self.grid, mirror=mirror)
        with torch.autocast(taps[0].device.type, enabled=False):
            masks = stacked(layers)
            if self.texts is None:
                matches = match(masks.logits, None, targets, settings)
                if masks.objects is None:
                    raise PresetError("classifier.void is 'null'; a head without names needs 'objectness'.")
                found = {
                    "object": settings.name * objectness_loss(masks.objects, masks.logits, matches, targets, settings)
                }
            else:
                scores, null = head.names(masks.embeddings.flatten(0, 1), self.texts.embeddings)
                names = best_of_synonyms(scores, self.texts.owners, self.texts.labels)
                names, null = (each.unflatten(0, masks.logits.shape[:2]) for each in (names, null))
                shares = torch.cat([names, null[..., None]], dim=-1).softmax(dim=-1)[..., :-1]
                matches = match(masks.logits, shares, targets, settings)
                found = {"name": settings.name * name_loss(names, null, masks.logits, matches, targets, settings)}
            found["mask"] = mask_loss(masks.logits, matches, targets, settings)
            if self.words is not None:
                words = self.words(batch.captions, rng)
                said, _ = head.names(layers[-1].embeddings.float(), words.embeddings.flatten(0, 1))
                grounded = said.unflatten(2, words.embeddings.shape[:2])
                counted = None
                if settings.grounded == "matched":
                    counted = torch.zeros(grounded.shape[:2], dtype=torch.bool, device=grounded.device)
                    last = matches.layers == len(layers) - 1
                    counted[matches.images[last], matches.queries[last]] = True
                found["caption"] = settings.grounding * grounding_loss(grounded, words.excused, counted)
        return found

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

    def _resume(self, optimizer: torch.optim.Optimizer, average: dict[str, Tensor]) -> int:
        delete_left_overs(self.checkpoint.parent, self.checkpoint.name)
        if not self.checkpoint.exists():
            return 0
        saved = torch.load(self.checkpoint, weights_only=True)
        self.head.load_state_dict(saved["head"])
        optimizer.load_state_dict(saved["optimizer"])
        average.update(saved["average"])
        return int(saved["step"])

    def _save(self, optimizer: torch.optim.Optimizer, average: dict[str, Tensor], step: int) -> None:
        state = {"head": self.head.state_dict(), "optimizer": optimizer.state_dict(), "average": average, "step": step}
        with whole_file(self.checkpoint) as file:
            torch.save(state, file)


def rate(number: int, plan: TrainingSettings) -> float:
    """Return the learning rate of a step as a multiple of the plan's (C.4)."""
    if number < plan.warmup:
        return (number + 1) / plan.warmup
    done = (number - plan.warmup) / max(1, plan.steps - plan.warmup)
    if plan.schedule == "steps":
        return float(0.1 ** sum(number >= plan.steps * share for share in (0.889, 0.963)))
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


@torch.no_grad()
def _follow(average: dict[str, Tensor], head: nn.Module, decay: float, number: int) -> None:
    """Move the averaged weights towards the head's; the first steps count more, so that no first weight is left."""
    share = 1 - min(decay, (1 + number) / (10 + number))
    for key, value in head.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value, share)


@contextmanager
def _autocast(plan: TrainingSettings, device: torch.device) -> Iterator[None]:
    with torch.autocast(device.type, getattr(torch, plan.autocast, None), enabled=plan.autocast != "none"):
        yield
