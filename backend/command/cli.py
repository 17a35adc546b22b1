"""The command `ovdiff`.

    ovdiff serve                                              answer Label Studio (settings: `ovdiff settings`)
    ovdiff segment boat.jpg --categories "boat, water"        write boat.overlay.png; seconds on the embedded models
    ovdiff segment photos --categories "boat, water" --out masks --indexed --coco masks.json
    ovdiff segment photos --categories boat --coco boats.json --instances    # an annotation an object, for a detector
    ovdiff segment photos --categories "boat, water" --panoptic panoptic     # an id a pixel: each boat, and the water
    ovdiff segment photos --categories "boat, water" --out masks --min-score 0.3 --threshold boat=0.6
    ovdiff prototypes build "boat, water=sea;lake"            make prototypes ahead of time
    ovdiff prototypes build --anchors                         make those of the preset's anchors, once for all projects
    ovdiff prototypes list                                    list the prototype sets of the bank
    ovdiff prototypes show boat                               write boat.support.png: support images and masks
    ovdiff prototypes remove boat                             delete the prototype sets of boat
    ovdiff presets list                                       list the presets and the weights each one needs
    ovdiff presets show paper > mine.toml                     copy a preset, to change it; then `--preset mine.toml`
    ovdiff presets check fast                                 say which weights are here, and what is missing
    ovdiff presets fetch fast --to weights                    fetch them, for a machine without a network
    ovdiff presets calibrate "boat, water" --preset fast --out mine.toml   # scores become probabilities, without labels
    ovdiff projects list                                      list the projects that the service has stored
    ovdiff projects forget 3                                  make nothing for project 3 any more; prototypes stay
    ovdiff export --project 3                                 write a project's tasks to project-3/export.json
    ovdiff settings                                           list all settings, with the values in force

convert, import, validate and evaluate-corrections are the commands of `converters.cli`. The help of each command shows
the lines above that begin with it.

Exit status: 0 if the command worked; 1 if it failed, or failed for some of the images or categories; 2 if the
arguments, the preset or the settings are wrong, or a library is not installed; 3 if a converter could not carry
everything over; 130 after Ctrl-C. Results that were finished before a failure or Ctrl-C are kept.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import converters.cli
from backend import __version__
from backend.command.console import complain
from backend.errors import BackendError, SettingsError, UsageError
from backend.settings import Settings, read_settings
from converters.console import show_examples
from converters.errors import ConverterError
from ovdiff.errors import MissingExtraError, OVDiffError, PresetError, VocabularyError
from ovdiff.extras import naming_the_extra

if TYPE_CHECKING:
    from ovdiff.bank import Bank
    from ovdiff.engines import SegmentationEngine

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
CATEGORIES_FORM = '"boat, water=sea;lake"'
CATEGORIES_HELP = "names of categories, separated by commas; NAME=PHRASE;PHRASE draws the phrases instead of the name"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status; errors are one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        if "act" not in options:  # a command of the converters, which use no settings
            status: int = options.run(options)
            return status
        settings = read_settings()
        _start_logging(settings.server.log_level)
        with naming_the_extra(f"ovdiff {options.command}"):
            options.act(options, settings)
    except (SettingsError, UsageError, PresetError, VocabularyError, MissingExtraError) as error:
        complain(error)
        return WRONG_USE
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        return FAILED
    except (BackendError, OVDiffError, ConverterError, OSError) as error:
        complain(error)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _start_logging(level: str) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("huggingface_hub").propagate = False  # it writes by itself, and would say everything twice
    # Without torchvision it says twice that it falls back to Pillow, which the models at hand do not notice.
    logging.getLogger("transformers.utils.import_utils").setLevel(logging.ERROR)
    # diffusers 0.42 passes what huggingface_hub 1 deprecates: nothing that a user could do about it
    warnings.filterwarnings("ignore", message="The `local_dir_use_symlinks` argument", category=UserWarning)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ovdiff", description="A project's own words, turned into masks.")
    parser.add_argument("--version", action="version", version=f"ovdiff {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    _add_serve(commands)
    _add_segment(commands)
    _add_prototypes(commands)
    _add_presets(commands)
    _add_projects(commands)
    _add_export(commands)
    converters.cli.add_commands(commands)
    _add_settings(commands)
    of_converters = (converters.cli.__doc__ or "").replace("python -m converters", parser.prog)
    show_examples(parser, f"{__doc__}\n{of_converters}")
    return parser


Commands = argparse._SubParsersAction  # argparse has no public name for what add_subparsers returns


def _add_serve(commands: Commands[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser("serve", help="answer Label Studio's requests until interrupted")
    serve.set_defaults(act=_serve)


def _add_segment(commands: Commands[argparse.ArgumentParser]) -> None:
    segment = commands.add_parser(
        "segment",
        help="segment images and folders of images",
        description="Segment images. Prototypes that the bank lacks are made first. --overlay, --indexed, --coco and "
        "--panoptic choose the results; without any of them the overlay is written. Existing files of the same name "
        "are replaced.",
    )
    segment.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="an image file, or a folder of them")
    segment.add_argument("--categories", required=True, metavar=CATEGORIES_FORM, help=CATEGORIES_HELP)
    segment.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder for the pictures; it gets the same subfolders as the folder of the images. For a single picture "
        "of a single image, a file NAME.png is possible too. "
        "Default: beside each image. A folder of images needs this option",
    )
    segment.add_argument(
        "--overlay", action="store_true", help="write NAME.overlay.png: the image with its categories tinted"
    )
    segment.add_argument(
        "--indexed",
        action="store_true",
        help="write NAME.indexed.png: a palette picture; pixel value 0 is background, 1 the first category and so on",
    )
    segment.add_argument(
        "--coco", type=Path, metavar="FILE", help="write one COCO file with the masks (RLE) and scores of all images"
    )
    segment.add_argument(
        "--split-parts",
        action="store_true",
        help="an annotation for each connected part of a mask in the COCO file, as a detector's training wants it",
    )
    segment.add_argument(
        "--instances",
        action="store_true",
        help="an annotation for each object in the COCO file, and one for each kind of stuff; objects of one kind that "
        "touch are told apart as the preset's [instances] says",
    )
    segment.add_argument(
        "--panoptic",
        type=Path,
        metavar="FOLDER",
        help="write a COCO panoptic dataset into a new folder: an id a pixel, for each object and each kind of stuff",
    )
    segment.add_argument(
        "--min-area",
        type=_area,
        default=0,
        metavar="PX",
        help="drop connected parts of fewer pixels of the image, and count them (default: drop none)",
    )
    converters.cli.add_threshold_arguments(segment, "hide masks", "OVDIFF_MIN_SCORE, else 0, which hides none")
    _add_engine_options(segment)
    segment.set_defaults(act=_segment)


def _add_prototypes(commands: Commands[argparse.ArgumentParser]) -> None:
    prototypes = commands.add_parser("prototypes", help="make, list, look at or remove prototypes")
    verbs = prototypes.add_subparsers(required=True, metavar="VERB")
    build = verbs.add_parser("build", help="make the prototypes of categories that the bank lacks")
    build.add_argument("categories", nargs="?", metavar=CATEGORIES_FORM, help=CATEGORIES_HELP)
    build.add_argument(
        "--anchors", action="store_true", help="also those of the preset's anchors, once for all projects of the preset"
    )
    _add_engine_options(build)
    build.set_defaults(act=_build)
    listing = verbs.add_parser("list", help="list the prototype sets of the bank")
    listing.add_argument(
        "--json", action="store_true", help="print everything that is stored about each set, as JSON for programs"
    )
    _add_bank_option(listing)
    listing.set_defaults(act=_list)
    show = verbs.add_parser("show", help="write a sheet of a category's support images, attribution and masks")
    show.add_argument(
        "which",
        metavar="CATEGORY_OR_KEY",
        help="a category or key that `list` shows; the first six digits of a key are enough",
    )
    show.add_argument(
        "--out",
        type=Path,
        metavar="FILE.png",
        help="the sheet's file (default: CATEGORY.support.png in the current folder)",
    )
    _add_engine_options(show)
    show.set_defaults(act=_show)
    remove = verbs.add_parser(
        "remove", help="delete prototype sets, and their support images if no other set was made from them"
    )
    remove.add_argument("which", nargs="+", metavar="KEY_OR_CATEGORY", help="a category stands for all of its sets")
    remove.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    _add_bank_option(remove)
    remove.set_defaults(act=_remove)


def _add_presets(commands: Commands[argparse.ArgumentParser]) -> None:
    presets = commands.add_parser("presets", help="list, show or check presets, or fetch the weights of one")
    verbs = presets.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="list the presets that come with ovdiff, and their weights")
    listing.set_defaults(act=_list_presets)
    show = verbs.add_parser("show", help="print a whole preset as TOML, with the licences of its weights")
    show.add_argument("preset", metavar="NAME_OR_FILE")
    show.set_defaults(act=_show_preset)
    for verb in (listing, show):
        verb.add_argument("--json", action="store_true", help="print it as JSON, for programs")
    check = verbs.add_parser("check", help="say which of a preset's weights are on this machine, and what is missing")
    check.add_argument("preset", metavar="NAME_OR_FILE")
    check.set_defaults(act=_check_preset)
    fetch = verbs.add_parser("fetch", help="fetch a preset's weights ahead of time, gigabytes for some presets")
    fetch.add_argument("preset", metavar="NAME_OR_FILE")
    fetch.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="write them there, with a preset file that reads them from there, for a machine without a network "
        "(default: the caches of the libraries)",
    )
    fetch.set_defaults(act=_fetch_preset)
    calibrate = verbs.add_parser(
        "calibrate",
        help="write a preset whose scores are probabilities, fitted on support images with their own masks",
        description="Fit the scores of a preset on the support images of your words, which come with their own masks, "
        "so no labels are needed. A score is then the probability that a region is right, at an IoU of 0.5. Prototypes "
        "that the bank lacks are made first.",
    )
    calibrate.add_argument("categories", metavar=CATEGORIES_FORM, help=CATEGORIES_HELP)
    calibrate.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE.toml",
        help="the preset file to write: the preset as it is, with other scores",
    )
    _add_engine_options(calibrate)
    calibrate.set_defaults(act=_calibrate_preset)


def _add_projects(commands: Commands[argparse.ArgumentParser]) -> None:
    projects = commands.add_parser("projects", help="list the projects that the service has stored, or forget some")
    verbs = projects.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="list the projects with their labels")
    listing.add_argument("--json", action="store_true", help="print it as JSON, for programs")
    listing.set_defaults(act=_list_projects)
    forget = verbs.add_parser("forget", help="forget projects; works while the service runs, too")
    forget.add_argument("which", nargs="+", metavar="N_OR_UID", help="the N of the address /projects/N/, or a uid")
    forget.set_defaults(act=_forget_projects)


def _add_settings(commands: Commands[argparse.ArgumentParser]) -> None:
    settings = commands.add_parser(
        "settings", help="print all settings: the values in force and where they come from, units and reasons"
    )
    settings.add_argument("--json", action="store_true", help="print them as JSON, for programs")
    settings.set_defaults(act=_settings)


def _add_export(commands: Commands[argparse.ArgumentParser]) -> None:
    export = commands.add_parser(
        "export",
        help="fetch a project's tasks, annotations, predictions and label config from Label Studio",
        description="Fetch a project from LABEL_STUDIO_URL with LABEL_STUDIO_API_KEY: all tasks with their annotations "
        "and predictions (export.json) and the label config (config.xml), as convert, validate and "
        "evaluate-corrections read them. Older files of these names are replaced when everything has arrived.",
    )
    export.add_argument(
        "--project", type=_project_number, required=True, metavar="N", help="the N of the address /projects/N/"
    )
    export.add_argument("--out", type=Path, metavar="FOLDER", help="folder for the two files (default: project-N)")
    export.set_defaults(act=_export)


def _area(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise argparse.ArgumentTypeError(f"expected a whole number of pixels, 0 or more, got {text!r:.60}")
    return int(text)


def _project_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise argparse.ArgumentTypeError(f"expected the number of a project, as in /projects/3/, got {text!r:.60}")
    return int(text)


def _add_engine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset",
        metavar="NAME_OR_FILE",
        help="models and hyper-parameters; see `ovdiff presets list` (or OVDIFF_PRESET)",
    )
    parser.add_argument("--device", help="torch device, such as cpu or cuda (or OVDIFF_DEVICE)")
    _add_bank_option(parser)


def _add_bank_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bank", type=Path, metavar="FOLDER", help="folder of the prototypes (default: bank in OVDIFF_DATA_DIR)"
    )


def _serve(options: argparse.Namespace, settings: Settings) -> None:
    from backend.serving.http.listening import serve

    serve(settings)


def _segment(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.plan import Wanted, make_plan
    from backend.command.prototypes import read_categories
    from backend.command.segment import check_vocabulary, segment_images
    from converters.commands import thresholds_of

    overlay = options.overlay or not (options.indexed or options.coco or options.panoptic)
    vocabulary = read_categories(options.categories)
    wanted = Wanted(
        options.out,
        overlay,
        options.indexed,
        options.coco,
        options.split_parts,
        options.min_area,
        thresholds_of(options, settings.output.min_score),
        options.instances,
        options.panoptic,
    )
    plan = make_plan(options.images, wanted)
    check_vocabulary(vocabulary, plan)
    segment_images(plan, vocabulary, _engine(options, settings), max_px=settings.images.image_max_px)


def _build(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.prototypes import anchors_of, build_prototypes, read_categories

    if options.categories is None and not options.anchors:
        raise UsageError('Nothing to build: name categories, such as "boat, water", or pass --anchors.')
    asked = read_categories(options.categories).categories if options.categories is not None else ()
    engine = _engine(options, settings)
    build_prototypes([*asked, *(anchors_of(engine) if options.anchors else ())], engine)


def _list(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.prototypes import list_prototypes

    list_prototypes(_bank(options, settings), as_json=options.json)


def _show(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.projects import known_projects
    from backend.command.show import show_prototypes

    bank, projects = _bank(options, settings), known_projects(settings)
    show_prototypes(bank, options.which, _engine(options, settings), options.out, projects)


def _remove(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.console import ask
    from backend.command.prototypes import remove_prototypes

    remove_prototypes(_bank(options, settings), options.which, (lambda question: True) if options.yes else ask)


def _list_presets(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.presets import list_presets

    list_presets(as_json=options.json)


def _show_preset(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.presets import show_preset

    show_preset(options.preset, as_json=options.json)


def _check_preset(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.preset_weights import check_preset

    check_preset(options.preset)


def _fetch_preset(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.preset_weights import fetch_preset

    fetch_preset(options.preset, options.to)


def _calibrate_preset(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.calibrate import calibrate_preset
    from backend.command.prototypes import read_categories

    vocabulary, base = read_categories(options.categories), options.preset or settings.preset
    calibrate_preset(base, vocabulary, _engine(options, settings), options.out)


def _list_projects(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.projects import list_projects

    list_projects(settings, as_json=options.json)


def _forget_projects(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.projects import forget_projects

    forget_projects(settings, options.which)


def _settings(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.settings import show_settings

    show_settings(as_json=options.json)


def _export(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.export import export_project
    from backend.sources.label_studio import LabelStudioClient

    folder = options.out or Path(f"project-{options.project}")
    export_project(LabelStudioClient(settings.label_studio), options.project, folder)


def _engine(options: argparse.Namespace, settings: Settings) -> SegmentationEngine:
    """Return the engine that the options or else the settings ask for; a wrong preset is refused before torch loads."""
    from backend import engine
    from ovdiff.engines import load_any_preset

    preset = load_any_preset(options.preset or settings.preset)
    made = engine.make_engine(preset, _bank(options, settings), options.device or settings.device)
    if options.preset is None:
        engine.tell_default(settings.preset)
    return made


def _bank(options: argparse.Namespace, settings: Settings) -> Bank:
    from ovdiff.bank import Bank

    return Bank(options.bank or settings.bank_dir)


if __name__ == "__main__":
    sys.exit(main())
