import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from backend.doctor.weights import damage, load_preset, look_at_weights
from ovdiff.engines import load_any_preset
from ovdiff.tinyworld import weights as embedded


def test_the_embedded_weights_are_whole() -> None:
    seen = look_at_weights(load_any_preset("tinyworld"), "tinyworld")
    assert {finding.state for finding in seen.findings} == {"ok"}
    assert 10 < seen.here_mb < 100 and seen.missing_mb == 0


def test_weights_that_are_not_fetched_are_a_warning_with_the_command_and_the_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    seen = look_at_weights(load_any_preset("fast"), "fast")
    missing = [finding for finding in seen.findings if finding.state == "warning"]
    assert missing and all("ovdiff presets fetch fast" in finding.advice for finding in missing)
    assert seen.missing_mb > 2000


def test_a_head_that_is_missing_is_a_failure_with_the_command() -> None:
    seen = look_at_weights(load_any_preset("odise"), "odise")
    (head,) = (finding for finding in seen.findings if finding.name == "weights of head")
    assert head.state == "failed" and "ovdiff odise train" in head.advice


def test_terms_that_forbid_commercial_use_are_a_warning() -> None:
    licences = look_at_weights(load_any_preset("paper"), "paper").findings[-1]
    assert licences.state == "warning" and "NON-COMMERCIAL" in licences.found


def test_a_file_that_was_cut_off_is_a_failure(tmp_path: Path) -> None:
    preset = load_any_preset("tinyworld")
    source = Path(embedded.__path__[0]) / "dino"
    shutil.copytree(source, tmp_path / "dino")
    models = preset.models  # type: ignore[attr-defined]
    moved = replace(models, dino=replace(models.dino, source=str(tmp_path / "dino")))
    preset = replace(preset, models=moved)  # type: ignore[type-var]
    (cut,) = (tmp_path / "dino").glob("*.safetensors")
    cut.write_bytes(cut.read_bytes()[:-100])
    (dino,) = (found for found in look_at_weights(preset, "mine.toml").findings if found.name == "weights of dino")
    assert dino.state == "failed" and f"{cut} is damaged" in dino.found and "presets fetch mine.toml" in dino.advice


def test_what_is_damaged(tmp_path: Path) -> None:
    def written(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    save_file({"a": np.zeros(9, np.float32)}, tmp_path / "whole.safetensors")
    assert damage(tmp_path / "whole.safetensors") == ""
    assert "is damaged" in damage(written("empty.safetensors", b""))
    assert "is damaged" in damage(written("huge.safetensors", b"\xff" * 64))
    assert "no JSON" in damage(written("config.json", b'{"a":'))
    assert damage(written("old.bin", b"\x80\x02")) == "" and damage(written("no.pth", b"")) == "is empty"
    assert "end is missing" in damage(written("cut.bin", b"PK\x03\x04" + b"0" * 100))
    assert damage(written("vocab.txt", b"")) == ""


@pytest.mark.parametrize(
    ("name", "state", "said"),
    [("tinyworld", "warning", "drawn scenes"), ("fast", "ok", "fast"), ("fats", "failed", "fats")],
)
def test_the_preset_of_the_settings(name: str, state: str, said: str) -> None:
    found, preset = load_preset(name)
    assert found.state == state and said in found.found and (preset is None) == (state == "failed")
