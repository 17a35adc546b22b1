"""`ovdiff convert`: Label Studio exports to dataset files."""

from __future__ import annotations

from pathlib import Path

from backend.errors import RequestError
from converters.coco import CocoCounts, CocoOptions, records_to_coco, write_coco
from converters.label_config import parse_label_config
from converters.label_studio import read_export
from converters.records import categories_of


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


def _counts_text(counts: CocoCounts) -> str:
    lines = [
        f"images: {counts.images_in} read, {counts.images_out} written",
        f"regions: {counts.regions_in} read, {counts.annotations_out} annotations written",
        *(f"left out, {reason}: {count}" for reason, count in counts.left_out.items()),
    ]
    return "\n".join(lines)
