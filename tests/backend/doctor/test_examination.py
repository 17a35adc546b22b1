"""The whole examination against servers that play a Label Studio: dead, slow, rubbish."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backend.doctor.asking import Asker
from backend.doctor.examination import examine
from backend.doctor.findings import Finding
from backend.doctor.projects import Questions
from backend.settings import ServerSettings, Settings
from tests.fakes.hostile_server import Behaviour, Victim, hostile_server

SETTINGS = Settings(server=ServerSettings(port=9))


def found_by(asker: Asker, settings: Settings = SETTINGS) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(settings, Questions(), asker)}


def flood(victim: Victim) -> None:
    victim.flood(b"x" * 65536)


def endless_body(victim: Victim) -> None:
    victim.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    victim.flood(b'{"status": "UP"} ' * 4096)


def silent(victim: Victim) -> None:
    victim.over.wait(20)


def hang_up(victim: Victim) -> None:
    victim.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("behave", [flood, endless_body, silent, hang_up])
def test_a_hostile_label_studio_is_one_failure_within_its_time(
    behave: Behaviour, asker_of: Callable[..., Asker], tmp_path: Path
) -> None:
    begun_s = time.monotonic()
    with hostile_server(behave) as hostile:
        found = found_by(
            asker_of(f"http://{hostile.host_and_port}", within_s=1.0), replace(SETTINGS, data_dir=tmp_path)
        )
    assert found["Label Studio"].state == "failed" and found["Label Studio"].advice
    assert found["token"].state == found["projects"].state == "skipped"
    assert {name for name, each in found.items() if each.state == "failed"} == {"Label Studio"}
    assert time.monotonic() - begun_s < 40


def test_a_preset_that_cannot_be_read_ends_nothing(asker: Asker, tmp_path: Path) -> None:
    found = found_by(asker, replace(SETTINGS, preset="nowhere.toml", data_dir=tmp_path))
    assert found["preset"].state == "failed" and found["weights"].state == "skipped"
    assert found["device"].state == found["disk"].state == "ok"


def test_without_a_device_its_memory_is_skipped(asker: Asker, tmp_path: Path) -> None:
    found = found_by(asker, replace(SETTINGS, device="abacus", data_dir=tmp_path))
    assert found["device"].state == "failed" and found["memory"].state == "skipped"
