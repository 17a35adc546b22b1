"""`ovdiff odise train`: annotated images become a head of the second engine, or improve one.

OUT/            head.safetensors, head.json   the averaged weights, written at each validation
                training.jsonl, training.png  the log and its curve
OUT.training/   checkpoint.pt, features/      from which a killed run continues; delete it when all is done
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from backend.command.console import NoProgress, Progress, complain, notice, progress_bar, say
from backend.command.odise_captions import Captions, read_captions
from backend.command.odise_curve_picture import draw_curve
from backend.command.odise_images import (
    AnnotatedImages,
    Found,
    Reader,
    held_out,
    merged_categories,
    not_learned_from,
    read_synonyms,
    source_of,
)
from backend.command.odise_log import TrainingLog
from backend.command.odise_out import DATA, named_folder, require_no_other_head
from backend.command.odise_validation import Figures, validate
from backend.errors import UsageError
from backend.serving.teaching.taking import ReadImage
from converters.console import answer
from converters.files.atomic import write_whole
from ovdiff.engines import load_any_preset
from ovdiff.errors import TrainingError
from ovdiff.models.devices import device_name, require_device
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.weights import locate
from ovdiff.odise.engine import OdiseEngine
from ovdiff.odise.head_file import HeadCard, architecture, write_head
from ovdiff.odise.naming import Label
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.training.processes import joined, process_number, wait_for_all
from ovdiff.odise.training.run import FEATURES, TrainingRun, gib
from ovdiff.odise.training.views import Views
from ovdiff.presets.model_settings import ModelSettings
from ovdiff.presets.validation import check_bounds
from ovdiff.vocabulary import Category
from ovdiff.vocabulary.kinds import NearestKinds, known_kind

if TYPE_CHECKING:
    from backend.command.on_ray import OnRay

LOG, CURVE = "training.jsonl", "training.png"
_DATA_DIGITS = 12  # of the hash of images and annotations, in the card of a head
_LOGGED = 500
"""So many steps of a training are in its log."""


@dataclass(frozen=True)
class Data:
    """What a head learns from, as it was asked for.

    Attributes:
        labels: COCO panoptic datasets and exports.
        label_config: the label config of exports.
        captions: a file of captions.
        synonyms: a file with the words of COCO's categories.
        validate: the share of the images that is kept for validation, or a file of others.
        partial: whether all annotations are partial.
        max_categories: a label config with more labels is refused.
    """

    labels: Sequence[Path]
    label_config: Path | None = None
    captions: Path | None = None
    synonyms: Path | None = None
    validate: float | Path = 0.1
    partial: bool = False
    max_categories: int = 1000


@dataclass(frozen=True)
class Plan:
    """How a head is trained, as it was asked for; ``None`` leaves a number to the preset.

    Attributes:
        preset: the name or the file of a preset.
        device: a torch device.
        out: the folder of the head.
        start: the folder of a head to begin from, or the name of an embedded one.
        cache: the folder in which the stored features get a folder of their own.
        steps: how many steps.
        batch: how many views a step sees.
        seed: of the first weights, the views and the steps.
    """

    preset: str
    device: str
    out: Path
    start: str | None = None
    cache: Path | None = None
    steps: int | None = None
    batch: int | None = None
    seed: int | None = None


def preset_of(plan: Plan) -> OdisePreset:
    """Return the preset with what was asked for in place of its numbers.

    A shorter training gets a shorter warm-up, a tenth of its steps at most. The captioner of a head that is begun from
    stays as it is, unless ``training.captioner_steps`` says for how many steps it learns: so the UNet's features can be
    stored, and a few images do not spoil it.

    Raises:
        UsageError: the preset is of another engine.
        PresetError: there is no such preset, or a number is out of bounds.
    """
    preset = load_any_preset(plan.preset)
    if not isinstance(preset, OdisePreset):
        raise UsageError(
            f"The preset {plan.preset!r} is of the engine {preset.engine!r}, which has no head. Give a preset of ODISE "
            "with --preset, such as odise_tinyworld."
        )
    training = preset.training
    if plan.batch is not None:
        training = replace(training, batch=plan.batch)
    if plan.seed is not None:
        training = replace(training, seed=plan.seed)
    if plan.steps is not None:
        training = replace(training, steps=plan.steps)
        training = replace(training, warmup=min(training.warmup, plan.steps // 10))
    if plan.start is not None and training.captioner_steps == 0:
        training = replace(training, captioner_rate=0.0)
    changed = replace(preset, training=training)
    check_bounds(changed)
    return changed


def _start_of(plan: Plan) -> Path | None:
    """Return the folder of the head to begin from."""
    if plan.start is None:
        return None
    folder = locate(ModelSettings(source=plan.start))
    if folder is None:
        raise UsageError(f"--from {plan.start!r} is no folder. Give one that `ovdiff odise train` wrote.")
    if folder.resolve() == plan.out.resolve():
        raise UsageError(
            f"--from and --out are both {plan.start!r}: the new head would replace the one that it begins from, and an "
            "interrupted training could not continue. Give another folder with --out."
        )
    return folder


def train_head(data: Data, plan: Plan, read: ReadImage, ray: OnRay | None = None) -> None:
    """Train a head, or continue a training that was interrupted, and say what was written.

    Cost: on the embedded models a view takes about 50 ms once, and a step of 16 views about half a second on one core.

    Args:
        data: what it learns from.
        plan: how.
        read: gives the image of a task.
        ray: the cluster on which the views' features are made; the head learns in this process.

    Raises:
        UsageError, TrainingError, OVDiffError, ConverterError, BackendError: something that was given cannot be used;
            the message says what, and what to do.
    """
    preset = preset_of(plan)
    plan = replace(plan, out=named_folder(plan.out))
    _start_of(plan)  # Refused before anything is read.
    require_device(plan.device)
    with joined(device_name(plan.device)) as device:
        parts = OdiseParts(preset, LoadedModels(device))
        _Training(data, plan, preset, parts, read, ray).run()


class _Training:
    """One call of the command."""

    def __init__(
        self,
        data: Data,
        plan: Plan,
        preset: OdisePreset,
        parts: OdiseParts,
        read: ReadImage,
        ray: OnRay | None = None,
    ) -> None:
        self._ray = ray
        self._data, self._plan, self._preset, self._parts, self._read = data, plan, preset, parts, read
        self._say: Callable[[str], None] = notice if process_number() == 0 else lambda _text: None
        self._figures: Figures | None = None

    def run(self) -> None:
        examples, validation, labels = self._images()
        captioned = examples.captioned()
        folder = self._plan.out.with_name(f"{self._plan.out.name}.training")
        cache = (self._plan.cache or folder) / FEATURES
        key = examples.key()
        run = TrainingRun(self._preset, self._parts, labels, examples, key, folder, cache, _start_of(self._plan))
        with run.alone():
            begun = run.done()
            if not begun:
                require_no_other_head(self._plan.out, DATA, key[:_DATA_DIGITS])
            self._store(run)
            log = TrainingLog(self._plan.out / LOG, begun) if process_number() == 0 else None
            if begun:
                self._say(f"continuing after step {begun}")
            facts: dict[str, object] = {
                "steps": self._preset.training.steps,
                "seed": self._preset.training.seed,
                "images": len(examples),
                "images_with_captions": captioned,
                "views": len(examples) * self._preset.training.views,
                "validation_images": len(validation),
                "void": self._preset.loss.void,
                "began_from": "" if self._plan.start is None else Path(self._plan.start).name,
                DATA: key[:_DATA_DIGITS],
            }
            self._train(run, log, validation, labels, facts, begun)
        if process_number() == 0:
            self._report(len(examples), len(validation))

    def _images(self) -> tuple[AnnotatedImages, AnnotatedImages, list[Label]]:
        """Read all annotated images once."""
        data, found = self._data, Found()
        captions, synonyms = read_captions(data.captions), read_synonyms(data.synonyms)
        sources = [source_of(path, data.label_config, data.max_categories, synonyms) for path in data.labels]
        apart = [data.validate] if isinstance(data.validate, Path) else []
        others = [source_of(path, data.label_config, data.max_categories, synonyms) for path in apart]
        categories = merged_categories(sources)
        reader = Reader(self._read, categories, captions, partial=data.partial, found=found)
        with self._bar(0) as bar:
            taken = [each for source in sources for each in reader.annotated(source, bar)]
            tried = [each for source in others for each in reader.annotated(source, bar)]
        if isinstance(data.validate, float):
            taken, tried = held_out(taken, data.validate)
        tried = not_learned_from(tried, taken, found)
        self._tell(found, len(taken), len(tried), captions)
        if not taken:
            raise TrainingError("No image can be learned from; what was left out is named above.")
        labels = self._labels(categories)
        kinds = [(label.name, label.stuff) for label in labels]
        return AnnotatedImages(taken, kinds, self._read), AnnotatedImages(tried, kinds, self._read), labels

    def _labels(self, categories: Sequence[Category]) -> list[Label]:
        """Return the categories as labels; whether one is stuff is decided as the engine decides it."""
        settings = self._preset.stuff_filter
        known = {category: known_kind(category, settings) for category in categories}
        if unknown := [category for category, decision in known.items() if decision is None]:
            nearest = NearestKinds(self._parts.texts, self._preset.classifier.templates[0], settings)
            known |= dict(zip(unknown, nearest.decide(unknown), strict=True))
        stuff = {category for category, decision in known.items() if decision and decision.kind == "stuff"}
        return [Label(category.name, category.phrases, category in stuff) for category in categories]

    def _tell(self, found: Found, taken: int, tried: int, captions: Captions) -> None:
        for line in found.named:
            if process_number() == 0:
                complain(line)
        self._say(f"images: {found.images} in, {taken} to learn from, {tried} to validate with")
        for reason, times in found.left_out.items():
            self._say(f"{reason}: {times}")
        if found.partial:
            self._say(f"partial annotations: {found.partial}; what they do not mark says only where things end")
        if len(captions):
            self._say(f"images with captions in {self._data.captions}: {len(captions)}")

    def _store(self, run: TrainingRun) -> None:
        """Say how large the features become, and make those that are missing."""
        if process_number() == 0:
            needed = run.feature_bytes()
            views = self._preset.training.views
            self._say(f"features: {len(run.examples)} images x {views} views take {gib(needed)} in {run.cache}")
            if run.store.stale:
                self._say("the features there are of other images, annotations, views or weights: they are made anew")
            run.require_room(needed)
        asked = Views(run.examples, self._preset)
        is_done = process_number() or (not run.store.stale and len(run.store) >= len(asked))
        on_ray = nullcontext() if self._ray is None or is_done else self._ray.encoders(asked)
        with self._bar(1.0) as bar, on_ray as mapped:
            run.store_features(_advance(bar), mapped)

    def _train(
        self,
        run: TrainingRun,
        log: TrainingLog | None,
        validation: AnnotatedImages,
        labels: list[Label],
        facts: dict[str, object],
        begun: int,
    ) -> None:
        steps, started = self._preset.training.steps, time.monotonic()
        every = max(1, steps // _LOGGED)
        with self._bar(steps, "step", begun) as bar:

            def report(number: int, figures: dict[str, float]) -> None:
                bar.set_description(f"step {number + 1}, loss {figures['loss']:.2f}")
                bar.update()
                if log is not None and (number + 1) % every == 0:
                    log.add(number + 1, figures)

            def at_stop(step: int, weights: dict[str, Tensor]) -> None:
                if log is not None:
                    self._at_stop(log, step, weights, validation, labels, facts)
                wait_for_all()

            run.train(report, _advance(bar, whole=False), at_stop)
        self._say(f"steps: {max(0, steps - begun)} in {time.monotonic() - started:.0f} s")

    def _at_stop(
        self,
        log: TrainingLog,
        step: int,
        weights: dict[str, Tensor],
        validation: AnnotatedImages,
        labels: list[Label],
        facts: dict[str, object],
    ) -> None:
        """Write the head as it is, try it on the validation images, and draw the curve."""
        out, preset = self._plan.out, self._preset
        card = HeadCard(tuple(labels), architecture(preset), {**facts, "steps_done": step})
        write_head(out, weights, card)
        if len(validation):
            models = replace(preset.models, head=ModelSettings(source=str(out.resolve())))
            engine = OdiseEngine(replace(preset, models=models), models=self._parts.models)
            self._figures = validate(engine, validation, labels)
            self._say(f"step {step}: {self._figures} on {len(validation)} images")
            if not log.validated(step):
                log.add(step, {"pq": self._figures.pq, "miou": self._figures.miou})
            rounded = {"pq": round(self._figures.pq, 4), "miou": round(self._figures.miou, 4)}
            write_head(out, weights, replace(card, training={**card.training, **rounded}))
        picture = io.BytesIO()
        draw_curve(log.lines, preset.training.steps).save(picture, "png")
        write_whole(out / CURVE, picture.getvalue())

    def _report(self, images: int, tried: int) -> None:
        out = self._plan.out
        answer(
            {
                "head": out,
                "steps": self._preset.training.steps,
                "images": images,
                "images_validated": tried,
                **({"pq": self._figures.pq, "miou": self._figures.miou} if self._figures else {}),
                "log": out / LOG,
                "curve": out / CURVE,
            }
        )
        figures = f"{self._figures} on {tried} images that it did not learn from" if self._figures else "not validated"
        say(f"head: {out}, {self._preset.training.steps} steps on {images} images; {figures}")
        say(f"also there: {LOG} and its curve, {CURVE}; {out.name}.training can be deleted")
        say("a preset that uses it:")
        say(f'    base = "{self._plan.preset}"\n    name = "{out.name}"')
        say(f'    [models.head]\n    source = "{out.resolve()}"')

    @contextmanager
    def _bar(self, total: float, unit: str = "", initial: float = 0.0) -> Iterator[Progress]:
        """Show a progress bar, in the first process alone."""
        if process_number():
            yield NoProgress()
            return
        with progress_bar(total, unit, initial) as bar:
            yield bar


def _advance(bar: Progress, *, whole: bool = True) -> Callable[[str, float], None]:
    """Return what shows the progress of storing features: the whole bar, or only what is being done."""

    def progress(what: str, done: float) -> None:
        bar.set_description(f"{what} {done:.0%}")
        if whole:
            bar.update(done - bar.n)

    return progress
