from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from ovdiff.presets import Preset, load_preset
from ovdiff.presets.mapping import entries, offline_values
from ovdiff.presets.schema import PresetTables


def test_every_field_gives_its_reason() -> None:
    def check(settings: Any) -> None:
        for entry in entries(settings):
            if is_dataclass(entry.value):
                check(entry.value)
            elif entry.name != "name":
                assert entry.declared is not None and entry.declared.metadata["reason"], entry.name

    check(load_preset("tinyworld"))
    assert "name" in {entry.name for entry in fields(Preset)}


def test_offline_values_hold_no_online_field() -> None:
    parameters = offline_values(load_preset("tinyworld"))
    assert {"models", "generation", "safety", "attribution", "proposals", "support", "extractors", "prototypes"} == set(
        parameters
    )
    assert "batch_size" not in parameters["generation"]
    assert {"window_px", "stuff_similarity"}.isdisjoint(parameters["extractors"]["clip"])
    assert {"support_px", "layer"} <= set(parameters["extractors"]["clip"])


def _without_later(table: Any) -> Any:
    """Return a table with the fields at their defaults that were added later.

    Their defaults keep the keys of older presets, so "paper" itself gives the reference's values.
    """
    return replace(table, **{entry.name: entry.default for entry in fields(table) if entry.metadata.get("later")})


def test_the_defaults_are_the_reference_s() -> None:
    """Where no comment of the preset "paper" says otherwise, it gives the schema's defaults."""
    paper = load_preset("paper")
    defaults = PresetTables("paper", paper.models)
    for table in ("attribution", "support", "prefilter", "windows", "matching", "refine"):
        assert _without_later(getattr(paper, table)) == getattr(defaults, table), table
    assert replace(paper.generation, phrases=()) == defaults.generation


@pytest.mark.parametrize("section", ["prefilter", "stuff_filter", "windows", "matching", "refine", "memory", "cache"])
def test_the_tables_of_segmenting_are_online(section: str) -> None:
    assert {entry.name: entry for entry in fields(PresetTables)}[section].metadata["online"]


def test_without_voters_all_extractors_vote() -> None:
    paper = load_preset("paper")
    assert paper.active_extractors() == ("stable_diffusion", "dino", "clip")
    fewer = replace(paper, matching=replace(paper.matching, extractors=("clip",)))
    assert fewer.active_extractors() == ("clip",)
