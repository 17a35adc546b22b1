import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from backend.doctor import machine
from backend.doctor.machine import budget_gib, check_device, check_disk, check_memory, free_memory_bytes, settings_found
from backend.settings import ServerSettings, Settings
from ovdiff.engines import load_any_preset

Usage = namedtuple("Usage", "total used free")


def test_the_settings_are_told_without_the_password() -> None:
    found = settings_found(Settings(server=ServerSettings(basic_user="ann", basic_password="secret")))
    assert "with a password" in found.found and "secret" not in found.found and "'tinyworld'" in found.found


def test_devices() -> None:
    assert check_device(Settings()).state == "ok"
    for device in ("cuda:99", "abacus"):
        found = check_device(Settings(device=device))
        assert found.state == "failed" and device in found.found and "OVDIFF_DEVICE" in found.advice


def test_memory_is_held_against_the_weights_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: 4 * machine.GIB)
    assert check_memory(Settings(), None, 3000).state == "ok"
    short = check_memory(Settings(), None, 3300)
    assert short.state == "warning" and "4.0 GiB are free" in short.found and "smaller preset" in short.advice


def test_the_free_memory_is_that_of_this_machine() -> None:
    assert 0 < free_memory_bytes() < 1 << 50


@pytest.mark.parametrize(
    ("limit", "free_mib"), [("max", 4096), ("1073741824", 1024 - 900 + 600), ("838860800", 800 - 900 + 600)]
)
def test_files_that_the_system_keeps_in_memory_count_as_free_in_a_container(
    tmp_path: Path, limit: str, free_mib: int
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9999999 kB\nMemAvailable:    4194304 kB\n")
    stat = f"anon 1\nfile 2\ninactive_anon 3\ninactive_file {600 * machine.MIB}\nactive_file 5\n"
    for name, text in {"max": f"{limit}\n", "current": str(900 * machine.MIB), "stat": stat}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert free_memory_bytes(meminfo, tmp_path) == free_mib * machine.MIB


@pytest.mark.parametrize(("name", "gib"), [("paper", 11.0), ("odise", 6.0)])
def test_a_gpu_has_the_presets_budget(name: str, gib: float) -> None:
    assert budget_gib(load_any_preset(name)) == gib
    assert budget_gib(object()) is None


@pytest.mark.parametrize(
    ("free_gib", "state", "said"),
    [(1.0, "failed", "do not fit"), (8.0, "warning", "smaller"), (13.0, "ok", "")],
)
def test_a_gpu_is_held_against_budget_and_weights(
    free_gib: float, state: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = int(free_gib * machine.GIB), 24 * machine.GIB
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _device: memory)
    found = check_memory(Settings(device="cuda"), load_any_preset("paper"), 4000)
    assert found.state == state and said in found.advice and "11 GiB" in found.found


def test_a_folder_that_is_to_come_is_judged_by_its_parent(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "a" / "b")
    assert check_disk(settings, None, 0).state == "ok"
    assert not settings.data_dir.exists() and list(tmp_path.iterdir()) == []


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    found = check_disk(Settings(data_dir=tmp_path / "data"), None, 0)
    assert found.state == "failed" and "no folder" in found.found and "OVDIFF_DATA_DIR" in found.advice


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_options: object) -> None:  # root may write everywhere
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    found = check_disk(Settings(data_dir=tmp_path), None, 0)
    assert found.state == "failed" and "Read-only file system" in found.found


@pytest.mark.parametrize(("free_mib", "state"), [(100, "failed"), (1000, "warning"), (10_000, "ok")])
def test_room_on_the_disk(free_mib: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, free_mib * machine.MIB))
    preset = load_any_preset("tinyworld")
    cached = replace(preset, cache=replace(preset.cache, disk_mib=500))  # type: ignore[type-var, attr-defined]
    found = check_disk(Settings(data_dir=tmp_path), cached, 2000)
    assert found.state == state
    assert ("missing weights (2000 MB" in found.found) == (state == "warning")
