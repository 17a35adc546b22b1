"""Which wheels travel to a machine without a network, and whether they and the checkout are small enough to."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.gpu import wheels
from benchmarks.gpu.wheels import ROOTS, lacking, listing, read_packages
from tests.boundaries.conftest import ROOT

CARRIED_MIB = 64
"""What a lent machine takes of a checkout, wheels included."""


def test_everything_but_torch_and_its_family_travels_to_a_bare_machine() -> None:
    found = lacking(ROOTS, {}, "3.12")
    assert {"diffusers", "numpy", "open-clip-torch", "pytest", "safetensors", "transformers"} <= set(found)
    assert not [name for name in found if name.startswith(("torch", "nvidia", "triton", "cuda"))]
    assert "ovdiff" not in found and "ray" not in found


def test_what_the_machine_has_stays_with_all_that_it_alone_needs() -> None:
    bare = lacking(["flask"], {}, "3.12")
    assert {"flask", "werkzeug", "markupsafe"} <= set(bare)
    found = lacking(["flask"], {"werkzeug": bare["werkzeug"], "jinja2": bare["jinja2"]}, "3.12")
    assert "werkzeug" not in found and "jinja2" not in found and "flask" in found


def test_a_version_that_does_not_suit_is_replaced() -> None:
    assert "werkzeug" in lacking(["flask"], {"werkzeug": "0.16.0"}, "3.12")


def test_both_of_pip_s_lists_are_read() -> None:
    listed = "Package    Version\n---------- -------\nHugging_Face.Hub 1.33.0\ntorch      2.11.0+cu130\n"
    assert read_packages(listed) == {"hugging-face-hub": "1.33.0", "torch": "2.11.0+cu130"}
    assert read_packages("numpy==2.5.2\n# a comment\n") == {"numpy": "2.5.2"}
    with pytest.raises(ValueError, match="pip list"):
        read_packages("nothing")


def test_the_size_of_what_travels_is_said(tmp_path: Path) -> None:
    (tmp_path / "small.whl").write_bytes(b"0" * (1 << 19))
    (tmp_path / "large.whl").write_bytes(b"0" * (1 << 20))
    lines = listing(tmp_path)
    assert [line.split()[-1] for line in lines[:2]] == ["large.whl", "small.whl"]
    assert lines[-1].strip() == f"1.50 MiB  in 2 wheels, in {tmp_path}"


def test_the_wheels_of_another_machine_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(wheels.subprocess, "run", lambda command, check: asked.append(command))
    wheels.download({"numpy": "2.5.2"}, tmp_path / "wheels", "3.13")
    (command,) = asked
    assert command[-1] == "numpy==2.5.2" and "--no-deps" in command
    assert command[command.index("--python-version") + 1] == "3.13"


def test_the_checkout_is_small_enough_to_travel_with_its_wheels() -> None:
    """The wheels that were lacking on a machine with torch and transformers took 9 MiB; 15 are kept for them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    files = [ROOT / name.decode() for name in listed.split(b"\0") if name]
    size_mib = sum(path.stat().st_size for path in files if path.is_file()) / (1 << 20)
    assert len(files) > 1000 and size_mib < CARRIED_MIB - 15
