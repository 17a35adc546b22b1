"""`ovdiff doctor`: what a backend needs, piece by piece, and what to set where it is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from backend.command.console import say
from backend.doctor.asking import Asker
from backend.doctor.examination import examine
from backend.doctor.findings import Finding, State
from backend.doctor.projects import Questions
from backend.errors import SettingsError
from backend.settings import Settings, read_settings
from backend.sources.label_studio import LabelStudioClient
from converters.console import answer, is_quiet

GOOD, SOMETHING_FAILED = 0, 1
_MARKS: dict[State, str] = {"ok": "ok     ", "warning": "warning", "failed": "FAILED ", "skipped": "skipped"}


def examine_backend(questions: Questions) -> int:
    """Print what the checks of this backend find, each as soon as it is known, and return the exit status.

    The status is 0 if nothing failed; warnings fail nothing, and neither does what was skipped.
    As JSON they are printed at the end. With --quiet, text has warnings and failures alone.
    """
    findings: list[Finding] = []
    for finding in _findings(questions):
        findings.append(finding)
        if not (is_quiet() and finding.state in ("ok", "skipped")):
            say(line(finding))
    failed = any(finding.state == "failed" for finding in findings)
    answer({"ok": not failed, "findings": findings})
    if not is_quiet():
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
