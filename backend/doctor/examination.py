"""All checks in order. What a failed check makes pointless is skipped, and said to be."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from backend.doctor import bank, label_studio, machine, projects, service, weights
from backend.doctor.asking import Asker
from backend.doctor.findings import CHECK_WITHIN_S, Finding, attempt
from backend.doctor.projects import Questions
from backend.settings import Settings
from backend.sources.deadline import Deadline

PROJECTS_WITHIN_S = 300.0
"""After this time no further project is begun."""


def examine(
    settings: Settings, questions: Questions, asker: Asker, clock_s: Callable[[], float] = time.monotonic
) -> Iterator[Finding]:
    """Yield what the checks find, one after the other: this machine, the service, Label Studio, its projects."""
    yield machine.settings_found(settings)
    yield from _this_machine(settings)
    yield attempt("service", lambda: service.check_service(asker, settings.server), CHECK_WITHIN_S)
    works = yield from _label_studio(asker)
    if works:
        yield from projects.examine(settings, questions, asker, Deadline.within(PROJECTS_WITHIN_S, clock_s))
    else:
        yield Finding("projects", "skipped", "Label Studio cannot be asked")


def _this_machine(settings: Settings) -> Iterator[Finding]:
    preset: Any = None
    loaded = attempt("preset", lambda: weights.load_preset(settings.preset), CHECK_WITHIN_S)
    if isinstance(loaded, Finding):
        yield loaded
    else:
        found, preset = loaded
        yield found
    seen = weights.WeightsSeen((Finding("weights", "skipped", "the preset cannot be read"),))
    if preset is not None:
        looked = attempt("weights", lambda: weights.look_at_weights(preset, settings.preset), CHECK_WITHIN_S)
        seen = weights.WeightsSeen((looked,)) if isinstance(looked, Finding) else looked
    yield from seen.findings
    device = attempt("device", lambda: machine.check_device(settings), CHECK_WITHIN_S)
    yield device
    in_all_mb = seen.here_mb + seen.missing_mb
    if device.state == "ok":
        yield attempt("memory", lambda: machine.check_memory(settings, preset, in_all_mb), CHECK_WITHIN_S)
    else:
        yield Finding("memory", "skipped", "the device cannot be used")
    yield attempt("disk", lambda: machine.check_disk(settings, preset, seen.missing_mb), CHECK_WITHIN_S)
    if "://" in settings.bank:
        yield attempt("bank", lambda: bank.check_bank(settings), CHECK_WITHIN_S)


def _label_studio(asker: Asker) -> Generator[Finding, None, bool]:
    """Yield what is found of Label Studio, and return whether it can be asked for projects."""
    looked = attempt("Label Studio", lambda: label_studio.check_address(asker), CHECK_WITHIN_S)
    address, reply = (looked, None) if isinstance(looked, Finding) else looked
    yield address
    if reply is None:
        yield Finding("token", "skipped", "Label Studio does not answer")
        return False
    said = reply
    yield attempt("clock", lambda: label_studio.check_clock(said), CHECK_WITHIN_S)
    token = attempt("token", lambda: label_studio.check_token(asker), CHECK_WITHIN_S)
    yield token
    if token.state != "ok":
        return False
    yield attempt("version", lambda: label_studio.check_version(asker), CHECK_WITHIN_S)
    return True
