"""Does a result reproduce a published figure, and if not, at which stage does it depart? Never imports torch itself.

Stages are looked at in the method's order, so the first one that departs is the first place to look: preset, images,
support images, prefilter, categories.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovdiff.engines import SegmentationEngine
from ovdiff.engines.building import HasSupportSets
from ovdiff.engines.encodings import Prefilters
from ovdiff.errors import BankError
from ovdiff.evaluation.dataset import UNKNOWN, Dataset, DatasetKind
from ovdiff.evaluation.published import PublishedFigure, differing_fields, figures_of_name, published_figures
from ovdiff.evaluation.result import Result
from ovdiff.presets import Preset

TOLERANCE = 1.0
"""Points: the published figures of one method on VOC21 are 1.4 points apart (65.7 to 67.1), a seed gives 0.5."""
PREFILTERED_IMAGES = 50
"""So many images are asked whether their true classes pass the prefilter; each is encoded anew, or read from disk."""
MOST_LOST = 0.2
"""With a larger share of images that lose a true class, the prefilter is said to depart."""
_OF_ENGINE = {"ovdiff": "paper", "odise": "odise"}
_NAMED = 5


@dataclass(frozen=True)
class Stage:
    """What was found at one stage.

    Attributes:
        name: the stage.
        departs: whether it is otherwise than published; ``None`` if nothing was published, or it cannot be told.
        finding: what was found, in a sentence or two.
    """

    name: str
    departs: bool | None
    finding: str


@dataclass(frozen=True)
class Comparison:
    """A figure of ours beside the published ones.

    Attributes:
        measure: an attribute of :class:`ovdiff.evaluation.sums.Measures`.
        percent: ours, in percent.
        published: the published ones; there is one at least.
        unlike: the stages that were otherwise than published, of "preset" and "images"; then near figures are chance.
    """

    measure: str
    percent: float
    published: tuple[PublishedFigure, ...]
    unlike: tuple[str, ...] = ()

    @property
    def points(self) -> float:
        """How far ours is from the nearest published figure; 0 between the lowest and the highest."""
        known = [each.percent for each in self.published]
        return max(0.0, min(known) - self.percent, self.percent - max(known))

    @property
    def is_reproduced(self) -> bool:
        """Whether the same was measured, within the published ones or :data:`TOLERANCE` points beside them."""
        return self.points <= TOLERANCE and not self.unlike

    def __str__(self) -> str:
        """Return the comparison as a sentence."""
        told = ", ".join(map(str, self.published))
        nearest = min(abs(self.percent - each.percent) for each in self.published)
        if self.is_reproduced:
            return f"{self.measure} {self.percent:.1f}: reproduced within {nearest:.1f} points; published: {told}"
        if self.points <= TOLERANCE:
            return (
                f"{self.measure} {self.percent:.1f}: near the published figures, but no reproduction, because these "
                f"are not as published: {' and '.join(self.unlike)}; published: {told}"
            )
        side = "below" if self.percent < self.published[0].percent else "above"
        return f"{self.measure} {self.percent:.1f}: departs, {self.points:.1f} points {side}; published: {told}"


def compare_with_published(result: Result, kind: DatasetKind) -> tuple[Comparison, ...]:
    """Return a result's figures beside those that were published of its engine's own preset; () if none were."""
    found = published_of(result.dataset["name"], result.preset["fields"])
    unlike = tuple(each.name for each in (_preset_stage(result), _image_stage(kind, result)) if each.departs)
    comparisons = []
    for measure in dict.fromkeys(each.measure for each in found):
        value = result.measures.get(measure)
        if value is not None:
            figures = tuple(each for each in found if each.measure == measure)
            comparisons.append(Comparison(measure, 100 * value, figures, unlike))
    return tuple(comparisons)


def published_of(dataset: str, fields: dict[str, Any]) -> tuple[PublishedFigure, ...]:
    """Return what was published of a dataset by a preset, or else by the published preset of the same engine."""
    own = published_figures(dataset, fields)
    return own or figures_of_name(dataset, fields, _OF_ENGINE.get(fields["engine"], ""))


def stages_of(engine: SegmentationEngine, dataset: Dataset, kind: DatasetKind, result: Result) -> tuple[Stage, ...]:
    """Look at each stage of a reproduction.

    Args:
        engine: the engine that was evaluated.
        dataset: the dataset.
        kind: what is known of the dataset.
        result: the result.

    Raises:
        OVDiffError: an image cannot be read, or a model cannot be loaded.
    """
    return (
        _preset_stage(result),
        _image_stage(kind, result),
        _support_stage(engine, dataset),
        _prefilter_stage(engine, dataset, result.images[:PREFILTERED_IMAGES]),
        _category_stage(result),
    )


def weakest(result: Result, count: int) -> tuple[str, ...]:
    """Return the names of the categories of the lowest IoU, the lowest first."""
    rows = [row for row in result.figures["categories"] if row["iou"] is not None and row["name"] != "background"]
    return tuple(row["name"] for row in sorted(rows, key=lambda row: row["iou"])[:count])


def _preset_stage(result: Result) -> Stage:
    dataset, fields = result.dataset["name"], result.preset["fields"]
    if published_figures(dataset, fields):
        return Stage("preset", False, f"every field is as published of {fields['name']!r}")
    published = _OF_ENGINE.get(fields["engine"])
    if published is None:
        return Stage("preset", None, f"nothing was published of the engine {fields['engine']!r} by OVDiff or ODISE")
    paths = differing_fields(dataset, fields, published)
    if not paths:
        return Stage("preset", False, f"every field is that of {published!r}")
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return Stage("preset", True, f"{len(paths)} fields differ from {published!r}: {', '.join(paths[:_NAMED])}{more}")


def _image_stage(kind: DatasetKind, result: Result) -> Stage:
    count, failed = len(result.images), len(result.failed)
    told = f"{count} images were evaluated" + (f", {failed} could not be" if failed else "")
    if kind.image_count is None:
        return Stage("images", None, told)
    return Stage("images", count != kind.image_count, f"{told}; the published split has {kind.image_count}")


def _support_stage(engine: SegmentationEngine, dataset: Dataset) -> Stage:
    if not isinstance(engine, HasSupportSets) or not isinstance(engine.preset, Preset):
        return Stage("support images", None, f"the engine {engine.preset.engine!r} draws none")
    counts, missing = {}, []
    for category in dataset.vocabulary.categories:
        try:
            support = engine.support_set(category)
            counts[category.name] = support.with_foreground() / max(1, len(support.images))
        except BankError:
            missing.append(category.name)
    poor = sorted((name for name, share in counts.items() if share < 1 - MOST_LOST), key=lambda name: counts[name])
    told = f"{100 * float(np.mean(list(counts.values()) or [0.0])):.0f} % of the support images have a foreground"
    if poor:
        told += f"; fewest: {', '.join(f'{name} {100 * counts[name]:.0f} %' for name in poor[:_NAMED])}"
    if missing:
        told += f"; not kept: {', '.join(missing[:_NAMED])}"
    return Stage("support images", bool(poor) if counts else None, told)


def _prefilter_stage(engine: SegmentationEngine, dataset: Dataset, images: Sequence[str]) -> Stage:
    preset = engine.preset
    if not isinstance(preset, Preset) or not isinstance(engine, Prefilters):
        return Stage("prefilter", None, f"the engine {preset.engine!r} has none")
    if not preset.prefilter.enabled:
        return Stage("prefilter", True, "the preset has it off; the paper lost 8.7 points on VOC21 without it")
    whole, kept = 0, []
    for image in images:
        labelled = dataset.read(image)
        true = {int(label) - 1 for label in np.unique(labelled.truth.label_map) if label not in (0, UNKNOWN)}
        found = set(engine.candidates(engine.encode(labelled.image), dataset.vocabulary))
        whole += true <= found
        kept.append(len(found))
    share = whole / max(1, len(images))
    told = f"in {100 * share:.0f} % of {len(images)} images every true class passes it; it keeps {np.mean(kept):.1f}"
    return Stage("prefilter", share < 1 - MOST_LOST, f"{told} classes in the mean")


def _category_stage(result: Result) -> Stage:
    rows = {row["name"]: row["iou"] for row in result.figures["categories"] if row["iou"] is not None}
    low = ", ".join(f"{name} {100 * rows[name]:.0f}" for name in weakest(result, _NAMED))
    named = [value for name, value in rows.items() if name != "background"]
    mean = f"mean of the {len(named)} classes without background {100 * float(np.mean(named or [0.0])):.1f}"
    published = [
        each
        for each in published_of(result.dataset["name"], result.preset["fields"])
        if each.measure == "miou_without_background"
    ]
    if not published:
        return Stage("categories", None, f"{mean}; lowest: {low}. No figures of single classes were published")
    far = min(abs(100 * float(np.mean(named or [0.0])) - each.percent) for each in published)
    told = ", ".join(map(str, published))
    return Stage("categories", far > TOLERANCE, f"{mean}, published {told}; lowest: {low}")
