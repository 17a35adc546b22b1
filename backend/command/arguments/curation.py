"""The commands `ovdiff prototypes` that change what a word means: arguments only.

Tested by tests/backend/command/test_curation.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from backend.command.arguments.shared import Commands, add_bank_option, add_engine_options, bank_of, engine_of
from backend.settings import Settings

_CATEGORY = "a category, NAME=PHRASE;PHRASE, or a key that `list` shows"


def add(verbs: Commands[argparse.ArgumentParser]) -> None:
    """Add the verbs of curation to `ovdiff prototypes`."""
    reject = _verb(verbs, "reject", "leave support images out, by the numbers that `show` gives", _reject)
    reject.add_argument("numbers", type=_number, nargs="+", metavar="NUMBER", help="the numbers of drawn images")
    reject.add_argument("--why", default="", metavar="TEXT", help="the reason, for people")
    restore = _verb(verbs, "restore", "take rejected images back", _restore)
    restore.add_argument("numbers", type=_number, nargs="*", metavar="NUMBER", help="the numbers of rejected images")
    restore.add_argument("--drawn", action="store_true", help="draw images again, of a word made of exemplars alone")
    exemplar = _verb(verbs, "add-exemplar", "add an image of your own, with a mask of the object", _add_exemplar)
    exemplar.add_argument("image", type=Path, nargs="?", metavar="IMAGE", help="the image file")
    exemplar.add_argument(
        "mask", type=Path, nargs="?", metavar="MASK.png", help="a PNG of the image's size; what is not 0 is the object"
    )
    exemplar.add_argument("--export", type=Path, metavar="EXPORT.json", help="take an annotated task of this export")
    exemplar.add_argument("--task", type=int, metavar="N", help="the task's number")
    exemplar.add_argument("--label-config", type=Path, metavar="CONFIG.xml", help="the project's label config")
    exemplar.add_argument("--images", type=Path, metavar="DIR", help="where the tasks' images are (default: here)")
    exemplar.add_argument("--label", default="", metavar="LABEL", help="of the object (default: the category)")
    exemplar.add_argument(
        "--alone", action="store_true", help="draw nothing for this word: it is made of exemplars alone"
    )
    removal = _verb(verbs, "remove-exemplar", "take an image of your own out again", _remove_exemplar)
    removal.add_argument("exemplar", metavar="NAME_OR_ADDRESS", help="as `curation` shows them")
    backgrounds = _verb(verbs, "backgrounds", "list background prototypes with their places", _backgrounds)
    backgrounds.add_argument("--all", action="store_true", help="also the means of all and of each image")
    backgrounds.add_argument("--out", type=Path, metavar="FILE.png", help="draw the places into this file")
    ban = _verb(verbs, "ban", "make what a background prototype stands for background no more", _ban)
    ban.add_argument("number", type=_number, metavar="NUMBER", help="as `backgrounds` lists it")
    ban.add_argument("--why", default="", metavar="TEXT", help="the reason, for people")
    unban = _verb(verbs, "unban", "lift a ban", _unban)
    unban.add_argument("number", type=_number, metavar="NUMBER", help="the ban's number, as `curation` shows it")
    promote = _verb(verbs, "promote", "make what a background prototype stands for a category of its own", _promote)
    promote.add_argument("number", type=_number, metavar="NUMBER", help="as `backgrounds` lists it")
    promote.add_argument("into", metavar="CATEGORY", help="the other category")
    _add_diff(verbs)
    _add_archive(verbs)
    _verb(verbs, "curation", "show what people changed of a category's support set", _curation)


def _add_diff(verbs: Commands[argparse.ArgumentParser]) -> None:
    diff = verbs.add_parser(
        "diff",
        help="say what differs between two banks, or two prototype sets, in words and in cosine",
        description="Say what differs between the sets of two banks (two folders), or between two sets of one bank (a "
        "category, or a key that `list` shows). class is the cosine of both class prototypes, nearest the mean cosine "
        "of each prototype of the first set to the nearest one of the second; the most changed prototype is named.",
    )
    diff.add_argument("first", metavar="A", help="the folder or address of a bank, a category or a key")
    diff.add_argument("second", metavar="B", help="the same of the other")
    add_bank_option(diff)
    diff.set_defaults(act=_diff)


def _add_archive(verbs: Commands[argparse.ArgumentParser]) -> None:
    export = verbs.add_parser("export", help="write prototype sets with all that belongs to them into one file")
    export.add_argument("file", type=Path, metavar="BANK.zip", help="the file to write")
    export.add_argument("which", nargs="*", metavar="CATEGORY_OR_KEY", help="the sets (default: all of the bank)")
    add_bank_option(export)
    export.set_defaults(act=_export)
    importing = verbs.add_parser(
        "import",
        help="add prototype sets of such a file to the bank, if this preset's weights made them",
        description="Add the prototype sets of a file that `export` wrote. Sets that other weights or settings made "
        "are refused, and nothing is added then. What is in the bank stays as it is.",
    )
    importing.add_argument("file", type=Path, metavar="BANK.zip", help="the file to read")
    importing.add_argument("which", nargs="*", metavar="CATEGORY", help="the categories (default: all in the file)")
    add_engine_options(importing)
    importing.set_defaults(act=_import)


def _verb(verbs: Commands[argparse.ArgumentParser], name: str, about: str, act: object) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=about)
    verb.add_argument("which", metavar="CATEGORY", help=_CATEGORY)
    add_engine_options(verb)
    verb.set_defaults(act=act)
    return verb


def _diff(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.diff import diff_prototypes

    diff_prototypes(bank_of(options, settings), options.first, options.second, settings.storage_patience_s)


def _export(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.archive import export_prototypes

    export_prototypes(bank_of(options, settings), options.file, options.which)


def _import(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.archive import import_prototypes

    import_prototypes(bank_of(options, settings), options.file, options.which, engine_of(options, settings))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise argparse.ArgumentTypeError(f"expected the number of an image, 0 or more, got {text!r:.60}")
    return int(text)


def _reject(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.curation import reject_images

    reject_images(bank_of(options, settings), options.which, options.numbers, options.why, engine_of(options, settings))


def _restore(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.curation import restore_images
    from backend.errors import UsageError

    if not options.numbers and not options.drawn:
        raise UsageError("Nothing to restore: give the numbers of rejected images, or --drawn.")
    bank, engine = bank_of(options, settings), engine_of(options, settings)
    restore_images(bank, options.which, options.numbers, engine, draw=options.drawn)


def _add_exemplar(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.curation import add_annotated, add_exemplar
    from backend.command.exported_exemplar import AnnotatedTask
    from backend.errors import UsageError

    exported = (options.export, options.task, options.label_config)
    by_files = options.image is not None and options.mask is not None and exported == (None, None, None)
    if not by_files and (options.image is not None or None in exported):
        raise UsageError("Give an image and its mask, or --export, --task and --label-config of an annotated task.")
    bank, engine = bank_of(options, settings), engine_of(options, settings)
    if not by_files:
        task = AnnotatedTask(options.export, options.label_config, options.task, options.images or Path())
        add_annotated(bank, options.which, task, options.label, engine, alone=options.alone)
        return
    add_exemplar(bank, options.which, options.image, options.mask, engine, alone=options.alone)


def _remove_exemplar(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.curation import remove_exemplar

    remove_exemplar(bank_of(options, settings), options.which, options.exemplar, engine_of(options, settings))


def _backgrounds(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.backgrounds import list_backgrounds

    bank, engine = bank_of(options, settings), engine_of(options, settings)
    list_backgrounds(bank, options.which, engine, options.out, everything=options.all)


def _ban(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.backgrounds import ban_background

    bank, engine = bank_of(options, settings), engine_of(options, settings)
    ban_background(bank, options.which, options.number, options.why, engine)


def _unban(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.backgrounds import unban_background

    unban_background(bank_of(options, settings), options.which, options.number, engine_of(options, settings))


def _promote(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.backgrounds import promote_background

    bank, engine = bank_of(options, settings), engine_of(options, settings)
    promote_background(bank, options.which, options.number, options.into, engine)


def _curation(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.curation import show_curation

    show_curation(bank_of(options, settings), options.which, engine_of(options, settings))
