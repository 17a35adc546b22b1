"""The demo without a person, then checked: ``make demo-check``, or

    python -m backend.demo.check --label-studio .venv-label-studio/bin/label-studio --sheet sheet.png [--engine odise]

The check makes the demo's project in a temporary folder, while the usual ports are taken. It checks every promise of
the demo (:mod:`backend.demo.checks`), starts the demo a second time, and looks for processes that were left running. It
ends with a table of all checks; the exit status is 1 if a check failed. It takes some minutes, most of them for the
prototypes, which the second engine does without.

A check that does not fit what an engine does is a row of the table, too: it says that the check was left out, and why.
"""

import argparse
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from backend.demo.answer_checks import check_answers
from backend.demo.checks import (
    NO_PROTOTYPES,
    Demo,
    check_added_label,
    check_corrections,
    check_images,
    check_photographs,
    check_predictions,
)
from backend.demo.console import Console, standard_console
from backend.demo.engines import ENGINES, abilities
from backend.demo.errors import CheckError, DemoError
from backend.demo.few_words_check import check_few_words
from backend.demo.object_checks import check_objects
from backend.demo.processes import LOOPBACK, is_listening
from backend.demo.project import DemoScene, choose_scenes
from backend.demo.report import Report
from backend.demo.run import add_session_options, make_demo
from backend.demo.session import Session, SessionSettings, open_session
from backend.demo.stored import read_predictions
from converters.errors import ConverterError

CHECKS: tuple[Callable[[Demo], None], ...] = (
    check_images,
    check_predictions,
    check_objects,
    check_few_words,
    check_corrections,
    check_added_label,
    check_photographs,
    check_answers,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and all checks; return 0 if every check passed, 1 if one failed, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    console, report = standard_console(), Report()
    try:
        with tempfile.TemporaryDirectory(prefix="ovdiff-demo-check-") as folder, _usual_ports_taken():
            early = {"OVDIFF_WAIT_FOR_PROTOTYPES_S": "0"}  # or a task opened too early would wait until it is not
            environment = {**ENGINES[options.engine], **early}
            settings = SessionSettings(options.label_studio, Path(folder), options.cache, backend_settings=environment)
            _check(settings, choose_scenes(options.scenes), options.sheet, report, console)
    except DemoError as error:
        console.say(f"The demo failed. {error}")
        report.add("the demo runs to its end", "no error", str(error).splitlines()[0], passed=False)
    except KeyboardInterrupt:
        console.say("Stopped.")
        return 130
    console.say(f"\n{report.table()}\n")
    console.say(f"Contact sheet: {options.sheet}. {report.summary()}")
    return 1 if report.failures else 0


def _check(
    settings: SessionSettings, scenes: Sequence[DemoScene], sheet: Path, report: Report, console: Console
) -> None:
    able = abilities(settings.backend_settings, settings.folder / "backend" / "bank")
    with open_session(settings, console) as session:
        started = time.monotonic()
        usual = {settings.label_studio_port, settings.backend_port} & set(_ports(session))
        report.add("usual ports, which others hold", "avoided", "used" if usual else "avoided")
        project = make_demo(session, scenes, settings.folder)
        console.say(f"The project is pre-labelled after {time.monotonic() - started:.0f} s; now the checks.")
        _run_checks(Demo(session, project, scenes, settings.folder, sheet, report, able))
        predictions = _prediction_count(session, project)
    _check_nothing_left(session, report, "after the first run")
    with open_session(settings, console) as session:
        again = make_demo(session, scenes, settings.folder)
        report.add("the second run's project", project, again)
        if able.makes_prototypes:
            report.add("categories made by the second run", 0, len(session.backend.built()))
        else:
            report.leave_out("categories made by the second run", NO_PROTOTYPES)
        report.add("predictions after the second run", predictions, _prediction_count(session, again))
    _check_nothing_left(session, report, "after the second run")


def _run_checks(demo: Demo) -> None:
    for check in CHECKS:
        demo.session.ensure_running()
        try:
            check(demo)
        except (CheckError, ConverterError) as error:
            demo.report.add(check.__name__.replace("_", " "), "no error", error, passed=False)


def _prediction_count(session: Session, project: int) -> int:
    stored = read_predictions(session.maker.api, project)
    return sum(len(item.predictions) for item in stored)


def _check_nothing_left(session: Session, report: Report, when: str) -> None:
    children = (session.label_studio.child, session.backend.child)
    left = [child.name for child in children if child.group_exists()]
    left += [f"port {port}" for port in _ports(session) if is_listening(port)]
    report.add(f"left running {when}", "nothing", ", ".join(left) or "nothing")


def _ports(session: Session) -> list[int]:
    return [urlsplit(url).port or 0 for url in (session.label_studio.url, session.backend.url)]


@contextmanager
def _usual_ports_taken() -> Iterator[None]:
    """Hold the demo's usual ports, unless another program holds them already, so that the demo must choose others."""
    with ExitStack() as stack:
        for port in (SessionSettings.label_studio_port, SessionSettings.backend_port):
            if not is_listening(port):
                stack.enter_context(socket.create_server((LOOPBACK, port)))
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="backend.demo.check", description="Run the demo and check it.")
    add_session_options(parser)
    parser.add_argument("--sheet", type=Path, default=Path("runs/demo-check.png"), help="PNG (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
