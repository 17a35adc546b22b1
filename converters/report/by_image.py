"""The CSV file of a report: one row for each correction of an image, for a spreadsheet to sort and to filter."""

from collections.abc import Iterable, Iterator
from typing import TextIO

from converters.corrections.result import ImageRow
from converters.files.csv_text import Cell, write_csv
from converters.report.links import LabelStudioPages

COLUMNS = (
    "task",
    "image",
    "annotation",
    "annotator",
    "prediction",
    "model_version",
    "mean_iou",
    "accepted",
    "changed",
    "relabelled",
    "added",
    "removed",
    "splits",
    "merges",
    "painted_px",
    "erased_px",
    "annotated_px",
    "seconds",
    "link",
)


def write_by_image(file: TextIO, rows: Iterable[ImageRow], pages: LabelStudioPages | None = None) -> None:
    """Write the table to an open text file; the last column is empty where no link is known."""
    write_csv(file, COLUMNS, _cells(rows, pages))


def _cells(rows: Iterable[ImageRow], pages: LabelStudioPages | None) -> Iterator[tuple[Cell, ...]]:
    for row in rows:
        regions, pixels = row.regions, row.pixels
        yield (
            row.task_id,
            row.image,
            row.annotation_id,
            row.annotator,
            row.prediction_id,
            row.model_version,
            None if row.mean_iou is None else round(row.mean_iou, 4),
            regions.accepted,
            regions.changed,
            regions.relabelled,
            regions.added,
            regions.removed,
            regions.splits,
            regions.merges,
            pixels.painted_px,
            pixels.erased_px,
            pixels.annotated_px,
            row.seconds,
            None if pages is None else pages.task(row.task_id, row.project),
        )
