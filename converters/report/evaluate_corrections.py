"""From an export to the report on its corrections: each task is read, paired, counted, and then forgotten.

    evaluation = evaluate_corrections(Path("export.json"), parse_label_config(xml))
    write_evaluation(evaluation, Path("corrections"), images=Path("images"))

writes `corrections.json`, `corrections.md`, `corrections.html` and `corrections.csv` into the folder. The export must
hold the predictions themselves, not only their ids: see `text.WHERE_PREDICTIONS_ARE`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from converters.corrections.pairs import NOBODY_ANNOTATED, Correction, find_corrections
from converters.corrections.result import CorrectionReport, ImageRow, report_to_json
from converters.corrections.scores import CorrectionScores
from converters.encodings.masks import MAX_PIXELS
from converters.errors import EvaluationError
from converters.files.output import new_file, write_json
from converters.label_studio.categories import categories_of
from converters.label_studio.label_config import LabelConfig
from converters.label_studio.reader import read_export
from converters.records import DatasetCategory, ImageRecord
from converters.report.by_image import write_by_image
from converters.report.html import report_to_html
from converters.report.links import LabelStudioPages
from converters.report.markdown import report_to_markdown
from converters.report.text import WHERE_PREDICTIONS_ARE


@dataclass(frozen=True)
class EvaluationOptions:
    """What is compared, and what is kept for pictures.

    Attributes:
        unlinked: compare an annotation that names no prediction with the newest prediction, too.
        worst_count: how many of the corrections with the lowest agreement are kept for pictures.
        max_pixels: leave out regions of larger images.
        workers: how many processes decode the export; the report is the same.
    """

    unlinked: bool = False
    worst_count: int = 8
    max_pixels: int = MAX_PIXELS
    workers: int = 1


@dataclass(frozen=True)
class Evaluation:
    """The report, the corrections of its worst images, and a row for each correction of an image."""

    report: CorrectionReport
    worst: tuple[Correction, ...]
    rows: tuple[ImageRow, ...] = ()


def evaluate_corrections(export: Path, config: LabelConfig, options: EvaluationOptions | None = None) -> Evaluation:
    """Compare the predictions of an export with the annotations that replaced them.

    Args:
        export: a JSON file that holds predictions: an export, or tasks as the API gives them. It is read task by task.
        config: the project's label config.
        options: what is compared, and what is kept for pictures.

    Raises:
        EvaluationError: no annotation in the export replaced a prediction; the message says how to get predictions.
        LabelStudioFormatError: the file is no export.
        OSError: the file cannot be read.
    """
    options = options or EvaluationOptions()
    records = read_export(export, config, max_pixels=options.max_pixels, workers=options.workers)
    return evaluate_records(records, categories_of(config), export.name, options)


def evaluate_records(
    records: Iterable[ImageRecord], categories: Iterable[DatasetCategory], source: str, options: EvaluationOptions
) -> Evaluation:
    """Compare the predictions of records with the annotations that replaced them.

    Args:
        records: the images, read once, one at a time.
        categories: the categories of the label config.
        source: the name that the report gives the records.
        options: what is compared, and what is kept for pictures.

    Raises:
        EvaluationError: no annotation replaced a prediction; the message says how to get predictions.
    """
    scores = CorrectionScores(tuple(categories), worst_count=options.worst_count)
    for record in records:
        scores.tally.images_in += 1
        for lost in record.left_out:
            scores.tally.leave_out(lost.reason, lost.where)
        for item in find_corrections(record, unlinked=options.unlinked):
            scores.add(item)
    report = scores.report(source)
    if not report.counts.corrections_out:
        raise EvaluationError(_why_nothing_was_compared(report))
    return Evaluation(report, scores.worst(), scores.rows())


def _why_nothing_was_compared(report: CorrectionReport) -> str:
    reasons = {**report.counts.not_compared, **report.counts.left_out}
    counted = "; ".join(f"{reason}: {times}" for reason, times in reasons.items())
    nobody = set(reasons) == {NOBODY_ANNOTATED}
    advice = "Annotate some of them in Label Studio, and export the project again." if nobody else WHERE_PREDICTIONS_ARE
    return (
        f"expected at least one annotation in {report.source} that replaced a prediction, got none in "
        f"{report.counts.images_in} images ({counted}). {advice}"
    )


def write_evaluation(
    evaluation: Evaluation,
    folder: Path,
    *,
    images: Path | None = None,
    image_root: str = "",
    pages: LabelStudioPages | None = None,
) -> tuple[Path, Path, Path, Path]:
    """Write the report as JSON, Markdown, one HTML page and a CSV by image; each file appears whole or not at all.

    Args:
        evaluation: the report to write.
        folder: the folder to write to. It is made if it is missing; older files of the same names are replaced.
        images: the folder of the images, for pictures of the worst corrections; without it only outlines are drawn.
        image_root: the address that image names are relative to; "" removes what Label Studio put in front.
        pages: where Label Studio is, for links to its tasks (None: there are no links).

    Returns:
        The paths of the four files.

    Raises:
        OutputError: a file cannot be written.
    """
    names = ("corrections.json", "corrections.md", "corrections.html", "corrections.csv")
    data, markdown, page, table = (folder / name for name in names)
    report = evaluation.report
    write_json(report_to_json(report), data)
    with new_file(markdown) as file:
        file.write(report_to_markdown(report, pages))
    with new_file(page) as file:
        file.write(report_to_html(report, evaluation.worst, images=images, image_root=image_root, pages=pages))
    with new_file(table) as file:
        write_by_image(file, evaluation.rows, pages)
    return data, markdown, page, table
