"""The demo for a person: ``make demo``, or

    python -m backend.demo.run --label-studio .venv-label-studio/bin/label-studio

The demo starts Label Studio and the backend, and makes two projects of drawn scenes that the backend pre-labels: a
large one, and a small one of four words (:mod:`backend.demo.few_words`). It prints where the projects are and the
login, and runs until Ctrl-C. The first run takes a few minutes, because it makes Label Studio's database and the
prototypes of 19 categories. Later runs continue the same projects after some seconds.

With ``--engine odise`` the second engine predicts the same projects, one region an object; it prepares no prototypes.
Predictions of the first engine that are there already stay beside those of the second.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from backend.demo.console import standard_console
from backend.demo.engines import ENGINES, FIRST, HINTS
from backend.demo.errors import DemoError
from backend.demo.few_words import Outcome, make_few_words
from backend.demo.project import (
    PROJECT_TITLE,
    DemoScene,
    choose_scenes,
    demo_labels,
    label_config,
    write_images,
)
from backend.demo.session import Session, SessionSettings, open_session
from backend.demo.steps import IMPORTS, PROJECT, READY, SECOND_PROJECT, WORDS

_SCENES = 24
_SIZE_PX = 512


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo until Ctrl-C and return the exit status."""
    options = _parser().parse_args(arguments)
    settings = SessionSettings(
        options.label_studio,
        options.folder,
        options.cache,
        label_studio_port=options.port,
        backend_port=options.backend_port,
        backend_settings=_backend_settings(options.engine, options.preset),
        anchors_at_once=options.engine == FIRST,
    )
    console = standard_console()
    console.steps.end(IMPORTS)
    try:
        with open_session(settings, console) as session:
            project = make_demo(session, choose_scenes(options.scenes), settings.folder)
            outcome = make_few_words(session, settings.folder)
            console.steps.end(SECOND_PROJECT)
            if options.steps is not None:
                console.steps.write(options.steps)
            console.say(_welcome(session, project, outcome, HINTS[options.engine]))
            _wait(session)
    except DemoError as error:
        console.say(f"The demo failed. {error}")
        return 1
    except KeyboardInterrupt:
        console.say(f"Stopped; nothing is left running. The project is kept in {settings.folder}.")
    return 0


def make_demo(session: Session, scenes: Sequence[DemoScene], folder: Path, size_px: int = _SIZE_PX) -> int:
    """Make or complete the demo's project, show the progress, and return the id of the project."""
    maker, steps = session.maker, session.maker.console.steps
    images = write_images(scenes, folder / "scenes", size_px)
    project = maker.ensure_project(PROJECT_TITLE, label_config(demo_labels()), images)
    steps.end(PROJECT)
    session.backend.build_anchors(maker.console)
    steps.end(WORDS)
    maker.connect(project)
    session.backend.wait_for_prototypes(project, maker.console)
    steps.end(READY)
    maker.predict(project)
    return project


def _backend_settings(engine: str, preset: Path | None) -> Mapping[str, str]:
    own = ENGINES[engine]
    return own if preset is None else {**own, "OVDIFF_PRESET": str(preset.absolute())}


def _welcome(session: Session, project: int, outcome: Outcome, hint: str) -> str:
    login = session.label_studio.login
    return (
        f"\n{session.maker.console.steps.told()}\n{outcome.told()}\n"
        f"Look at them: {session.label_studio.url}/projects/{outcome.project}/data\n"
        "\n"
        f"  Open      {session.label_studio.url}/projects/{project}/data\n"
        f"  E-mail    {login.email}\n"
        f"  Password  {login.password}\n"
        "\n"
        f"{hint}"
    )


def _wait(session: Session) -> None:
    while True:
        session.ensure_running()
        time.sleep(0.5)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="backend.demo.run", description="Label Studio pre-labelled by OVDiff.")
    add_session_options(parser)
    parser.add_argument("--folder", type=Path, default=Path("demo-data"), help="folder of the state (%(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port of Label Studio, if it is free (%(default)s)")
    parser.add_argument(
        "--backend-port", type=int, default=9090, help="port of the backend, if it is free (%(default)s)"
    )
    parser.add_argument("--preset", type=Path, metavar="FILE", help="use this preset in the place of the engine's own")
    parser.add_argument("--steps", type=Path, metavar="FILE", help="write the seconds of each step as JSON")
    return parser


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that the demo and its check share."""
    parser.add_argument("--label-studio", type=Path, required=True, help="Label Studio's executable")
    parser.add_argument(
        "--cache", type=Path, default=Path(".cache"), help="folder of Label Studio databases to copy (%(default)s)"
    )
    parser.add_argument("--engine", choices=ENGINES, default=FIRST, help="which engine predicts (%(default)s)")
    parser.add_argument("--scenes", type=int, default=_SCENES, help="number of images (%(default)s)")


if __name__ == "__main__":
    sys.exit(main())
