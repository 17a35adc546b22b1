"""The command `ovdiff doctor`: arguments only.

Tested by tests/backend/command/test_doctor.py.
"""

from __future__ import annotations

import argparse

from backend.command.arguments.shared import Commands, project_number
from converters.console import add_answer_options
from ovdiff.extras import naming_the_extra


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command. It reads the settings itself, because settings that cannot be read are a finding too."""
    doctor = commands.add_parser(
        "doctor",
        help="check settings, weights, device, disk, Label Studio, its token, projects, webhooks and images",
        description="Look at everything that a backend needs, and say of each failure what to set. Nothing is changed, "
        "and no token or password is printed. Exit status: 0 if nothing failed, 1 if something did; warnings do not "
        "count.",
    )
    doctor.add_argument(
        "--project", type=project_number, metavar="N", help="look at this project; else at all that are connected"
    )
    doctor.add_argument(
        "--address",
        default="",
        metavar="URL",
        help="the URL by which Label Studio reaches this backend (default: http://OVDIFF_HOST:OVDIFF_PORT)",
    )
    add_answer_options(doctor, "leave out what is as it should be, and what was skipped")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    with naming_the_extra("ovdiff doctor"):
        from backend.command.doctor import examine_backend
        from backend.doctor.projects import Questions
        from backend.errors import UsageError
        from backend.sources.web_url import WebUrl

    try:
        _ = WebUrl.parse(options.address) if options.address else None
    except ValueError as error:
        raise UsageError(
            f"--address is {options.address!r:.80}: {error}. Give a URL such as http://ovdiff:9090."
        ) from None
    return examine_backend(Questions(options.project, options.address))
