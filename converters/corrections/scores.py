"""Corrections summed up into a report, one image at a time; the memory does not grow with the pixels.

Label maps are made of regions by the rule of `encodings.overlaps`. A region with several labels counts for each of
them.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import mean

import numpy as np
import numpy.typing as npt

from converters.corrections.common_runs import common_runs
from converters.corrections.pairs import Correction, NotCompared, RegionPair
from converters.corrections.result import (
    SCHEMA,
    CategoryReport,
    ConfusionReport,
    CorrectionCounts,
    CorrectionReport,
    ImageRow,
    Number,
    Quality,
    Seconds,
    SecondsReport,
    WorstImage,
)
from converters.corrections.splits import find_regroupings
from converters.corrections.sums import (
    AnnotatorSums,
    RegionSums,
    SizeSums,
    VersionSums,
    WorstCorrections,
    median_of,
)
from converters.corrections.threshold import threshold_advice
from converters.encodings.overlaps import LabelledRegion, LabelRuns, regions_to_label_runs
from converters.metrics.bootstrap import IoUBootstrap
from converters.metrics.boundary import boundary_counts, boundary_ious, boundary_width_px
from converters.metrics.confusion import category_ious, confusion_matrix, mean_iou
from converters.metrics.panoptic_quality import SegmentMap, SegmentMatches, match_segments
from converters.metrics.reliability import ReliabilityCounter
from converters.records import Annotation, DatasetCategory, Prediction, Region
from converters.selection import Tally

BACKGROUND = "background"


class CorrectionScores:
    """Sums over corrections; `report` returns what they add up to so far."""

    def __init__(self, categories: Sequence[DatasetCategory], *, worst_count: int = 8) -> None:
        """Start without corrections; the `worst_count` corrections with the lowest agreement will be kept."""
        size = len(categories)
        self._categories = tuple(categories)
        self._labels = {category.name: label for label, category in enumerate(categories, start=1)}
        self._confusion = np.zeros((size + 1, size + 1), dtype=np.int64)
        self._bootstrap = IoUBootstrap(size)
        self._boundaries = np.zeros((2, size), dtype=np.int64)
        self._matches = SegmentMatches.none(size)
        self._regions = {category.name: RegionSums() for category in categories}
        self._all_regions = RegionSums()
        self._changed_shares: list[float] = []
        self._reliability = ReliabilityCounter()
        self._versions: dict[str, VersionSums] = {}
        self._scratch_seconds: list[float] = []
        self._worst = WorstCorrections(worst_count)
        self._annotators: dict[str, AnnotatorSums] = {}
        self._sizes = SizeSums()
        self._rows: list[ImageRow] = []
        self._timed: tuple[object, set[str]] = (None, set())
        self._overlapping_px = 0
        self._not_compared: Counter[str] = Counter()
        self.tally = Tally()

    def add(self, item: Correction | NotCompared) -> None:
        """Count one annotation, whether it could be compared or not."""
        if isinstance(item, NotCompared):
            self._add_not_compared(item)
            return
        self.tally.images_out += 1
        seconds = self._lead_time(item)
        annotator = self._annotators.setdefault(_name_of(item.annotation), AnnotatorSums())
        annotator.corrections += 1
        annotator.seconds += seconds
        version = self._versions.setdefault(item.prediction.model_version, VersionSums(len(self._categories)))
        version.add(item, seconds)
        image = RegionSums()
        everywhere = (self._all_regions, version.sums, annotator.sums, image)
        for pair in item.pairs:
            self._add_pair(pair, item, everywhere)
        self._add_regroupings(item, everywhere)
        iou = self._add_pixels(item, version)
        self._rows.append(_image_row(item, image, iou, seconds))

    def report(self, source: str) -> CorrectionReport:
        """Return the report on all corrections so far; `source` names the export."""
        return CorrectionReport(
            schema=SCHEMA,
            source=source,
            counts=self._counts(),
            quality=self._quality(),
            regions=self._all_regions.regions(),
            pixels=self._all_regions.pixels(),
            median_changed_share=median_of(self._changed_shares),
            categories=self._category_reports(),
            sizes=self._sizes.report(),
            annotators=tuple(sums.report(name) for name, sums in sorted(self._annotators.items())),
            confusion=ConfusionReport(
                (BACKGROUND, *self._labels), tuple(tuple(row) for row in self._confusion.tolist())
            ),
            reliability=self._reliability.result(),
            threshold=threshold_advice(self._reliability.result()),
            versions=tuple(
                sums.report(name) for name, sums in sorted(self._versions.items(), key=lambda item: item[1].order)
            ),
            seconds=SecondsReport(
                _seconds([s for sums in self._versions.values() for s in sums.seconds]),
                _seconds(self._scratch_seconds),
            ),
            worst=tuple(_worst_image(iou, item) for iou, item in self._worst.found()),
        )

    def rows(self) -> tuple[ImageRow, ...]:
        """Return one row for each correction so far, in their order."""
        return tuple(self._rows)

    def worst(self) -> tuple[Correction, ...]:
        """Return the corrections behind the report's worst images, in its order."""
        return tuple(item for _, item in self._worst.found())

    # ------------------------------------------------------------ counting

    def _add_not_compared(self, item: NotCompared) -> None:
        annotation_id = None if item.annotation is None else item.annotation.id
        if item.is_loss:
            where = f"task {item.record.task_id}, annotation {annotation_id}"
            self.tally.leave_out(item.reason, where)
            return
        self._not_compared[item.reason] += 1
        if item.annotation is not None and not item.annotation.skipped:
            self._scratch_seconds += self._lead_time(item)

    def _lead_time(self, item: Correction | NotCompared) -> list[float]:
        """Return the lead time of an annotation in seconds, once for all images of its task; [] if unknown.

        The images of one task come one after another.
        """
        annotation, task = item.annotation, item.record.task_id
        if self._timed[0] != task or task is None:
            self._timed = (task, set())
        if annotation is None or annotation.lead_time_s is None or str(annotation.id) in self._timed[1]:
            return []
        self._timed[1].add(str(annotation.id))
        return [annotation.lead_time_s]

    def _category_of(self, *regions: Region | None) -> str | None:
        """Return the first label of the regions that is a category."""
        names = (name for region in regions if region for name in region.labels)
        return next((name for name in names if name in self._labels), None)

    def _add_pair(self, pair: RegionPair, item: Correction, everywhere: Sequence[RegionSums]) -> None:
        category = self._category_of(pair.predicted, pair.annotated)
        if category is None:
            return  # counted as left out where its pixels would be
        for sums in (self._regions[category], *everywhere):
            sums.add(pair)
        self._sizes.add(pair)
        if pair.outcome == "changed":
            self._changed_shares.append((pair.painted_px + pair.erased_px) / max(pair.annotated_px, 1))
        if pair.predicted is not None:
            score = pair.predicted.score if pair.predicted.score is not None else item.prediction.score
            self._reliability.add(score, 0.0 if pair.relabelled else pair.iou, pair.outcome == "accepted")

    def _add_regroupings(self, item: Correction, everywhere: Sequence[RegionSums]) -> None:
        for found in find_regroupings(item.pairs):
            category = self._category_of(found.predicted[0])
            if category is not None:
                for sums in (self._regions[category], *everywhere):
                    sums.add_regrouping(found)

    def _add_pixels(self, item: Correction, version: VersionSums) -> Number:
        """Count the pixels of one correction, and return its mean IoU without background."""
        size_hw = item.size_hw
        if size_hw is None:
            return None  # nothing was predicted, nothing annotated
        count = len(self._categories)
        predicted, given_categories = self._label_runs(item, item.prediction, size_hw)
        truth, true_categories = self._label_runs(item, item.annotation, size_hw)
        runs = common_runs(predicted, truth)
        given, true = SegmentMap(runs.first, given_categories), SegmentMap(runs.second, true_categories)
        confusion = confusion_matrix(true.label_map(), given.label_map(), count, runs.lengths)
        self._confusion += confusion
        self._bootstrap.add(confusion)
        version.add_pixels(confusion)
        box = runs.box()
        small = np.min_scalar_type(count + 1)  # a label map of bytes is compared several times as fast
        true_map, given_map = (runs.in_box(segments.label_map().astype(small), box) for segments in (true, given))
        seen = (np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))).tolist()
        width_px = boundary_width_px(size_hw)
        self._boundaries += boundary_counts(true_map, given_map, count, width_px, [label for label in seen if label])
        self._matches += match_segments(true, given, count, lengths=runs.lengths)
        iou = mean_iou(confusion, with_background=False)
        self._worst.add(iou, item)
        return _number(iou)

    def _label_runs(
        self, item: Correction, side: Annotation | Prediction, size_hw: tuple[int, int]
    ) -> tuple[LabelRuns, tuple[int, ...]]:
        """Make segments that do not overlap of an annotation's or prediction's regions; leave out unknown labels.

        Returns:
            The runs, labelled with the numbers of the segments from 1, and the category of each segment.
        """
        kind = "prediction" if isinstance(side, Prediction) else "annotation"
        where = f"task {item.record.task_id}, {kind} {side.id}"
        labelled: list[tuple[Region, int]] = []
        for region in side.regions:
            if not region.labels:
                self.tally.leave_out("region without a label", f"{where}, region {region.id!r}")
            for name in region.labels:
                if name in self._labels:
                    labelled.append((region, self._labels[name]))
                else:
                    self.tally.leave_out("label that is no category", f"{where}, region {region.id!r}: {name!r}")
        task_score = side.score if isinstance(side, Prediction) else None
        runs = regions_to_label_runs(
            [
                LabelledRegion(region.rle, number, task_score if region.score is None else region.score)
                for number, (region, _) in enumerate(labelled, start=1)
            ],
            size_hw,
        )
        self._overlapping_px += runs.contested_px
        return runs, tuple(label for _, label in labelled)

    # ------------------------------------------------------------ results

    def _counts(self) -> CorrectionCounts:
        regions = self._all_regions
        kept = regions.outcomes["accepted"] + regions.outcomes["changed"]
        return CorrectionCounts(
            images_in=self.tally.images_in,
            corrections_out=self.tally.images_out,
            annotators=len(self._annotators),
            predicted_regions=kept + regions.outcomes["removed"],
            annotated_regions=kept + regions.outcomes["added"],
            overlapping_px=self._overlapping_px,
            not_compared=dict(self._not_compared),
            left_out=dict(self.tally.left_out),
            details=self.tally.details,
        )

    def _quality(self) -> Quality:
        total = int(self._confusion.sum())
        return Quality(
            mean_iou=_number(mean_iou(self._confusion)),
            mean_iou_interval=self._bootstrap.mean_interval(),
            mean_iou_without_background=_number(mean_iou(self._confusion, with_background=False)),
            mean_boundary_iou=_mean(boundary_ious(self._boundaries)),
            panoptic_quality=_mean(self._matches.panoptic_quality),
            segmentation_quality=_mean(self._matches.segmentation_quality),
            recognition_quality=_mean(self._matches.recognition_quality),
            pixel_accuracy=int(np.trace(self._confusion)) / total if total else None,
        )

    def _category_reports(self) -> tuple[CategoryReport, ...]:
        ious, boundaries = category_ious(self._confusion)[1:], boundary_ious(self._boundaries)
        intervals, images = self._bootstrap.intervals()[1:], self._bootstrap.images[1:]
        return tuple(
            CategoryReport(
                id=category.id,
                name=category.name,
                iou=_number(ious[row]),
                iou_interval=intervals[row],
                images=int(images[row]),
                boundary_iou=_number(boundaries[row]),
                panoptic_quality=_number(self._matches.panoptic_quality[row]),
                segmentation_quality=_number(self._matches.segmentation_quality[row]),
                recognition_quality=_number(self._matches.recognition_quality[row]),
                regions=self._regions[category.name].regions(),
                pixels=self._regions[category.name].pixels(),
            )
            for row, category in enumerate(self._categories)
        )


def _worst_image(iou: float, item: Correction) -> WorstImage:
    return WorstImage(
        task_id=item.record.task_id,
        annotation_id=item.annotation.id,
        prediction_id=item.prediction.id,
        model_version=item.prediction.model_version,
        image=item.record.image,
        mean_iou=iou,
        changed_px=item.changed_px,
        project=item.record.project,
    )


def _image_row(item: Correction, sums: RegionSums, iou: Number, seconds: list[float]) -> ImageRow:
    return ImageRow(
        task_id=item.record.task_id,
        project=item.record.project,
        image=item.record.image,
        annotation_id=item.annotation.id,
        annotator=_name_of(item.annotation),
        prediction_id=item.prediction.id,
        model_version=item.prediction.model_version,
        mean_iou=iou,
        regions=sums.regions(),
        pixels=sums.pixels(),
        seconds=seconds[0] if seconds else None,
    )


def _name_of(annotation: Annotation) -> str:
    return "" if annotation.annotator is None else str(annotation.annotator)


def _seconds(values: list[float]) -> Seconds:
    return Seconds(len(values), median_of(values), mean(values) if values else None, sum(values))


def _number(value: float) -> Number:
    """Return a number, or None instead of NaN."""
    return None if np.isnan(value) else float(value)


def _mean(values: npt.NDArray[np.float64]) -> Number:
    """Return the mean of the numbers that are known, None if no number is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None
