"""From an export to what its corrections say: read, pair, sum up, write; each task is forgotten once counted.

    evaluation = evaluate_corrections(Path("export.json"), parse_label_config(xml))
    write_evaluation(evaluation, Path("corrections"), images=Path("images"))

writes `corrections.json`, `corrections.md` and `corrections.html` into the folder. The export must hold the
predictions themselves: see `report_text.WHERE_PREDICTIONS_ARE`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from converters.corrections.pairs import Correction, find_corrections
from converters.corrections.result import CorrectionReport, report_to_json
from converters.corrections.scores import CorrectionScores
from converters.encodings.masks import MAX_PIXELS
from converters.errors import EvaluationError
from converters.files.output import new_file, write_json
from converters.label_studio.categories import categories_of
from converters.label_studio.label_config import LabelConfig
from converters.label_studio.reader import read_export
from converters.records import DatasetCategory, ImageRecord
from converters.report.html import report_to_html
from converters.report.markdown import report_to_markdown
from converters.report.text import WHERE_PREDICTIONS_ARE


@dataclass(frozen=True)
class EvaluationOptions:
    """How to evaluate.

    Attributes:
        unlinked: hold annotations that name no prediction against the newest one too.
        worst_count: so many of the images with the lowest agreement are kept as pictures.
        max_pixels: leave out regions of larger images.
    """

    unlinked: bool = False
    worst_count: int = 8
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class Evaluation:
    """The report, and the corrections behind its worst images."""

    report: CorrectionReport
    worst: tuple[Correction, ...]


def evaluate_corrections(export: Path, config: LabelConfig, options: EvaluationOptions | None = None) -> Evaluation:
    """Compare the predictions of an export with the annotations that replaced them.

    Args:
        export: JSON with predictions, as an export or as the API gives tasks; it streams.
        config: the project's label config.
        options: see there.

    Raises:
        EvaluationError: no annotation in it replaced a prediction; the message says how to get them.
        LabelStudioFormatError: the file is no export.
        OSError: it cannot be read.
    """
    options = options or EvaluationOptions()
    records = read_export(export, config, max_pixels=options.max_pixels)
    return evaluate_records(records, categories_of(config), export.name, options)


def evaluate_records(
    records: Iterable[ImageRecord], categories: Iterable[DatasetCategory], source: str, options: EvaluationOptions
) -> Evaluation:
    """Do the same with records from anywhere; `source` is what the report calls them."""
    scores = CorrectionScores(tuple(categories), worst_count=options.worst_count)
    for record in records:
        scores.tally.images_in += 1
        for lost in record.left_out:
            scores.tally.leave_out(lost.reason, lost.where)
        for item in find_corrections(record, unlinked=options.unlinked):
            scores.add(item)
    report = scores.report(source)
    if not report.counts.corrections_out:
        reasons = {**report.counts.not_compared, **report.counts.left_out}
        raise EvaluationError(
            f"expected at least one annotation in {source} that replaced a prediction, got none in "
            f"{report.counts.images_in} images ({reasons}). {WHERE_PREDICTIONS_ARE}"
        )
    return Evaluation(report, scores.worst())


def write_evaluation(
    evaluation: Evaluation, folder: Path, *, images: Path | None = None, image_root: str = ""
) -> tuple[Path, Path, Path]:
    """Write the report as JSON, Markdown and one HTML page; each whole or not at all.

    Args:
        evaluation: what to write.
        folder: where; made if missing, files of the same names are replaced.
        images: folder of the images, for pictures of the worst; without it their outlines are drawn alone.
        image_root: address that image names are relative to; "" strips what Label Studio put in front.

    Returns:
        The three files.

    Raises:
        OutputError: they cannot be written.
    """
    paths = (folder / "corrections.json", folder / "corrections.md", folder / "corrections.html")
    write_json(report_to_json(evaluation.report), paths[0])
    with new_file(paths[1]) as file:
        file.write(report_to_markdown(evaluation.report))
    with new_file(paths[2]) as file:
        file.write(report_to_html(evaluation.report, evaluation.worst, images=images, image_root=image_root))
    return paths
