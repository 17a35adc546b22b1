"""The command `python -m converters`.

    python -m converters convert coco export.json --label-config config.xml --out coco.json
    python -m converters convert panoptic export.json --label-config config.xml --out panoptic --stuff sky grass
    python -m converters convert semantic-png export.json --label-config config.xml --out masks --ignore-label unsure
    python -m converters convert yolo export.json --label-config config.xml --out yolo --images pictures
    python -m converters convert voc export.json --label-config config.xml --out voc --split-parts --min-area 100
    python -m converters convert csv export.json --label-config config.xml --out regions.csv
    python -m converters import coco coco.json --out tasks.json --label-config-out config.xml
    python -m converters convert coco export.json --label-config config.xml --original coco.json --out corrected.json
    python -m converters import panoptic panoptic.json --out tasks.json --label-config-out config.xml
    python -m converters import semantic-png masks --out tasks.json --label-config-out config.xml
    python -m converters import yolo yolo --out tasks.json --label-config-out config.xml
    python -m converters join shards --out masks.json
    python -m converters thresholds masks.json --threshold boat=0.6 --out chosen.json
    python -m converters validate export.json --label-config config.xml --images pictures
    python -m converters evaluate-corrections export.json --label-config config.xml --out corrections

The help of each command shows the lines above that begin with it. Every command ends with the counts of what it read
and what it wrote. The exit status is

    0     everything that was read was also written, or nothing wrong was found
    1     the command failed and wrote nothing
    2     the arguments are wrong
    3     the output was written, but something was left out, or `validate` found something; the list says what
    130   somebody pressed Ctrl-C

Output appears whole or not at all. Exports are read task by task, so they may be larger than the memory.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from converters import commands, option_values
from converters.console import (
    FAILED,
    INTERRUPTED,
    Parser,
    add_answer_options,
    answering,
    complain,
    describe_commands,
    in_words,
    show_examples,
)
from converters.errors import ConverterError
from converters.label_studio.tasks import WRITABLE_TAGS

Run = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


@cache  # whoever calls the command line again and again in one process, as its tests do, builds it once
def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m converters", description="Label Studio's formats and the field's.")
    add_commands(parser.add_subparsers(required=True, metavar="COMMAND"))
    describe_commands(parser)
    show_examples(parser, __doc__ or "")
    return parser


def add_commands(subparsers: Any) -> None:
    """Add the commands to a parser.

    Args:
        subparsers: the object that `ArgumentParser.add_subparsers` returned. Each command sets the option `run`, a
            function from the parsed options to an exit status. It raises BrokenPipeError if nobody reads stdout any
            more.
    """
    _add_convert(subparsers)
    _add_import(subparsers)
    _add_join(subparsers)
    _add_thresholds(subparsers)
    _add_validate(subparsers)
    _add_evaluate(subparsers)


def _run(command: Run, called: str, options: argparse.Namespace) -> int:
    """Run a command and return its exit status; an input that it cannot use becomes one line on stderr."""
    try:
        with answering(as_json=options.json, quiet=options.quiet):
            return command(options)
    except ConverterError as error:
        complain(called, error)
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(called, in_words(error))
    return FAILED


def _set_run(parser: argparse.ArgumentParser, command: Run) -> None:
    add_answer_options(parser, "say only what was left out or is to be done; the exit status stays")
    parser.set_defaults(run=partial(_run, command, parser.prog))


# ---------------------------------------------------------------- convert


def _add_convert(subparsers: Any) -> None:
    convert = subparsers.add_parser("convert", help="convert a Label Studio export")
    formats = convert.add_subparsers(required=True, metavar="FORMAT")

    coco = formats.add_parser("coco", help="convert to COCO instances")
    _add_export_arguments(coco, "the COCO file")
    _add_shape_arguments(coco)
    coco.add_argument("--polygons", action="store_true", help="polygons where a mask has no hole (default: RLE)")
    form = coco.add_mutually_exclusive_group()
    form.add_argument("--results", action="store_true", help="a results list, for loadRes; needs --predictions")
    form.add_argument(
        "--original",
        type=Path,
        metavar="COCO",
        help="write the corrections back into this file, which was imported: what nobody touched stays as it was",
    )
    coco.add_argument("--allow-empty", action="store_true", help="write the file even without any annotation")
    _set_run(coco, commands.convert_coco)

    panoptic = formats.add_parser("panoptic", help="convert to COCO panoptic: PNGs and a JSON")
    _add_export_arguments(panoptic, "a new folder")
    panoptic.add_argument(
        "--stuff", nargs="+", default=[], metavar="LABEL", help='stuff, beside labels with kind="stuff"'
    )
    _set_run(panoptic, commands.convert_panoptic)

    semantic = formats.add_parser("semantic-png", help="convert to one indexed PNG an image and labels.json")
    _add_export_arguments(semantic, "a new folder")
    semantic.add_argument("--ignore-label", metavar="LABEL", help="its regions become 255: pixels that do not count")
    _set_run(semantic, commands.convert_semantic_png)

    yolo = formats.add_parser("yolo", help="convert to YOLO segmentation, or boxes, in Ultralytics' layout")
    _add_export_arguments(yolo, "a new folder")
    _add_shape_arguments(yolo)
    yolo.add_argument("--boxes", action="store_true", help="the box of each region, for a detector (default: polygons)")
    _set_run(yolo, commands.convert_yolo)

    voc = formats.add_parser("voc", help="convert to PASCAL VOC's XML: boxes alone, without shapes and scores")
    _add_export_arguments(voc, "a new folder")
    _set_run(voc, commands.convert_voc)

    table = formats.add_parser(
        "csv", help="convert to one CSV table: boxes, areas and scores of regions, without shapes"
    )
    _add_export_arguments(table, "the CSV file")
    _set_run(table, commands.convert_csv)


def _add_export_arguments(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("export", type=Path, help="JSON or JSON_MIN export, or tasks as the API gives them")
    parser.add_argument("--label-config", type=Path, required=True, help="the project's label config (XML file)")
    parser.add_argument("--out", type=Path, required=True, help=out)
    parser.add_argument("--predictions", action="store_true", help="what models predicted, not what people marked")
    parser.add_argument("--every-annotator", action="store_true", help="all annotations of an image, not one of them")
    parser.add_argument("--keep-unlabelled", action="store_true", help="also images that nobody has annotated")
    parser.add_argument(
        "--split-parts",
        action="store_true",
        help="an entry for each connected part of a region: for a detector's training on predictions, whose masks hold "
        "all objects of a label (semantic PNGs stay the same: they know no objects)",
    )
    parser.add_argument(
        "--min-area",
        type=option_values.count,
        default=0,
        metavar="PX",
        help="drop connected parts of fewer pixels of the original image, and count them (default: drop none)",
    )
    add_threshold_arguments(parser, "drop predicted regions; needs --predictions")
    _add_workers_argument(parser)
    _add_image_arguments(parser, "where the images are: sizes of those without a region (YOLO, VOC: copied, too)")


def add_threshold_arguments(parser: argparse.ArgumentParser, what: str, default: str = "0, which drops none") -> None:
    """Add --min-score and --threshold to a parser; `commands.thresholds_of` reads them.

    Args:
        parser: the parser of a command.
        what: what happens below the thresholds, for the help.
        default: what holds without --min-score, for the help.
    """
    parser.add_argument(
        "--min-score",
        type=option_values.score,
        metavar="S",
        help=f"{what} with a score below S, from 0 to 1 (default: {default})",
    )
    parser.add_argument(
        "--threshold",
        type=option_values.threshold,
        action="append",
        default=[],
        metavar="LABEL=S",
        help="another such score for one label; may be given several times",
    )


def _add_workers_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=option_values.workers,
        default=1,
        metavar="N",
        help="processes that decode and encode masks (default: 1); the output is the same",
    )


def _add_image_arguments(parser: argparse.ArgumentParser, images: str) -> None:
    parser.add_argument("--images", type=option_values.folder, metavar="DIR", help=images)
    parser.add_argument(
        "--image-root", default="", metavar="ADDRESS", help="what precedes the file names in the tasks' addresses"
    )


def _add_shape_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tolerance",
        type=option_values.distance,
        default=1.0,
        metavar="PX",
        help="of a polygon, in pixels (default: 1)",
    )
    parser.add_argument(
        "--max-vertices", type=option_values.vertices, metavar="N", help="at most so many points a polygon"
    )


# ---------------------------------------------------------------- import


def _add_import(subparsers: Any) -> None:
    parser = subparsers.add_parser("import", help="turn a dataset into Label Studio tasks")
    formats = parser.add_subparsers(required=True, metavar="FORMAT")

    coco = formats.add_parser("coco", help="turn COCO instances into tasks")
    _add_import_arguments(coco, "the COCO file")
    coco.add_argument(
        "--images", type=option_values.folder, metavar="DIR", help="where the images are: sizes that the file lacks"
    )
    _set_run(coco, commands.import_coco)

    panoptic = formats.add_parser("panoptic", help="turn COCO panoptic into tasks")
    _add_import_arguments(panoptic, "the JSON, or the folder that `convert panoptic` made")
    panoptic.add_argument(
        "--masks", type=option_values.folder, metavar="DIR", help="PNGs (default: beside the JSON, named as it)"
    )
    panoptic.add_argument(
        "--images", type=option_values.folder, metavar="DIR", help="where the images are: sizes the file lacks"
    )
    _set_run(panoptic, commands.import_panoptic)

    semantic = formats.add_parser(
        "semantic-png", help="turn label PNGs into tasks, also those of VOC, ADE20K and Cityscapes"
    )
    _add_import_arguments(semantic, "a folder with labels.json and masks/, or a dataset of --labels")
    semantic.add_argument(
        "--labels",
        metavar="LIST",
        help="what the pixels mean: voc, ade20k, cityscapes, or a text file of names (default: labels.json)",
    )
    semantic.add_argument(
        "--void", type=option_values.count, nargs="+", default=[], metavar="N", help="values that do not count"
    )
    semantic.add_argument("--ignore-label", metavar="LABEL", help="a label for the pixels that do not count")
    semantic.add_argument(
        "--image-suffix", default=".png", metavar=".jpg", help="of the images, where nothing else says it"
    )
    _set_run(semantic, commands.import_semantic_png)

    yolo = formats.add_parser("yolo", help="turn YOLO segmentation or boxes into tasks")
    _add_import_arguments(yolo, "a folder with images, labels and a YAML file of names, or that file")
    yolo.add_argument(
        "--images", type=option_values.folder, metavar="DIR", help="where the images are, if not in the folder"
    )
    yolo.add_argument("--data-yaml", type=Path, metavar="FILE", help="the YAML file of names, if not in the folder")
    _set_run(yolo, commands.import_yolo)


def _add_import_arguments(parser: argparse.ArgumentParser, source: str) -> None:
    parser.add_argument("source", type=Path, help=source)
    parser.add_argument("--out", type=Path, required=True, metavar="tasks.json", help="what to import in Label Studio")
    parser.add_argument("--label-config-out", type=Path, metavar="config.xml", help="a label config that fits")
    parser.add_argument(
        "--as",
        dest="mark_as",
        choices=("predictions", "annotations"),
        help="predictions are there to be corrected, annotations are finished (default: predictions if they have "
        "scores)",
    )
    parser.add_argument("--model-version", default="imported", help="of predictions that name none")
    parser.add_argument(
        "--image-root", default="", metavar="ADDRESS", help="put before each file name, e.g. /data/local-files/?d=x/"
    )
    parser.add_argument(
        "--control", choices=WRITABLE_TAGS, default=WRITABLE_TAGS[0], help="which tool shows the regions"
    )
    parser.add_argument(
        "--boxes",
        choices=("rectangles", "masks"),
        default="rectangles",
        help="boxes of the dataset as rectangles, or filled with the tool of the other regions (default: rectangles)",
    )
    _add_workers_argument(parser)


# ---------------------------------------------------------------- look


def _add_join(subparsers: Any) -> None:
    join = subparsers.add_parser(
        "join",
        help="join the shards of `ovdiff segment --manifest` into one COCO file",
        description="Join shards, COCO files or Parquet tables, into one COCO file. Ids stay as they are. Images and "
        "annotations wait on the disk, so the file may be larger than the memory.",
    )
    join.add_argument(
        "shards",
        type=option_values.shards,
        nargs="+",
        metavar="FOLDER",
        help="the folder of the shards, or their files, on this machine",
    )
    join.add_argument("--out", type=Path, required=True, metavar="FILE", help="the COCO file")
    _set_run(join, commands.join)


def _add_thresholds(subparsers: Any) -> None:
    thresholds = subparsers.add_parser(
        "thresholds",
        help="say what would remain of predicted masks at other thresholds; no model runs",
        description="Print how many predicted masks of each category have a score of at least 0.1, 0.2 ... 0.9, from "
        "the scores in a COCO file: one that `ovdiff segment --coco` wrote, or `convert coco --predictions` of a "
        "project. With thresholds, also how many these leave; with --out, write the file without the others.",
    )
    thresholds.add_argument("file", type=Path, help="a COCO file whose annotations have scores")
    add_threshold_arguments(thresholds, "hide masks")
    thresholds.add_argument("--out", type=Path, metavar="FILE", help="a COCO file of the masks that remain")
    _set_run(thresholds, commands.thresholds)


def _add_validate(subparsers: Any) -> None:
    validate = subparsers.add_parser("validate", help="find what Label Studio drops or hides in silence")
    validate.add_argument("file", type=Path, help="tasks for import, an export, or tasks as the API gives them")
    validate.add_argument("--label-config", type=Path, required=True, help="the project's label config (XML file)")
    validate.add_argument("--negatives", action="store_true", help="annotations without a region are meant")
    _add_image_arguments(validate, "where the images are, to hold sizes against them (EXIF applied)")
    _set_run(validate, commands.validate)


def _add_evaluate(subparsers: Any) -> None:
    evaluate = subparsers.add_parser(
        "evaluate-corrections", help="compare predictions with the annotations that replaced them"
    )
    evaluate.add_argument("export", type=Path, help="JSON that holds predictions, too")
    evaluate.add_argument("--label-config", type=Path, required=True, help="the project's label config (XML file)")
    evaluate.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="for the report: HTML, Markdown, JSON, CSV"
    )
    evaluate.add_argument("--unlinked", action="store_true", help="annotations that name no prediction, too")
    evaluate.add_argument(
        "--worst", type=option_values.count, default=8, metavar="N", help="so many pictures (default: 8)"
    )
    evaluate.add_argument(
        "--label-studio-url", metavar="URL", help="address of Label Studio, for links from the report to its tasks"
    )
    evaluate.add_argument(
        "--project",
        type=option_values.project,
        metavar="N",
        help="number of the project in these links (needs the address), where the export has none",
    )
    _add_workers_argument(evaluate)
    _add_image_arguments(evaluate, "where the images are, for pictures of the worst")
    _set_run(evaluate, commands.evaluate)
