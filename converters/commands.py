"""What the commands do. The names and types of their arguments are in `cli`.

Each command takes the parsed options and returns an exit status (see `console`). An input that it cannot use raises
ConverterError or OSError.
"""

from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from converters.console import (
    DONE,
    LEFT_BEHIND,
    answer,
    answer_list,
    is_json,
    say,
    say_counts,
    say_left_out,
    say_unless_quiet,
)
from converters.datasets.coco import CocoOptions, write_coco_file, write_coco_results_file
from converters.datasets.coco_details import attribute_names
from converters.datasets.coco_index import coco_categories, read_coco
from converters.datasets.coco_reader import ImagePlace, coco_to_records
from converters.datasets.coco_thresholds import (
    category_names,
    hidden_before,
    require_scores,
    score_counts,
    thresholds_table,
    without_hidden,
)
from converters.datasets.coco_update import update_coco
from converters.datasets.csv_table import write_csv_table
from converters.datasets.panoptic import PanopticOptions, panoptic_to_records, read_panoptic, write_panoptic
from converters.datasets.semantic_png import (
    SemanticOptions,
    write_semantic_png,
)
from converters.datasets.semantic_png_reader import read_semantic_png, semantic_png_to_records
from converters.datasets.shards import join_shards, require_no_shard
from converters.datasets.voc import write_voc
from converters.datasets.yolo import YoloOptions, write_yolo
from converters.datasets.yolo_reader import read_yolo, yolo_to_records
from converters.errors import EvaluationError, OutputError, RecordError
from converters.files.image_files import SizeLookup, folder_sizes
from converters.files.output import JsonList, new_file, write_json
from converters.label_studio.categories import MASK_KINDS, categories_of
from converters.label_studio.config_for import Extras, Needs, answer_names, label_config_for
from converters.label_studio.findings import Finding
from converters.label_studio.label_config import LabelConfig, parse_label_config, read_label_config
from converters.label_studio.reader import Wanted, read_export
from converters.label_studio.tasks import LARGEST_IMPORT_BYTES, marked_as, write_tasks
from converters.label_studio.validate import Expectations, Seen, validate_config, validate_file
from converters.records import DatasetCategory, ImageRecord
from converters.report.advice import what_to_do
from converters.report.evaluate_corrections import EvaluationOptions, evaluate_corrections, write_evaluation
from converters.report.links import LabelStudioPages
from converters.report.text import missing_sentence
from converters.selection import UNKNOWN_SIZE, ConversionCounts, Selection, Thresholds

# ---------------------------------------------------------------- out


def convert_coco(options: Namespace) -> int:
    """Write an export as a COCO file, as COCO results, or back into the COCO file that was imported."""
    chosen = CocoOptions(
        **_selection(options),
        segmentation="polygons" if options.polygons else "rle",
        tolerance_px=options.tolerance,
        max_vertices=options.max_vertices,
    )
    if options.original:
        return _convert_into_original(options, chosen)
    write = write_coco_results_file if options.results else write_coco_file
    records, categories = _export(options)
    counts = write(records, categories, options.out, chosen, _sizes(options), allow_empty=options.allow_empty)
    drawn = f"lowest IoU of a polygon with its region: {counts.lowest_polygon_iou:.4f}" if options.polygons else ""
    return _written(counts, options.out, drawn)


def _convert_into_original(options: Namespace, chosen: CocoOptions) -> int:
    _require_own_file(options.out, options.original)
    records, _ = _export(options)
    config = read_label_config(options.label_config)
    dataset, counts = update_coco(read_coco(options.original), records, config, chosen)
    write_json(dataset, options.out)
    return _written(counts, options.out)


def convert_panoptic(options: Namespace) -> int:
    """Write an export as COCO panoptic."""
    chosen = PanopticOptions(**_selection(options), stuff=frozenset(options.stuff))
    return _written(write_panoptic(*_export(options), options.out, chosen, _sizes(options)), options.out)


def convert_semantic_png(options: Namespace) -> int:
    """Write an export as semantic PNGs."""
    chosen = SemanticOptions(**_selection(options), ignore_label=options.ignore_label)
    return _written(write_semantic_png(*_export(options), options.out, chosen, _sizes(options)), options.out)


def convert_yolo(options: Namespace) -> int:
    """Write an export as a YOLO dataset, of polygons or boxes, with the images if their folder is given."""
    chosen = YoloOptions(
        **_selection(options),
        boxes=options.boxes,
        tolerance_px=options.tolerance,
        max_vertices=options.max_vertices,
    )
    counts = write_yolo(*_export(options), options.out, chosen, _sizes(options), options.images)
    agreement = f"IoU of what was written with the masks: {counts.mean_iou:.4f} on average, {counts.lowest_iou:.4f} at "
    return _written(counts, options.out, "" if options.boxes else agreement + "least")


def convert_voc(options: Namespace) -> int:
    """Write the boxes of an export as VOC's XML, together with the images if their folder is given."""
    chosen = Selection(**_selection(options))
    return _written(write_voc(*_export(options), options.out, chosen, _sizes(options), options.images), options.out)


def convert_csv(options: Namespace) -> int:
    """Write an export as one CSV table of regions."""
    chosen = Selection(**_selection(options))
    return _written(write_csv_table(*_export(options), options.out, chosen, _sizes(options)), options.out)


def _selection(options: Namespace) -> dict[str, Any]:
    thresholds = thresholds_of(options)
    if thresholds and not options.predictions:
        raise RecordError(
            "expected --predictions beside --min-score or --threshold, which are about what models predicted: add it, "
            "or leave them out"
        )
    return {
        "source": "predictions" if options.predictions else "annotations",
        "every_annotator": options.every_annotator,
        "keep_unlabelled": options.keep_unlabelled,
        "image_root": options.image_root,
        "split_parts": options.split_parts,
        "min_area_px": options.min_area,
        "thresholds": thresholds,
    }


def thresholds_of(options: Namespace, min_score: float = 0.0) -> Thresholds:
    """Return the thresholds of --min-score and --threshold; `min_score` holds without --min-score."""
    return Thresholds(min_score if options.min_score is None else options.min_score, dict(options.threshold))


def _require_own_file(out: Path, *others: Path | None) -> None:
    """Refuse to write an output over a file that the command reads, or over another output."""
    if any(other is not None and out.resolve() == other.resolve() for other in others):
        raise OutputError(
            f"expected {out} to be a file of its own, got one that this command uses besides: name another"
        )


def _export(options: Namespace) -> tuple[Iterator[ImageRecord], tuple[DatasetCategory, ...]]:
    _require_own_file(options.out, options.export, options.label_config)
    config = read_label_config(options.label_config)
    wanted = Wanted("all" if options.every_annotator else "preferred", "none")
    if options.predictions:
        wanted = Wanted("none", "newest")
    categories = categories_of(config)
    if not categories:
        raise RecordError(
            f"{options.label_config}: expected labels of a control that marks areas ({', '.join(MASK_KINDS)}), got "
            "none; labels of keypoints, and labels that each task brings along, are no categories"
        )
    thresholds_of(options).require_known([category.name for category in categories])
    return read_export(options.export, config, wanted=wanted, workers=options.workers), categories


def _sizes(options: Namespace) -> SizeLookup | None:
    return folder_sizes(options.images) if options.images else None


def _written(counts: ConversionCounts, out: Path, more: str = "", others: Sequence[Path] = ()) -> int:
    status = say_counts(counts, more)
    if UNKNOWN_SIZE in counts.left_out:
        say("A size that nothing states is that of the image's file: name the folder of the images with --images.")
    say_unless_quiet(f"written: {out}")
    answer({**vars(counts), "written": [out, *others]})
    return status


# ---------------------------------------------------------------- back in


def import_coco(options: Namespace) -> int:
    """Write a COCO file as tasks for import."""
    dataset, sizes = read_coco(options.source), _sizes(options)
    answers = answer_names(attribute_names(dataset))
    return _import(options, coco_categories(dataset), lambda place: coco_to_records(dataset, place, sizes), answers)


def import_panoptic(options: Namespace) -> int:
    """Write a COCO panoptic dataset as tasks for import."""
    dataset, masks = read_panoptic(options.source)
    folder, sizes = options.masks or masks, _sizes(options)
    return _import(options, coco_categories(dataset), lambda place: panoptic_to_records(dataset, folder, place, sizes))


def import_semantic_png(options: Namespace) -> int:
    """Write semantic PNGs as tasks for import."""
    dataset = read_semantic_png(
        options.source,
        options.labels,
        image_suffix=options.image_suffix,
        void=options.void,
        void_label=options.ignore_label,
    )
    return _import(options, dataset.categories, lambda place: semantic_png_to_records(dataset, place))


def import_yolo(options: Namespace) -> int:
    """Write a YOLO dataset as tasks for import."""
    dataset = read_yolo(options.source, images=options.images, data_yaml=options.data_yaml)
    sizes = folder_sizes(dataset.images)
    return _import(options, dataset.categories, lambda place: yolo_to_records(dataset, sizes, place))


def _import(
    options: Namespace,
    categories: tuple[DatasetCategory, ...],
    records_at: Callable[[ImagePlace], Iterable[ImageRecord]],
    answers: tuple[str, ...] = (),
) -> int:
    """Write tasks and, if its path is given, a label config that fits them."""
    for out, other in ((options.out, options.label_config_out), (options.label_config_out, options.out)):
        if out is not None:
            _require_own_file(out, options.source, other)
    offered = Extras(boxes=options.boxes == "rectangles", crowds=True, hidden=True, answers=answers)
    config: LabelConfig = parse_label_config(label_config_for(categories, options.control, extras=offered))
    needs = Needs()
    records = needs.seen(records_at(ImagePlace(options.image_root, config.images[0].name)))
    records = (marked_as(record, options.mark_as, options.model_version) for record in records)
    counts = write_tasks(records, config, options.out, workers=options.workers)
    if options.label_config_out:
        with new_file(options.label_config_out) as file:
            file.write(label_config_for(categories, options.control, extras=needs.of(offered)))
    if (size := options.out.stat().st_size) >= LARGEST_IMPORT_BYTES:
        say(
            f"Label Studio refuses files of {LARGEST_IMPORT_BYTES} bytes or more, and {options.out} has {size}: start "
            f"Label Studio with DATA_UPLOAD_MAX_MEMORY_SIZE={size + 1}, or import the tasks in several files."
        )
    return _written(counts, options.out, others=[options.label_config_out] if options.label_config_out else ())


# ---------------------------------------------------------------- look


def thresholds(options: Namespace) -> int:
    """Print what would remain of a COCO file of predictions at other thresholds; write it if a file is named."""
    dataset, chosen = read_coco(options.file), thresholds_of(options)
    require_scores(dataset, options.file)
    chosen.require_known(list(category_names(dataset).values()))
    counted, written = score_counts(dataset, chosen), {}
    say(thresholds_table(counted))
    if earlier := hidden_before(dataset):
        say(f"{options.file} was written with {earlier}: what that hid is in no column. Segment again without it.")
    if options.out:
        _require_own_file(options.out, options.file)
        shown, hidden = without_hidden(dataset, chosen)
        write_json(shown, options.out)
        counts = f"{len(dataset['annotations'])} read, {len(shown['annotations'])} written, {hidden} hidden"
        say_unless_quiet(f"annotations: {counts}")
        say_unless_quiet(f"written: {options.out}")
        written = {"annotations_out": len(shown["annotations"]), "hidden": hidden, "written": [options.out]}
    answer({"categories": counted, "annotations_in": len(dataset["annotations"]), **written})
    return DONE


def join(options: Namespace) -> int:
    """Join shards into one COCO file."""
    _require_own_file(options.out, *options.shards)
    require_no_shard(options.out, options.shards)
    joined = join_shards(options.shards, options.out)
    say_unless_quiet(f"shards: {joined.shards}; images: {joined.images}; annotations: {joined.annotations}")
    if joined.left_out:
        say(f"rows of the manifest without a result: {joined.left_out}; the shards' index names them")
    if not joined.is_whole:
        say("No index says that these are all shards: the run that made them may not have ended.")
    say_unless_quiet(f"written: {options.out}")
    answer({**vars(joined), "written": [options.out]})
    return LEFT_BEHIND if joined.left_out or not joined.is_whole else DONE


def validate(options: Namespace) -> int:
    """Print the faults that Label Studio would drop or hide in silence, those of the label config first."""
    config = read_label_config(options.label_config)
    expected = Expectations(config, _sizes(options), options.image_root, negatives=options.negatives)
    seen = Seen()
    of_config = ((options.label_config, finding) for finding in validate_config(config))
    of_tasks = ((options.file, finding) for finding in validate_file(options.file, expected, seen))
    findings = chain(of_config, of_tasks)
    count = _answer_findings(findings) if is_json() else _say_lines(findings)
    say_unless_quiet(f"{seen.tasks} tasks and {seen.results} results looked at, {count} findings")
    return LEFT_BEHIND if count else DONE


def _say_lines(findings: Iterable[tuple[Path, Finding]]) -> int:
    count = 0
    for file, finding in findings:
        say(f"{file}: {finding.text()}")
        count += 1
    return count


def _answer_findings(findings: Iterable[tuple[Path, Finding]]) -> int:
    """Print one JSON list after the last finding, and return how many findings it holds."""
    found = JsonList()
    for file, finding in findings:
        found.append({"file": str(file), **asdict(finding)})
    answer_list(found.text())
    return len(found)


def evaluate(options: Namespace) -> int:
    """Compare predictions with the annotations that replaced them, and write a report."""
    config = read_label_config(options.label_config)
    pages = _pages(options)
    chosen = EvaluationOptions(options.unlinked, options.worst, workers=options.workers)
    evaluation = evaluate_corrections(options.export, config, chosen)
    paths = write_evaluation(evaluation, options.out, images=options.images, image_root=options.image_root, pages=pages)
    counts = evaluation.report.counts
    say_unless_quiet(f"images: {counts.images_in} read; corrections compared: {counts.corrections_out}")
    say_unless_quiet(f"regions: {counts.predicted_regions} predicted, {counts.annotated_regions} annotated")
    for reason, times in counts.not_compared.items():
        say(f"not compared, {reason}: {times}")
    status = say_left_out(counts.left_out, counts.details)
    if how := missing_sentence(evaluation.report):
        say(how)
    advices = what_to_do(evaluation.report)
    for number, advice in enumerate(advices, start=1):
        say(f"{number}. {advice.sentence}")
    say_unless_quiet(f"written: {', '.join(map(str, paths))}")
    answer({"counts": counts, "advice": [advice.sentence for advice in advices], "written": paths})
    return status


def _pages(options: Namespace) -> LabelStudioPages | None:
    """Return where the links of the report lead, None if no address was given and the report has no links."""
    if options.label_studio_url:
        return LabelStudioPages(options.label_studio_url, options.project)
    if options.project is not None:
        raise EvaluationError(
            f"expected --label-studio-url beside --project {options.project}, which is the project in the report's "
            "links and does nothing alone: add the address of Label Studio, or leave out --project"
        )
    return None
