"""The command `ovdiff`.

    ovdiff serve                                              answer Label Studio (settings: `ovdiff settings`)
    ovdiff prelabel --project 3                               predict a project's tasks and store that in Label Studio
    ovdiff prelabel --project 3 --changed-only --dry-run      how many predictions are of another version
    ovdiff prelabel --project 3 --manifest s3://bucket/rows.parquet --dry-run    # how many images are no tasks yet
    ovdiff doctor                                             what is missing or wrong, and what to set
    ovdiff doctor --project 3 --address http://ovdiff:9090 --json
    ovdiff segment boat.jpg --categories "boat, water"        write boat.overlay.png; seconds on the embedded models
    ovdiff segment photos --categories "boat, water" --out masks --indexed --coco masks.json
    ovdiff segment photos --categories boat --coco boats.json --instances    # an annotation an object, for a detector
    ovdiff segment photos --categories "boat, water" --panoptic panoptic     # an id a pixel: each boat, and the water
    ovdiff segment photos --categories "boat, water" --out masks --min-score 0.3 --threshold boat=0.6
    ovdiff segment --manifest rows.parquet --categories "boat, water" --out shards --format parquet
    ovdiff explain boat.jpg --categories "boat, water" --at 120,80 --out why.png    # why is this pixel a boat?
    ovdiff explain boat.jpg --categories "boat, water" --region mask.png --json
    ovdiff diff-predictions photos --categories "boat, water" --after add=dock     # what another label would change
    ovdiff diff-predictions photos --categories "boat, water" --after bank=new --picture changes.png --json
    ovdiff novelties photos --categories "boat, water" --picture novelties.png     # what is missing from the words
    ovdiff prototypes build "boat, water=sea;lake"            make prototypes ahead of time
    ovdiff prototypes build --anchors                         make those of the preset's anchors, once for all projects
    ovdiff prototypes list                                    list the prototype sets of the bank
    ovdiff prototypes show boat                               write boat.support.png: support images and masks
    ovdiff prototypes remove boat                             delete the prototype sets of boat
    ovdiff prototypes reject boat 3 7 --why blurred           leave two of its support images out; nothing is drawn anew
    ovdiff prototypes restore boat 3                          take one of them back
    ovdiff prototypes add-exemplar boat photo.jpg mask.png    add an image of your own, with the mask of the boat
    ovdiff prototypes add-exemplar boat --export export.json --task 12 --label-config config.xml --images pictures
    ovdiff prototypes remove-exemplar boat photo.jpg          take it out again
    ovdiff prototypes backgrounds boat --out behind.png       list its background prototypes, with their places
    ovdiff prototypes ban boat 3 --why "that is the mast"     make what one stands for background no more
    ovdiff prototypes unban boat 0                            lift that ban
    ovdiff prototypes promote boat 3 water                    make what one stands for a category of its own
    ovdiff prototypes curation boat                           show what was changed
    ovdiff prototypes diff boat ship                          what differs between two sets, in words and in cosine
    ovdiff prototypes export bank.zip boat water              write two words into one file; or all of the bank
    ovdiff prototypes import bank.zip                         add them to another bank, if the same weights made them
    ovdiff prototypes diff bank other-bank                    what differs between two banks
    ovdiff lint --categories "boat, fish, water"              say which words will be confused, before anybody labels
    ovdiff lint --label-config config.xml --picture confusion.png --strict    # findings make it fail
    ovdiff presets list                                       list the presets and the weights each one needs
    ovdiff presets show paper > mine.toml                     copy a preset, to change it; then `--preset mine.toml`
    ovdiff presets check fast                                 say which weights are here, and what is missing
    ovdiff presets fetch fast --to weights                    fetch them, for a machine without a network
    ovdiff presets calibrate "boat, water" --preset fast --out mine.toml   # scores become probabilities, without labels
    ovdiff projects list                                      list the projects that the service has stored
    ovdiff projects forget 3                                  make nothing for project 3 any more; prototypes stay
    ovdiff evaluate drawn --limit 50 --out evaluation         how good a preset is on a labelled dataset
    ovdiff evaluate --list                                    list the datasets, and where each one comes from
    ovdiff ablate drawn --limit 50 --plan                     what each part is worth: what that would cost
    ovdiff ablate drawn --rows parts k --limit 50             one table, with the published figures beside it
    ovdiff compare-evaluations evaluation other               which of two presets is better, and is it chance?
    ovdiff reproduce voc21 --root VOCdevkit                   the published figure, or the stage where it departs
    ovdiff plan --images 1e6 --categories 171 --preset fast --gpus 8xH100    # what that costs, before it runs
    ovdiff plan --images 1000 --preset fast --gpus 2xCPU --assumptions
    ovdiff export --project 3                                 write a project's tasks to project-3/export.json
    ovdiff learn project-3/export.json --label-config project-3/config.xml   # annotated images become lessons
    ovdiff lessons list                                       list the lessons
    ovdiff lessons show 1f2e3d                                what was right and wrong in the image of a lesson
    ovdiff lessons off 1f2e3d                                 count a lesson no more
    ovdiff lessons on --task 17 --weight 0.5                  count the lessons of a task again, half as much
    ovdiff lessons remove --person ann@example.org            delete what a person's annotations taught
    ovdiff next-tasks photos --categories "boat, water"        which images to annotate next
    ovdiff next-tasks photos --label-config project-3/config.xml --limit 8 --json
    ovdiff odise train --labels project-3/export.json --label-config project-3/config.xml --out head   # for ODISE
    ovdiff odise convert odise_label_coco_50e.pth --out head --accept-licence   # a released head, NON-COMMERCIAL
    ovdiff settings                                           list all settings, with the values in force
    ovdiff completion bash > ~/.local/share/bash-completion/completions/ovdiff   # Tab completes commands and options

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
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache

import converters.cli
from backend import __version__
from backend.command.arguments import (
    ablate,
    compare_evaluations,
    completion,
    diff_predictions,
    doctor,
    evaluate,
    explain,
    export,
    lessons,
    lint,
    next_tasks,
    novelties,
    odise,
    plan,
    prelabel,
    presets,
    projects,
    prototypes,
    reproduce,
    segment,
    serve,
    settings,
)
from backend.command.console import complain
from backend.errors import BackendError, SettingsError, UsageError
from backend.logs import log_to
from backend.settings import read_settings
from converters.console import Parser, add_answer_options, answering, describe_commands, in_words, show_examples
from converters.errors import ConverterError
from converters.workers import ENDING_S
from ovdiff.errors import MissingExtraError, OVDiffError, PlanError, PresetError, VocabularyError
from ovdiff.extras import naming_the_extra

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

_QUIET = "no progress and no notices; warnings stay"
_WITHOUT_ANSWER = ("ovdiff serve", "ovdiff completion")  # the one runs until it is ended, the other prints a script


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status; errors are one line on stderr.

    Args:
        arguments: those of the command; ``None`` are the process's own, which Ctrl-C then ends at once.
    """
    _open_what_is_closed()
    status = _status(_parser().parse_args(arguments))
    if status == INTERRUPTED and arguments is None:
        _end_at_once()
    return status


def _open_what_is_closed() -> None:
    """Put nothing in the place of streams that the command was started without, as by `>&-`: Python has None there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - until Python ends


def _status(options: argparse.Namespace) -> int:
    try:
        with answering(as_json=getattr(options, "json", False), quiet=options.quiet):
            status = _run(options)
        sys.stdout.flush()  # What cannot be written is an error of the command, and is not said by Python at its end.
        return status
    except (SettingsError, UsageError, PlanError, PresetError, VocabularyError, MissingExtraError) as error:
        complain(error)
        return WRONG_USE
    except BrokenPipeError:  # `| head` has read enough
        _give_stdout_up()
        return FAILED
    except (BackendError, OVDiffError, ConverterError, OSError) as error:
        _give_stdout_up()
        complain(in_words(error) if isinstance(error, OSError) else error)
        return FAILED
    except KeyboardInterrupt:
        complain("ended by Ctrl-C; what was finished is kept.")
        return INTERRUPTED


def _give_stdout_up() -> None:
    """Drop what stdout does not take, as on a full disk, or Python complains of it once more when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_at_once() -> None:
    """End the process without those of its threads that wait, perhaps a minute, for a server that does not answer.

    Another Ctrl-C ends it on the spot, also while Python itself ends.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    waiting = [each for each in threading.enumerate() if each is not threading.current_thread() and not each.daemon]
    until_s = time.monotonic() + ENDING_S
    for each in waiting:
        each.join(max(0.0, until_s - time.monotonic()))
    if not any(each.is_alive() for each in waiting):
        return  # Python ends as ever.
    os._exit(INTERRUPTED)


def _run(options: argparse.Namespace) -> int:
    if "act" not in options:  # the converters use no settings, and `doctor` looks at them itself
        status: int = options.run(options)
        return status
    in_force = read_settings()
    _start_logging("WARNING" if options.quiet else in_force.server.log_level, in_force.server.log_format)
    with naming_the_extra(f"ovdiff {options.command}"):
        options.act(options, in_force)
    return 0


def _start_logging(level: str, form: str) -> None:
    log_to(level, form)
    logging.getLogger("huggingface_hub").propagate = False  # it writes by itself, and would say everything twice
    # Without torchvision it says twice that it falls back to Pillow, which the models at hand do not notice.
    logging.getLogger("transformers.utils.import_utils").setLevel(logging.ERROR)
    # diffusers 0.42 passes what huggingface_hub 1 deprecates: nothing that a user could do about it
    warnings.filterwarnings("ignore", message="The `local_dir_use_symlinks` argument", category=UserWarning)


@cache  # whoever calls the command line again and again in one process, as its tests do, builds it once
def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(prog="ovdiff", description="A project's own words, turned into masks.")
    parser.add_argument("--version", action="version", version=f"ovdiff {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    serve.add(commands)
    doctor.add(commands)
    segment.add(commands)
    explain.add(commands)
    diff_predictions.add(commands)
    novelties.add(commands)
    evaluate.add(commands)
    ablate.add(commands)
    reproduce.add(commands)
    compare_evaluations.add(commands)
    plan.add(commands)
    prototypes.add(commands)
    lint.add(commands)
    next_tasks.add(commands)
    presets.add(commands)
    projects.add(commands)
    prelabel.add(commands)
    export.add(commands)
    lessons.add(commands)
    odise.add(commands)
    converters.cli.add_commands(commands)
    settings.add(commands)
    completion.add(commands, parser)
    of_converters = (converters.cli.__doc__ or "").replace("python -m converters", parser.prog)
    describe_commands(parser)
    show_examples(parser, f"{__doc__}\n{of_converters}")
    for command in _own_commands(parser):
        if command.prog in _WITHOUT_ANSWER:
            command.add_argument("--quiet", action="store_true", help=_QUIET)
        else:
            add_answer_options(command, _QUIET)
    return parser


def _own_commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of the commands that act on settings; those of the converters do not."""
    if parser.get_default("act") is not None:
        yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in dict.fromkeys(action.choices.values()):
                yield from _own_commands(inner)


if __name__ == "__main__":
    sys.exit(main())
