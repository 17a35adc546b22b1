import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.container import prometheus
from tests.container.compose import wrong
from tests.container.services import ADDRESSES, COMPOSE, make_secrets, postgresql_version, variables

AFTER = {"connected": "CO", "what was stored is there": True, "regions of one more task": 2}
FOUND: dict[str, Any] = {
    "PostgreSQL": f"{postgresql_version()}.6",
    "first": {
        **AFTER,
        "password logs in": True,
        "predictions of a broken image": 0,
        "doctor": {"preset": "'tinyworld'"},
        "a new label": "ready",
    },
    "after a restart of database": AFTER,
    "panels": {"ovdiff_ready": [1.0]},
    "promtool": {"config": 0, "metrics": 0},
}


def test_the_secrets_are_made_by_the_lines_of_the_file(tmp_path: Path) -> None:
    made = make_secrets(tmp_path)
    assert made.keys() == COMPOSE["secrets"].keys()
    assert len(set(made.values())) == 4 and all(len(secret) == 40 for secret in made.values())
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()} == {0o644}
    assert make_secrets(tmp_path) != made


def test_variables_have_the_values_that_hold_where_nobody_set_another() -> None:
    assert variables("ovdiff")["OVDIFF_PRESET"] == "tinyworld"
    assert ADDRESSES.keys() == COMPOSE["services"].keys()


def test_all_that_is_as_it_should_be_is_not_named() -> None:
    assert wrong(FOUND) == []


@pytest.mark.parametrize(
    ("part", "changed", "named"),
    [
        ("PostgreSQL", "15.14", "PostgreSQL 15.14"),
        ("first", {**FOUND["first"], "password logs in": False}, "the password does not log in"),
        ("first", {**FOUND["first"], "predictions of a broken image": 1}, "a broken image has a prediction"),
        ("first", {**FOUND["first"], "doctor": {"token": "refused"}}, "doctor: token"),
        ("first", {**FOUND["first"], "a new label": None}, "a new label is not noticed"),
        ("after a restart of database", {**AFTER, "connected": "ER"}, "after a restart of database: connected"),
        (
            "after a restart of database",
            {**AFTER, "what was stored is there": False},
            "after a restart of database: what was stored is there",
        ),
        ("panels", {"ovdiff_ready": []}, "no answer to ovdiff_ready"),
        ("promtool", {"config": 0, "metrics": 3}, "promtool: metrics"),
    ],
)
def test_what_is_not_as_it_should_be_is_named(part: str, changed: object, named: str) -> None:
    assert wrong({**FOUND, part: changed}) == [named]


def test_the_scrape_configuration_of_the_page_fits_compose() -> None:
    (job,) = yaml.safe_load(prometheus.scrape_config())["scrape_configs"]
    assert job["basic_auth"]["username"] == variables("ovdiff")["OVDIFF_BASIC_USER"]
    assert Path(job["basic_auth"]["password_file"]).name in COMPOSE["secrets"]
    assert job["static_configs"] == [{"targets": ["ovdiff:9090"]}]
    assert len(prometheus.queries()) >= 10


def test_what_is_no_number_is_no_answer() -> None:
    series = [{"value": [1.0, text]} for text in ("NaN", "0.25", "+Inf")]
    assert prometheus.numbers({"data": {"result": series}}) == [0.25]
