"""Hundreds of broken inputs: each ends in a clear error, a counted rest or a correct result, soon, in little memory."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.converters.corpus.cases import DONE, FAILED, LEFT_BEHIND, Case
from tests.converters.corpus.run import LIMIT_MIB, LIMIT_S, Outcome, all_cases, run_case

ROOT = Path(__file__).parents[2]
CASES: dict[str, Case] = {}
INPUTS: set[int] = set()
for each in all_cases():  # their files are as large as they are many: they are not kept
    assert each.name not in CASES
    CASES[each.name] = replace(each, files={})
    INPUTS.add(hash(tuple(sorted(each.files.items()))))


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.converters.corpus.run"],
        cwd=ROOT,
        env={"OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return {line["name"]: Outcome(**line) for line in map(json.loads, ran.stdout.splitlines())}


def wrong_with(case: Case, outcome: Outcome) -> str:
    """Return what is wrong with how a case ended, "" if nothing is."""
    said = outcome.out + outcome.err
    complaints = outcome.err.count("python -m converters ")
    is_clear = "expected" in outcome.err or "declares" in outcome.err
    has_reasons = "left out, " in outcome.out or "findings" in outcome.out
    rules = {
        f"raised {outcome.raised}": not outcome.raised,
        f"expected an exit status of {case.statuses}, got {outcome.status}": outcome.status in case.statuses,
        f"expected {case.message!r} to be said": case.message in said,
        "expected one clear complaint": outcome.status != FAILED or (complaints == 1 and is_clear),
        "expected no counts of what failed": outcome.status != FAILED or "written" not in outcome.out,
        "expected reasons": outcome.status != LEFT_BEHIND or has_reasons,
        "expected no silent loss": outcome.status != DONE or not ("left out" in said or " 0 written" in said),
        f"expected no temporary file, got {outcome.left}": not outcome.left,
        f"expected at most {LIMIT_S} s, got {outcome.seconds}": outcome.seconds <= LIMIT_S,
        f"expected at most {LIMIT_MIB} MiB, got {outcome.peak_mib}": outcome.peak_mib <= LIMIT_MIB,
    }
    broken = [rule for rule, is_kept in rules.items() if not is_kept]
    return f"{broken[0]}: {said}" if broken else ""


@pytest.mark.parametrize("name", list(CASES))
def test_a_broken_input_ends_well(name: str, outcomes: dict[str, Outcome]) -> None:
    assert wrong_with(CASES[name], outcomes[name]) == ""


def test_the_corpus_is_large() -> None:
    by_hand = {name for name in CASES if not name.startswith(("damaged-", "validate-"))}
    assert len(INPUTS) > 400
    assert len(by_hand) > 200


def test_all_ways_of_ending_occur(outcomes: dict[str, Outcome]) -> None:
    ended = Counter(outcome.status for outcome in outcomes.values())
    assert min(ended[status] for status in (DONE, FAILED, LEFT_BEHIND)) > 20


# The checks above would pass if nothing were looked at; these show that they can fail.


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("convert", "raised"),
        ("import coco none.json --out x", "expected 'tasks'"),
        ("validate tasks.json --label-config tasks.json", "expected an exit status of (0,)"),
    ],
)
def test_meta_a_case_that_ends_badly_is_seen(tmp_path: Path, command: str, wrong: str) -> None:
    statuses = (FAILED,) if "none.json" in command else (DONE,)
    case = Case("x", {"tasks.json": b"[]"}, command, statuses, "tasks")
    assert wrong_with(case, run_case(case, tmp_path)).startswith(wrong)
