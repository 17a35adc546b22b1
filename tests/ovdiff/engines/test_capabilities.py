"""What each engine can do is what the table of ARCHITECTURE.md says."""

import re
from importlib import import_module
from pathlib import Path

from ovdiff import Bank
from ovdiff.engines import SegmentationEngine, load_any_preset, make_engine

ROOT = Path(__file__).parents[3]
MODULES = ("building", "curating", "segmenting", "encodings", "learning")
PRESETS = {"OVDiff": "tinyworld", "ODISE": "odise_tinyworld", "baselines": "naclip_tinyworld"}
"""A preset of each engine that has a column in the table."""
ROW = re.compile(r"^\| `(\w+)` \| ((?:`\w+`[ ,]*)+) \| (yes|) *\| (yes|) *\| (yes|) *\|$", re.MULTILINE)


def _protocols(module: str) -> dict[str, type]:
    """Return what a module of `ovdiff.engines` defines to be asked for by `isinstance`."""
    members = vars(import_module(f"ovdiff.engines.{module}"))
    own = {name: each for name, each in members.items() if getattr(each, "__module__", "").endswith(f".{module}")}
    return {name: each for name, each in own.items() if "_is_runtime_protocol" in vars(each)}


def _told() -> dict[tuple[str, str], set[str]]:
    """Return which engines the table says to have a Protocol, by the Protocol's module and name."""
    rows = ROW.findall((ROOT / "ARCHITECTURE.md").read_text("utf-8"))
    return {
        (module, name): {engine for engine, mark in zip(PRESETS, marks, strict=True) if mark}
        for module, names, *marks in rows
        for name in re.findall(r"\w+", names)
    }


def test_the_table_of_the_architecture_tells_what_each_engine_can_do(tmp_path: Path) -> None:
    engines = {name: make_engine(load_any_preset(preset), Bank(tmp_path), "cpu") for name, preset in PRESETS.items()}
    assert all(isinstance(engine, SegmentationEngine) for engine in engines.values())
    assert _told() == {
        (module, name): {engine for engine, made in engines.items() if isinstance(made, protocol)}
        for module in MODULES
        for name, protocol in _protocols(module).items()
    }
