"""The commands `ovdiff learn` and `ovdiff lessons`: arguments only.

Tested by tests/backend/command/test_lessons.py and tests/backend/command/test_learn.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from backend.command.arguments.ray import add_ray_options, ray_of
from backend.command.arguments.shared import (
    Commands,
    add_bank_option,
    add_engine_options,
    add_image_options,
    bank_of,
    engine_of,
    image_reader,
)
from backend.settings import Settings

if TYPE_CHECKING:
    from ovdiff.bank.lesson_store import LessonStore


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    _add_learn(commands)
    lessons = commands.add_parser("lessons", help="list, look at, switch or remove what annotated images taught")
    verbs = lessons.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="list the lessons of the bank")
    _add_filters(listing)
    add_bank_option(listing)
    listing.set_defaults(act=_list)
    show = verbs.add_parser("show", help="say what was right and wrong in the image of a lesson")
    show.add_argument("which", metavar="LESSON", help="the first digits that `list` shows; six are enough")
    add_bank_option(show)
    show.set_defaults(act=_show)
    for name, does in (("on", "count lessons again"), ("off", "count lessons no more, and keep them")):
        switch = verbs.add_parser(name, help=does)
        _add_choice(switch)
        add_bank_option(switch)
        switch.set_defaults(act=_switch, on=name == "on", weight=None)
        if name == "on":
            switch.add_argument(
                "--weight", type=float, metavar="W", help="how much they count beside the others (default: as before)"
            )
    remove = verbs.add_parser("remove", help="delete lessons")
    _add_choice(remove)
    remove.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    add_bank_option(remove)
    remove.set_defaults(act=_remove)


def _add_learn(commands: Commands[argparse.ArgumentParser]) -> None:
    learn = commands.add_parser(
        "learn",
        help="learn from the annotated tasks of an export, without training",
        description="Take a lesson of each annotated image of an export. Prototypes that the bank lacks are made "
        "first. A second run adds nothing; the lesson of an annotation that was changed replaces the older one.",
    )
    learn.add_argument("export", type=Path, metavar="EXPORT", help="Label Studio's JSON or JSON_MIN")
    learn.add_argument("--label-config", type=Path, required=True, help="the project's label config (XML file)")
    add_image_options(learn)
    learn.add_argument(
        "--every-annotator", action="store_true", help="a lesson of each annotation of an image, not of one of them"
    )
    learn.add_argument("--labels", metavar='"boat, water"', help="only these labels were annotated (default: all)")
    learn.add_argument(
        "--partial", action="store_true", help="what has no label may be anything: learn from labelled pixels alone"
    )
    add_engine_options(learn)
    add_ray_options(learn)
    learn.set_defaults(act=_learn)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", metavar="N", help="only lessons of this task")
    parser.add_argument("--person", metavar="WHO", help="only lessons of this person, as `list` shows them")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", nargs="*", metavar="LESSON", help="the first digits that `list` shows; six are enough")
    _add_filters(parser)


def _learn(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.learn import Choices, labels_of, learn_from_export
    from converters.label_studio.label_config import read_label_config

    config = read_label_config(options.label_config)
    engine = engine_of(options, settings)
    with ray_of(options, settings) as ray:
        learn_from_export(
            options.export,
            config,
            options.label_config.read_text("utf-8"),
            engine,
            image_reader(options, settings),
            Choices(labels_of(options.labels), options.partial, options.every_annotator),
            settings.prediction.max_categories,
            ray,
        )


def _store(options: argparse.Namespace, settings: Settings) -> LessonStore:
    from ovdiff.bank.lesson_store import lessons_beside

    return lessons_beside(bank_of(options, settings).folder)


def _list(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.lessons import list_lessons
    from backend.presentation.lesson_facts import Filters

    list_lessons(_store(options, settings), Filters(options.task, options.person))


def _show(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.lessons import show_lesson

    show_lesson(_store(options, settings), options.which)


def _switch(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.lessons import switch_lessons
    from backend.presentation.lesson_facts import Filters

    filters = Filters(options.task, options.person)
    switch_lessons(_store(options, settings), options.which, filters, on=options.on, weight=options.weight)


def _remove(options: argparse.Namespace, settings: Settings) -> None:
    from backend.command.console import ask
    from backend.command.lessons import remove_lessons
    from backend.presentation.lesson_facts import Filters

    confirm = (lambda question: True) if options.yes else ask
    remove_lessons(_store(options, settings), options.which, Filters(options.task, options.person), confirm)
