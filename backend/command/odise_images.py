"""Annotated images of `ovdiff odise train`: COCO panoptic and exports of Label Studio as examples for a head.

    COCO panoptic ── panoptic_to_records ──┐
    export + label config ── read_export ──┴── records ── one look at each ──> AnnotatedImages, read when asked for

Each region of a thing is a segment; all regions of one kind of stuff are one. Crowds, boxes and regions without a label
are no segments; an annotation with one of them is partial, and so is one that says so, or that could not be read whole:
what it does not mark may be anything.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backend.command.console import Progress
from backend.command.odise_captions import Captions
from backend.errors import UsageError
from backend.serving.teaching.annotated import says_partial
from backend.serving.teaching.taking import REFUSALS, ReadImage
from backend.serving.vocabulary import read_labelling
from converters import records
from converters.datasets.coco_index import coco_categories
from converters.datasets.panoptic import panoptic_to_records, read_panoptic
from converters.encodings.overlaps import LabelledRegion, regions_to_label_map
from converters.label_studio.label_config import LabelConfig, parse_label_config, read_label_config_text
from converters.label_studio.own_attributes import skipped_labels
from converters.label_studio.reader import Wanted, read_export
from ovdiff.errors import LessonError, TrainingError
from ovdiff.images import image_key
from ovdiff.odise.training.examples import Example
from ovdiff.vocabulary import Category

_BOXES = ("rectangle", "ellipse")
_NAMED = 20
"""So many images that are left out are named; the others are counted."""


@dataclass(frozen=True)
class Source:
    """The records of a file, and the categories that were annotated in it.

    Attributes:
        path: the file or folder, as it was given.
        categories: what was annotated everywhere.
        records: read once, one at a time.
        kinds: the tag of each control in lower case, by the control's name; nothing of COCO.
        skipped: labels that the label config skips: their regions count as those without a label.
    """

    path: Path
    categories: tuple[Category, ...]
    records: Iterator[records.ImageRecord]
    kinds: Mapping[str, str] = field(default_factory=dict)
    skipped: frozenset[str] = frozenset()


@dataclass
class Found:
    """What became of the images.

    Attributes:
        images: how many went in.
        left_out: how many were left out, by reason; segments and regions that were left out, too.
        named: the first of them, with their reasons.
        partial: how many annotations are partial.
    """

    images: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)
    partial: int = 0

    def leave_out(self, reason: str, where: str) -> None:
        """Count something; the first are named."""
        self.left_out[reason] += 1
        if len(self.named) < _NAMED:
            self.named.append(f"{where}: {reason}")


@dataclass(frozen=True)
class _Annotated:
    record: records.ImageRecord
    regions: tuple[tuple[records.Region, str], ...]
    partial: bool
    captions: tuple[str, ...]
    image: str
    key: str


class AnnotatedImages:
    """Examples whose images are read when they are asked for; the last one is kept, for its other views."""

    def __init__(self, annotated: Sequence[_Annotated], labels: Sequence[tuple[str, bool]], read: ReadImage) -> None:
        """Use annotations that were looked at; ``labels`` are names, and whether each is stuff, in their order."""
        self._annotated, self._read = annotated, read
        self._numbers = {name: number for number, (name, _) in enumerate(labels)}
        self._stuff = frozenset(name for name, stuff in labels if stuff)
        self._last: tuple[int, Example] | None = None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._annotated)

    def __getitem__(self, number: int) -> Example:
        """Return an example.

        Raises:
            TrainingError: its image cannot be read any more, or was changed.
        """
        if self._last is None or self._last[0] != number:
            self._last = number, self._example(self._annotated[number])
        return self._last[1]

    def key(self) -> str:
        """Return a hash of all images, annotations and captions."""
        return hashlib.sha256("\n".join(each.key for each in self._annotated).encode()).hexdigest()

    def captioned(self) -> int:
        """Return how many images have captions."""
        return sum(bool(each.captions) for each in self._annotated)

    def _example(self, each: _Annotated) -> Example:
        try:
            image = self._read(each.record)
        except REFUSALS as error:
            raise TrainingError(f"Image {each.record.image!r:.200} cannot be read any more: {error}") from error
        owners: dict[object, int] = {}
        drawn, names = [], []
        for place, (region, name) in enumerate(each.regions):
            owner = name if name in self._stuff else place
            if owner not in owners:
                owners[owner] = len(owners) + 1
                names.append(self._numbers[name])
            drawn.append(LabelledRegion(region.rle, owners[owner], region.score))
        segment_map = regions_to_label_map(drawn, (image.shape[0], image.shape[1])).label_map.astype(np.int32)
        return Example(image, segment_map, tuple(names), each.captions, each.partial)


def source_of(
    path: Path, config_path: Path | None, max_categories: int, synonyms: Mapping[str, tuple[str, ...]]
) -> Source:
    """Open a COCO panoptic dataset or an export.

    Args:
        path: the panoptic folder or its JSON, or the export.
        config_path: the label config of exports.
        max_categories: a label config with more labels is refused.
        synonyms: the words of COCO's categories by name, where they are not the name's own.

    Raises:
        UsageError: it is an export, and there is no label config.
        ConverterError, BackendError: the file or the label config cannot be read.
        OSError: there is no such file.
    """
    if path.is_dir() or _begins_with(path) == "{":
        dataset, pngs = read_panoptic(path)
        categories = tuple(
            Category(each.name, _words_of(each.name, synonyms), each.kind) for each in coco_categories(dataset)
        )
        return Source(path, categories, panoptic_to_records(dataset, pngs))
    if config_path is None:
        raise UsageError(f"{path} is an export of Label Studio: give its label config with --label-config.")
    text = read_label_config_text(config_path)
    config: LabelConfig = parse_label_config(text)
    read = read_export(path, config, wanted=Wanted(predictions="none"))
    kinds = {control.name: control.kind for control in config.controls}
    categories = read_labelling(text, max_categories=max_categories).categories
    return Source(path, categories, read, kinds, skipped_labels(config))


def merged_categories(sources: Sequence[Source]) -> tuple[Category, ...]:
    """Return the categories of all sources, each name once; of two with one name the first counts."""
    found: dict[str, Category] = {}
    for category in (category for source in sources for category in source.categories):
        found.setdefault(category.name, category)
    return tuple(found.values())


class Reader:
    """Looks at each annotated image once: is it there, does it fit its annotation, what identifies it?"""

    def __init__(
        self, read: ReadImage, categories: Sequence[Category], captions: Captions, *, partial: bool, found: Found
    ) -> None:
        """Read nothing yet.

        Args:
            read: gives the image of a record.
            categories: the labels of the training.
            captions: the captions of images by name.
            partial: whether all annotations are partial.
            found: where all is counted.
        """
        self._read, self._captions, self._partial, self._found = read, captions, partial, found
        self._names = [category.name for category in categories]

    def annotated(self, source: Source, bar: Progress) -> Iterator[_Annotated]:
        """Yield the annotations of a source that can be learned from; what cannot is counted and named."""
        covered = {category.name for category in source.categories}
        for record in source.records:
            self._found.images += 1
            bar.set_description(f"{source.path.name}, image {self._found.images}")
            bar.update()
            for item in record.left_out:
                self._found.leave_out(item.reason, item.where)
            made = record.preferred_annotation()
            if not record.image or made is None:
                if not record.left_out:
                    why = "skipped by the annotator" if record.annotations else "not annotated"
                    self._found.left_out[why] += 1
                continue
            try:
                yield self._annotation(record, made, source, whole=covered.issuperset(self._names))
            except REFUSALS as error:
                self._found.leave_out("image left out", f"{record.image!r:.200}: {error}")

    def _annotation(
        self, record: records.ImageRecord, made: records.Annotation, source: Source, *, whole: bool
    ) -> _Annotated:
        usable = [r for r in made.regions if set(r.labels) - source.skipped and not _is_box(r, source.kinds)]
        outlined = [region for region in usable if not region.is_crowd]
        regions = tuple((r, label) for r in outlined for label in r.labels if label not in source.skipped)
        if unknown := [label for _, label in regions if label not in self._names]:
            raise LessonError(
                f"its label {unknown[0]!r} is not one of the training, which are those of --label-config and the "
                "categories of the COCO datasets of --labels. Add it there, or take the image out."
            )
        partial = self._partial or not whole or says_partial(made) or len(outlined) < len(made.regions)
        partial = partial or made.lost_regions > 0 or bool(record.left_out and not regions)
        if partial and not regions:  # An annotation that is whole says that there is none of the labels.
            raise LessonError(
                "nothing is annotated in it, or only boxes and crowds, which show no outline, and it is partial."
            )
        image = self._read(record)
        other = next((region.size_hw for region, _ in regions if region.size_hw != image.shape[:2]), None)
        if other is not None:
            sizes = f"{image.shape[1]} x {image.shape[0]} and {other[1]} x {other[0]}"
            raise LessonError(f"image and annotation are of different sizes, {sizes} px.")
        self._found.partial += partial
        captions = self._captions.of(record.image)
        marks = [[label, region.rle["counts"], region.score] for region, label in regions]
        shown = image_key(image)
        key = hashlib.sha256(repr([shown, marks, partial, captions]).encode()).hexdigest()
        return _Annotated(record, regions, partial, captions, shown, key)


def held_out(annotated: Sequence[_Annotated], share: float) -> tuple[list[_Annotated], list[_Annotated]]:
    """Return the images to learn from, and those to validate with: a share of them, chosen by their content.

    All annotations of an image are on one side.
    """
    images = sorted({each.image for each in annotated})
    if share <= 0 or len(images) < 2:
        return list(annotated), []
    count = min(max(1, round(share * len(images))), len(images) - 1)
    chosen = set(images[:count])
    kept = [each for each in annotated if each.image not in chosen]
    return kept, [each for each in annotated if each.image in chosen]


def not_learned_from(tried: Sequence[_Annotated], taken: Sequence[_Annotated], found: Found) -> list[_Annotated]:
    """Return the images to validate with that are not among those to learn from; the others are counted."""
    learned = {each.image for each in taken}
    kept = [each for each in tried if each.image not in learned]
    if len(kept) < len(tried):
        found.left_out["validation image left out, which is also learned from"] += len(tried) - len(kept)
    return kept


def coco_words(name: str) -> str:
    """Return a category's name of COCO as words: "wall-other-merged" is "wall", "floor-wood" is "floor wood"."""
    words = [word for word in name.replace("_", "-").split("-") if word not in ("other", "merged", "stuff")]
    return " ".join(words) or name


def _words_of(name: str, synonyms: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    words = coco_words(name)
    return synonyms.get(name.casefold()) or synonyms.get(words.casefold()) or (words,)


def read_synonyms(path: Path | None) -> dict[str, tuple[str, ...]]:
    """Read the words of categories: a line each, "person,child,girl", as OpenSeg's lists; a number with ":" may lead.

    A category has the line in which its name, or its name as :func:`coco_words` reads it, is the first word.

    Raises:
        UsageError: the file cannot be read, or a line has no word.
    """
    if path is None:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--synonyms {path} cannot be read: {error}.") from error
    for number, line in enumerate(lines, start=1):
        text = line.split(":", 1)[1] if line.split(":", 1)[0].strip().isdigit() and ":" in line else line
        words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
        if line.strip() and not words:
            raise UsageError(f"--synonyms {path}, line {number}: expected words with commas between, got {line!r:.80}.")
        if words:
            found[words[0].casefold()] = words
    return found


def _is_box(region: records.Region, kinds: Mapping[str, str]) -> bool:
    return region.box_xywh is not None or kinds.get(region.control, "").startswith(_BOXES)


def _begins_with(path: Path) -> str:
    """Return the first character of a file that is no space."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.read(4096).lstrip()[:1]
