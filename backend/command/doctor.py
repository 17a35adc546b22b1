"""`ovdiff doctor`: what a backend needs, piece by piece, and what to set where it is missing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from backend.command.console import say
from backend.doctor.asking import Asker
from backend.doctor.examination import examine
from backend.doctor.findings import Finding, State
from backend.doctor.projects import Questions
from backend.errors import SettingsError
from backend.settings import Settings, read_settings
from backend.sources.label_studio import LabelStudioClient

GOOD, SOMETHING_FAILED = 0, 1
_MARKS: dict[State, str] = {"ok": "ok     ", "warning": "warning", "failed": "FAILED ", "skipped": "skipped"}


def examine_backend(questions: Questions, *, as_json: bool, quiet: bool = False) -> int:
    """Print what the checks of this backend find, each as soon as it is known, and return the exit status.

    The status is 0 if nothing failed; warnings fail nothing, and neither does what was skipped.

    Args:
        questions: what is to be looked at.
        as_json: whether all findings are printed at the end, as JSON.
        quiet: whether text has warnings and failures alone.
    """
    findings: list[Finding] = []
    for finding in _findings(questions):
        findings.append(finding)
        if not as_json and not (quiet and finding.state in ("ok", "skipped")):
            say(line(finding))
    failed = any(finding.state == "failed" for finding in findings)
    if as_json:
        said = {"ok": not failed, "findings": [asdict(finding) for finding in findings]}
        say(json.dumps(said, indent=2, ensure_ascii=False))
    elif not quiet:
        say(summary(findings))
    return SOMETHING_FAILED if failed else GOOD


def line(finding: Finding) -> str:
    """Return a finding for people: its state, its name and what was seen; what to do stands below."""
    advice = f"\n         -> {finding.advice}" if finding.advice else ""
    return f"{_MARKS[finding.state]}  {finding.name}: {finding.found}{advice}"


def summary(findings: Iterable[Finding]) -> str:
    """Return how many checks there were of each state, such as "12 ok, 1 warning, 2 failed"."""
    counts = Counter(finding.state for finding in findings)
    return ", ".join(f"{counts[state]} {state}" for state in _MARKS if counts[state])


def _findings(questions: Questions) -> Iterator[Finding]:
    try:
        settings: Settings = read_settings()
    except SettingsError as error:
        yield Finding("settings", "failed", str(error), "`ovdiff settings` lists all settings; correct this one first.")
        return
    yield from examine(settings, questions, Asker(LabelStudioClient(settings.label_studio)))
