"""The command `ovdiff`.

    ovdiff serve                                            answer Label Studio (settings: `ovdiff settings`)
    ovdiff segment boat.jpg --categories "boat, water"      write boat.overlay.png; seconds on the embedded models
    ovdiff prototypes build "boat, water"                   make prototypes ahead of time
    ovdiff prototypes list                                  what the bank holds
    ovdiff convert coco export.json --label-config config.xml --out coco.json
    ovdiff settings                                         all settings as a table

Exit status: 0 if it worked, 1 if it failed, 2 if the arguments or the settings are wrong, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from backend import __version__
from backend.errors import BackendError, SettingsError
from backend.settings import Settings, read_settings, settings_table
from converters.errors import ConverterError
from ovdiff.errors import OVDiffError

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status; errors are one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        settings = read_settings()
        logging.basicConfig(level=settings.server.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        options.run(options, settings)
    except SettingsError as error:
        _complain(error)
        return WRONG_USE
    except (BackendError, OVDiffError, ConverterError, OSError) as error:
        _complain(error)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ovdiff", description="A project's own words, turned into masks.")
    parser.add_argument("--version", action="version", version=f"ovdiff {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_segment(commands)
    _add_prototypes(commands)
    _add_convert(commands)
    settings = commands.add_parser("settings", help="print all settings with units, defaults and reasons")
    settings.set_defaults(run=lambda options, settings: _say(settings_table()))
    return parser


Commands = argparse._SubParsersAction  # argparse has no public name for what add_subparsers returns


def _add_serve(commands: Commands[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser("serve", help="answer Label Studio's requests until interrupted")
    serve.set_defaults(run=_serve)


def _add_segment(commands: Commands[argparse.ArgumentParser]) -> None:
    segment = commands.add_parser("segment", help="segment an image file and write an overlay")
    segment.add_argument("image", type=Path)
    segment.add_argument("--categories", required=True, metavar='"boat, water=sea;lake"')
    segment.add_argument("--out", type=Path, help="overlay file (default: IMAGE.overlay.png beside the image)")
    segment.set_defaults(run=_segment)


def _add_prototypes(commands: Commands[argparse.ArgumentParser]) -> None:
    prototypes = commands.add_parser("prototypes", help="make or list prototypes")
    verbs = prototypes.add_subparsers(required=True, metavar="VERB")
    build = verbs.add_parser("build", help="make the prototypes of categories that the bank lacks")
    build.add_argument("categories", metavar='"boat, water=sea;lake"')
    build.set_defaults(run=_build)
    verbs.add_parser("list", help="list what the bank holds").set_defaults(run=_list)


def _add_convert(commands: Commands[argparse.ArgumentParser]) -> None:
    convert = commands.add_parser("convert", help="convert a Label Studio export")
    formats = convert.add_subparsers(required=True, metavar="FORMAT")
    coco = formats.add_parser("coco", help="to COCO instances, masks as run lengths")
    coco.add_argument("export", type=Path, help="JSON or JSON_MIN export")
    coco.add_argument("--label-config", type=Path, required=True, help="the project's label config (XML file)")
    coco.add_argument("--out", type=Path, required=True)
    coco.add_argument("--predictions", action="store_true", help="what models predicted, not what people marked")
    coco.add_argument("--split-parts", action="store_true", help="an annotation for each connected part")
    coco.add_argument("--polygons", action="store_true", help="polygons where a mask has no hole")
    coco.add_argument("--allow-empty", action="store_true", help="write the file even without any annotation")
    coco.set_defaults(run=_convert_coco)


def _serve(options: argparse.Namespace, settings: Settings) -> None:
    from backend.app import serve

    serve(settings)


def _segment(options: argparse.Namespace, settings: Settings) -> None:
    from backend.app import make_engine
    from backend.commands import read_categories, segment_file

    out = options.out or options.image.with_suffix(".overlay.png")
    vocabulary = read_categories(options.categories)
    _say(segment_file(options.image, vocabulary, out, settings=settings, engine=make_engine(settings), say=_say))
    _say(f"overlay: {out}")


def _build(options: argparse.Namespace, settings: Settings) -> None:
    from backend.app import make_engine
    from backend.commands import build_missing, read_categories

    build_missing(read_categories(options.categories).categories, make_engine(settings), _say)


def _list(options: argparse.Namespace, settings: Settings) -> None:
    from backend.commands import list_prototypes
    from ovdiff.bank import Bank

    for line in list_prototypes(Bank(settings.bank_dir)):
        _say(line)


def _convert_coco(options: argparse.Namespace, settings: Settings) -> None:
    from backend.commands import convert_to_coco
    from converters.coco import CocoOptions

    chosen = CocoOptions(
        source="predictions" if options.predictions else "annotations",
        split_parts=options.split_parts,
        segmentation="polygons" if options.polygons else "rle",
    )
    _say(convert_to_coco(options.export, options.label_config, options.out, chosen, allow_empty=options.allow_empty))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(error: Exception) -> None:
    sys.stderr.write(f"ovdiff: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
