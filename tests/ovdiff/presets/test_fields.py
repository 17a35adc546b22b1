from dataclasses import MISSING, dataclass, fields

import pytest

from ovdiff.presets.fields import added_tables, setting


@dataclass(frozen=True)
class Table:
    needed: int = setting(MISSING, "no default")
    size_px: int = setting(8, "small", unit="px", minimum=1, maximum=64, online=True, later=True)
    added: tuple[tuple[str, object], ...] = added_tables("wheels")


def test_a_field_carries_what_was_said_of_it() -> None:
    declared = {entry.name: entry for entry in fields(Table)}["size_px"]
    assert declared.default == 8
    assert dict(declared.metadata) == {
        "reason": "small",
        "unit": "px",
        "minimum": 1,
        "maximum": 64,
        "online": True,
        "later": True,
        "changes_no_mask": False,
        "shapes_no_encoding": False,
        "place": False,
    }


def test_a_field_without_a_default_must_be_given() -> None:
    with pytest.raises(TypeError, match="needed"):
        Table()  # type: ignore[call-arg]
    assert Table(3).size_px == 8


def test_added_tables_are_pairs_so_that_presets_stay_hashable() -> None:
    assert Table(3).added == ()
    assert hash(Table(3, added=(("big", Table(1)),))) == hash(Table(3, added=(("big", Table(1)),)))
    assert fields(Table)[-1].metadata == {"tables_of": "wheels"}
