"""What the commands of `ovdiff` do. Each returns or writes its result; `backend.cli` only reads arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.engine import Engine
from backend.errors import RequestError
from backend.images import decode_image
from backend.overlay import draw_overlay
from backend.settings import Settings
from converters.coco import CocoCounts, CocoOptions, records_to_coco, write_coco
from converters.label_config import parse_label_config
from converters.label_studio import read_export
from converters.records import categories_of
from ovdiff.bank import Bank
from ovdiff.errors import BankError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

Say = Callable[[str], None]


def read_categories(text: str) -> Vocabulary:
    """Return the vocabulary of "boat, water" or, with prompts, "boat=a boat;a ship, water".

    Raises:
        VocabularyError: there is none, one is blank or named twice.
    """
    return Vocabulary(tuple(_category(part) for part in text.split(",") if part.strip()))


def segment_file(
    image_path: Path, vocabulary: Vocabulary, out: Path, *, settings: Settings, engine: Engine, say: Say
) -> str:
    """Segment an image file, write the overlay, and return what was found as text.

    Prototypes that the bank lacks are made first, which takes from seconds to minutes a category.

    Raises:
        RequestError: the image cannot be read or the overlay cannot be written.
        ImageSourceError: it is no picture or too large.
        OVDiffError: prototypes cannot be made, or the image not be segmented.
    """
    image = _read_image(image_path, settings)
    build_missing(vocabulary.categories, engine, say)
    segmentation = engine.segment(image, vocabulary)
    try:
        Image.fromarray(draw_overlay(image, segmentation, vocabulary.names)).save(out)
    except (OSError, ValueError) as error:
        raise RequestError(f"Cannot write the overlay {out}: {error}.") from error
    return _summary(segmentation, vocabulary)


def build_missing(categories: Sequence[Category], engine: Engine, say: Say) -> None:
    """Make the prototypes of those categories that the bank lacks, telling each stage.

    Raises:
        OVDiffError: a category cannot be built; those before it are kept.
    """
    for category in categories:
        if engine.has(category):
            say(f"{category.name}: ready")
            continue
        stages: list[str] = []

        def report(stage: str, fraction: float, *, name: str = category.name, told: list[str] = stages) -> None:
            if stage not in told:
                told.append(stage)
                say(f"{name}: {stage}")

        engine.build(category, report)


def list_prototypes(bank: Bank) -> list[str]:
    """Return a line a prototype set: its key, the category it was first made for, and its prompts."""
    keys = bank.keys()
    return [_bank_line(bank, key) for key in keys]


def convert_to_coco(export: Path, label_config: Path, out: Path, options: CocoOptions, *, allow_empty: bool) -> str:
    """Write a Label Studio JSON export as a COCO file and return the counts as text.

    Raises:
        ConverterError: the export or the label config cannot be used, or nothing would be in the file.
        RequestError: a file cannot be read or written.
    """
    try:
        config = parse_label_config(label_config.read_text("utf-8"))
        dataset, counts = records_to_coco(read_export(export, config), categories_of(config), options)
        write_coco(dataset, out, allow_empty=allow_empty)
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"Cannot convert {export} with {label_config} to {out}: {error}.") from error
    return _counts_text(counts)


def _category(text: str) -> Category:
    name, _, prompts = text.partition("=")
    return Category(name.strip(), tuple(prompt.strip() for prompt in prompts.split(";") if prompt.strip()))


def _read_image(path: Path, settings: Settings) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RequestError(f"Cannot read the image {path}: {error}.") from error
    return decode_image(data, max_px=settings.images.image_max_px)


def _summary(segmentation: Segmentation, vocabulary: Vocabulary) -> str:
    """Return a line a category: how much of the image it covers, and its score."""
    lines = [f"{'category':20} {'of image':>8} {'score':>6}"]
    for index, name in enumerate(vocabulary.names):
        share = float(segmentation.mask(index).mean())
        lines.append(f"{name:20} {share:8.1%} {segmentation.category_score(index):6.2f}")
    return "\n".join(lines)


def _bank_line(bank: Bank, key: str) -> str:
    try:
        card = bank.card(key)
    except BankError as error:
        return f"{key[:12]}  {error}"
    return f"{key[:12]}  {card.get('category', '?'):20}  {'; '.join(map(str, card.get('phrases', [])))}"


def _counts_text(counts: CocoCounts) -> str:
    lines = [
        f"images: {counts.images_in} read, {counts.images_out} written",
        f"regions: {counts.regions_in} read, {counts.annotations_out} annotations written",
        *(f"left out, {reason}: {count}" for reason, count in counts.left_out.items()),
    ]
    return "\n".join(lines)
