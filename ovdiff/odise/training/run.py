"""A training from examples to averaged weights: first the features are stored, then the head learns, stop by stop.

examples ── Views ──> FeatureStore ── the captioner learns, or rests: then the UNet's taps are stored, too
                          └──> Trainer ── at each stop the averaged weights are handed out, to be validated
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from converters.files.folder_lock import locked
from ovdiff.errors import DeviceMemoryError, PresetError, TrainingError
from ovdiff.models.weights import weights_identity
from ovdiff.odise.head import OdiseHead
from ovdiff.odise.head_file import WEIGHTS, load_head
from ovdiff.odise.memory_advice import for_a_training
from ovdiff.odise.naming import Label
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.training.checkpoint import Checkpoint
from ovdiff.odise.training.feature_store import FeatureStore, Mapped
from ovdiff.odise.training.nouns import EmbedsWords, word_drawer
from ovdiff.odise.training.processes import process_number, wait_for_all
from ovdiff.odise.training.trainer import Report, Trainer
from ovdiff.odise.training.views import Examples, Views, view_grid
from ovdiff.presets.mapping import digest, mask_values, to_mapping
from ovdiff.presets.model_settings import ModelSettings

CHECKPOINT, FEATURES = "checkpoint.pt", "features"
_CHANGE_NO_STEP = {"taps": ("batch_size",)}
_OF_THE_COURSE = ("checkpoint_every", "validate_every", "seed")

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction done, 0 to 1."""
Stop = Callable[[int, dict[str, Tensor]], None]
"""Called at a stop with the number of steps done and the averaged weights."""


@dataclass
class TrainingRun:
    """One training of a head in a folder of its own, which continues after the process was killed.

    Attributes:
        preset: the models, the losses, the plan.
        parts: the loaded frozen models.
        labels: the labels of the training.
        examples: the annotated images.
        data_key: identifies the examples' images, annotations and captions.
        folder: where the checkpoint is.
        cache: the folder of the features alone; they may take gigabytes.
        start: the folder of a head to begin from; with ``None`` the head is new.
    """

    preset: OdisePreset
    parts: OdiseParts
    labels: list[Label]
    examples: Examples
    data_key: str
    folder: Path
    cache: Path
    start: Path | None = None

    def done(self) -> int:
        """Return how many steps an earlier process has done; 0 if there was none.

        Raises:
            TrainingError: the checkpoint is of another training, or is damaged.
        """
        return Checkpoint(self.folder / CHECKPOINT, self.key()).steps()

    def feature_bytes(self) -> int:
        """Return the size of all stored features. Encodes one view.

        Raises:
            DeviceMemoryError: one view does not fit into the device's memory.
        """
        views, encoder, captioner = Views(self.examples, self.preset), self.parts.encoder, self.head.captioner
        view = views(0)
        with self.saying_what_to_lower(), self.parts.models.lock, torch.inference_mode():
            frozen = encoder.frozen(view.windows)
            taps = encoder.unet(frozen.latents, frozen.embeddings, captioner)
        cells = sum(part.numel() for part in (*frozen.maps, frozen.latents, frozen.embeddings, *self._kept(taps)))
        return len(views) * (2 * cells + view.segments.size)

    def require_room(self, needed_bytes: int) -> None:
        """See that the features have room on their disk.

        Raises:
            TrainingError: they have not.
        """
        self.cache.mkdir(parents=True, exist_ok=True)
        free, there = shutil.disk_usage(self.cache).free, self.store.size_bytes()
        if needed_bytes > free + there:
            raise TrainingError(
                f"The features take {gib(needed_bytes)}, and {self.cache} has {gib(free + there)} left. Name a folder "
                f"on another disk with --cache, or lower training.views ({self.preset.training.views})."
            )

    def store_features(self, progress: Progress, mapped: Mapped | None = None) -> None:
        """Encode all views that are not stored yet. The first process does, and the others wait.

        Args:
            progress: called with the fraction done.
            mapped: encodes them elsewhere; no model of this process runs then.

        Raises:
            OSError: the folder cannot be written.
            DeviceMemoryError: a few views at once do not fit into the device's memory.
        """
        if process_number() == 0:
            views, at_once = Views(self.examples, self.preset), self._views_at_once
            with self.saying_what_to_lower(), self.parts.models.lock:
                encoder, count = self.parts.encoder, len(views)
                self.store.fill(views, count, encoder, lambda done: progress("features", done), at_once, mapped)
        wait_for_all()
        if process_number():
            self.store = FeatureStore(self.cache, self.store_key())

    def train(self, report: Report, progress: Progress, at_stop: Stop) -> dict[str, Tensor]:
        """Train the head, and return its averaged weights.

        Args:
            report: called after each step, see :class:`ovdiff.odise.training.trainer.Trainer`.
            progress: called while the UNet's taps are stored.
            at_stop: called at each validation, and at the end.

        Raises:
            TrainingError: the checkpoint is of another training.
            DeviceMemoryError: a batch does not fit into the device's memory.
        """
        trainer, weights = self.trainer, dict[str, Tensor]()
        with self.saying_what_to_lower():
            begun = trainer.done()
        for stop in self.stops(begun):
            with self.saying_what_to_lower(), self.parts.models.lock:
                self._rest_captioner(trainer, progress)
                weights = trainer.run(stop, report)
            at_stop(stop, weights)
        return weights

    def stops(self, begun: int) -> list[int]:
        """Return the steps at which a training that has done ``begun`` steps stops, the last one among them."""
        plan = self.preset.training
        inner = {*range(plan.validate_every, plan.steps, plan.validate_every), plan.captioner_steps}
        return sorted({stop for stop in inner if begun <= stop < plan.steps and stop} | {max(begun, plan.steps)})

    def key(self) -> dict[str, str]:
        """Return what the training is, in parts with names for people."""
        plan = to_mapping(self.preset.training)
        tables = {name: to_mapping(getattr(self.preset, name)) for name in ("taps", "captioner", "classifier", "loss")}
        tables["mask_generator"] = to_mapping(self.preset.mask_generator)
        tables["training"] = {name: value for name, value in plan.items() if name not in _OF_THE_COURSE}
        for name, left_out in _CHANGE_NO_STEP.items():
            tables[name] = {field: value for field, value in tables[name].items() if field not in left_out}
        return {
            **{f"the preset's table [{name}]": digest(table) for name, table in tables.items()},
            "the seed": str(self.preset.training.seed),
            "the images, annotations or captions": self.data_key,
            "the labels": digest([[each.name, each.synonyms, each.stuff] for each in self.labels]),
            "the weights of the frozen models": digest(self._frozen),
            "the head that it began from": "" if self.start is None else _identity(self.start),
        }

    def store_key(self) -> str:
        """Return what makes the features, apart from the UNet's condition."""
        plan = to_mapping(self.preset.training)
        of_views = {name: plan[name] for name in ("views", "scale", "colour", "mask_px", "seed")}
        void = [self.preset.loss.nameless_area] if self.preset.loss.void == "nameless" else []
        captioner = {**mask_values(self.preset.captioner), "gate": None}
        return digest([self.data_key, self._frozen, mask_values(self.preset.taps), captioner, of_views, void])

    @cached_property
    def head(self) -> OdiseHead:
        """The head that learns.

        Raises:
            WeightsError: the head to begin from cannot be read, or is of another architecture.
        """
        torch.manual_seed(self.preset.training.seed)
        head = self.parts.new_head()
        if self.start is None:
            empty = self.parts.texts.embed([""])[0]
            if empty is not None:
                head.names.begin_null(empty)
        else:
            load_head(self.start, head, self.preset)
        return head.to(self.parts.models.device)

    @cached_property
    def store(self) -> FeatureStore:
        """The stored features."""
        return FeatureStore(self.cache, self.store_key())

    @cached_property
    def trainer(self) -> Trainer:
        """The loop.

        Raises:
            PresetError: the preset's loss needs captions, and there are none.
        """
        preset, parts = self.preset, self.parts
        if self.start is not None:
            slower = preset.training.learning_rate * preset.training.from_rate
            preset = replace(preset, training=replace(preset.training, learning_rate=slower))
        captioned = any(self.store.captions(np.arange(len(self.store))))
        named = preset.classifier.void == "null"
        if not named and not captioned:
            raise PresetError("classifier.void is 'objectness', for heads that learn names from captions: --captions.")
        texts = parts.label_texts(self.labels, preset.classifier.templates) if named else None
        embeds = EmbedsWords(parts.label_texts, preset.classifier.templates, parts.text_channels)
        words = word_drawer(embeds, preset.loss.words, preset.loss.true_captions, parts.models.device)
        checkpoint, grid = self.folder / CHECKPOINT, view_grid(preset.taps)
        drawn = words if captioned else None
        stuff = frozenset(number for number, label in enumerate(self.labels) if label.stuff)
        return Trainer(preset, self.head, parts.encoder, self.store, grid, texts, drawn, checkpoint, self.key(), stuff)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Take both folders for this process.

        Raises:
            TrainingError: another process trains there.
        """
        if process_number():  # The first process has taken them for all.
            yield
            return
        for folder in (self.folder, self.cache):
            folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as locks:
            try:
                for folder in (self.folder, self.cache):
                    locks.enter_context(locked(folder, wait=False))
            except BlockingIOError as error:
                raise TrainingError(
                    f"Another process trains in {self.folder}, or with the features in {self.cache}. Wait for it, or "
                    f"give other folders by --out and --cache."
                ) from error
            yield

    @contextmanager
    def saying_what_to_lower(self) -> Iterator[None]:
        """Turn a lack of memory into an error that names the settings.

        Raises:
            DeviceMemoryError: the block did not fit into memory.
        """
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            is_told = isinstance(error, torch.OutOfMemoryError | MemoryError)
            if not is_told and not re.search("allocate memory|out of memory", str(error)):
                raise
            advice = for_a_training(self.preset)
            raise DeviceMemoryError(f"The training does not fit into the device's memory. {advice}") from error

    def _rest_captioner(self, trainer: Trainer, progress: Progress) -> None:
        """Store the UNet's taps if the captioner, as the checkpoint has it, learns no more."""
        captioner = self.head.captioner
        if self.store.has_unet or not self._rests(trainer.done()):
            return
        key = "null"
        if captioner is not None:
            captioner.requires_grad_(False)
            key = digest(
                [[name, value.cpu().numpy().tobytes().hex()] for name, value in captioner.state_dict().items()]
            )
        if process_number() == 0:
            self._store_unet(key, progress)
        wait_for_all()
        if process_number():
            self._store_unet(key, progress)

    def _store_unet(self, key: str, progress: Progress) -> None:
        encoder, captioner = self.parts.encoder, self.head.captioner
        self.store.fill_unet(encoder, captioner, key[:16], lambda done: progress("UNet", done), self._views_at_once)

    def _rests(self, step: int) -> bool:
        """Say whether the captioner learns no more from a step on; without one nothing learns."""
        plan = self.preset.training
        if self.preset.captioner.condition == "null" or plan.captioner_rate == 0:
            return True
        return 0 < plan.captioner_steps <= step

    def _kept(self, taps: list[Tensor]) -> list[Tensor]:
        """Return the UNet's taps if they are stored at some time."""
        return taps if self._rests(self.preset.training.steps - 1) else []

    @property
    def _views_at_once(self) -> int:
        grid = view_grid(self.preset.taps)
        return max(1, self.preset.taps.batch_size // (grid.rows * grid.columns))

    @property
    def _frozen(self) -> Mapping[str, str]:
        models = self.preset.models
        return {name: weights_identity(getattr(models, name)) for name in ("diffusion", "clip")}


def gib(size_bytes: int) -> str:
    """Return a size in words."""
    return f"{size_bytes / 1024**3:.1f} GiB" if size_bytes >= 1024**3 else f"{size_bytes / 1024**2:.0f} MiB"


def _identity(folder: Path) -> str:
    settings = ModelSettings(source=str(folder.resolve()))
    return weights_identity(settings) if (folder / WEIGHTS).exists() else json.dumps(str(folder))
