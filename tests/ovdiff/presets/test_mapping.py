"""Reading and writing of any documented dataclass; the dataclasses of these tests are their own."""

from dataclasses import MISSING, dataclass, field
from typing import Any, Literal

import pytest

from ovdiff.errors import PresetError
from ovdiff.presets.fields import added_tables, setting
from ovdiff.presets.mapping import Entry, build, digest, entries, mask_values, offline_values, to_mapping


@dataclass(frozen=True)
class Wheel:
    size: float = setting(1.0, "round")
    spokes: int = setting(12, "many", online=True)


@dataclass(frozen=True)
class Bell:
    tone: str = setting("ding", "polite")


@dataclass(frozen=True)
class Bicycle:
    name: str
    brakes: int = setting(MISSING, "nobody rides without")
    wheel: Wheel = field(default_factory=Wheel)
    lock: Wheel | None = setting(None, "may be absent")  # noqa: RUF009
    colour: Literal["red", "blue"] = setting("red", "fast")
    gears: tuple[int, ...] = setting((), "any number")
    sizes: tuple[tuple[int, int], ...] = setting((), "pairs")
    electric: bool = setting(False, "light", later=True)
    added: tuple[tuple[str, Any], ...] = added_tables("gadgets")


TABLES = {"gadgets": lambda name: Bell if name == "bell" else None}
PLAIN = {"name": "mine", "brakes": 2}


def _build(**values: Any) -> Bicycle:
    return build(Bicycle, PLAIN | values, "The test", TABLES)


def test_absent_fields_take_their_defaults() -> None:
    assert _build() == Bicycle("mine", 2)


def test_what_is_written_is_read_as_an_equal_dataclass() -> None:
    bicycle = Bicycle(
        "mine", 2, Wheel(0.5, 3), Wheel(), "blue", (1, 2), ((3, 4),), True, added=(("bell", Bell("dong")),)
    )
    written = to_mapping(bicycle)
    assert written["sizes"] == [[3, 4]]
    assert written["bell"] == {"tone": "dong"}
    assert build(Bicycle, written, "The test", TABLES) == bicycle


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colur": "red"}, r"unknown field 'colur'. Did you mean 'colour'\?"),
        (
            {"nonsense": 1},
            "unknown field 'nonsense'. Known: name, brakes, wheel, lock, colour, gears, sizes, electric.",
        ),
        ({"wheel": {"spoke": 1}}, r"unknown field 'wheel.spoke'. Did you mean 'wheel.spokes'\?"),
        ({"wheel": {"bell": {}}}, "unknown field 'wheel.bell'"),  # a table that only the top may have
        ({"wheel": 3}, "wheel must be a table, got 3"),
        ({"bell": 3}, "bell must be a table, got 3"),
        ({"bell": {"tune": "x"}}, r"unknown field 'bell.tune'. Did you mean 'bell.tone'\?"),
        ({"lock": 1}, "lock must be a table, got 1"),
        ({"brakes": "2"}, "brakes is '2'; expected an integer"),
        ({"brakes": 2.0}, "brakes is 2.0; expected an integer"),
        ({"brakes": True}, "brakes is True; expected an integer"),
        ({"electric": 1}, "electric is 1; expected true or false"),
        ({"name": 5}, "name is 5; expected a string"),
        ({"wheel": {"size": "big"}}, "wheel.size is 'big'; expected a number"),
        ({"colour": "green"}, "colour is 'green'; expected one of 'red', 'blue'"),
        ({"gears": 3}, "gears is 3; expected a list"),
        ({"gears": [1, "2"]}, r"gears\[1\] is '2'; expected an integer"),
        ({"sizes": [[1, 2], [3]]}, r"sizes\[1\] is \[3\]; expected 2 values"),
        ({"added": []}, "unknown field 'added'"),  # the field that holds tables is no name in a file
    ],
)
def test_a_mistake_is_named_with_its_place_and_value(values: dict[str, Any], message: str) -> None:
    with pytest.raises(PresetError, match=f"The test: {message}"):
        _build(**values)


def test_a_field_without_a_default_must_be_given() -> None:
    with pytest.raises(PresetError, match=r"The test: missing field 'brakes'. A preset must give it"):
        build(Bicycle, {"name": "mine"}, "The test", TABLES)


def test_the_whole_must_be_a_table() -> None:
    with pytest.raises(PresetError, match=r"The test: the preset must be a table, got \[\]"):
        build(Bicycle, [], "The test", TABLES)


def test_an_integer_stands_for_a_number_and_becomes_one() -> None:
    size = _build(wheel={"size": 2}).wheel.size
    assert isinstance(size, float)
    assert size == 2.0


def test_added_tables_stand_beside_those_of_the_schema() -> None:
    bicycle = _build(bell={"tone": "dong"})
    assert bicycle.added == (("bell", Bell("dong")),)
    assert list(entries(bicycle))[-1] == Entry("bell", Bell("dong"), None)
    assert "added" not in {entry.name for entry in entries(bicycle)}


def test_offline_values_leave_out_online_fields_and_later_ones_at_their_default() -> None:
    found = offline_values(_build(bell={}))
    assert found == {
        "name": "mine",
        "brakes": 2,
        "wheel": {"size": 1.0},
        "lock": None,
        "colour": "red",
        "gears": [],
        "sizes": [],
        "bell": {"tone": "ding"},
    }
    assert offline_values(_build(electric=True))["electric"] is True


def test_a_later_table_is_left_out_while_it_has_its_defaults() -> None:
    @dataclass(frozen=True)
    class Basket:
        wheel: Wheel = field(default_factory=Wheel, metadata={"later": True})

    assert offline_values(Basket()) == {}
    assert offline_values(Basket(Wheel(2.0))) == {"wheel": {"size": 2.0}}


def test_fields_that_change_no_mask_are_left_out_by_their_declaration_and_not_by_their_name() -> None:
    @dataclass(frozen=True)
    class Basket:
        name: str = setting("mine", "a word", changes_no_mask=True)
        memory: int = setting(3, "a plug-in's own field of a name that others use too")
        lock: Bell = field(default_factory=Bell, metadata={"changes_no_mask": True})
        electric: bool = setting(False, "light", later=True)

    assert mask_values(Basket()) == {"memory": 3}
    assert mask_values(Basket(electric=True)) == {"memory": 3, "electric": True}
    assert offline_values(Basket()) == {"name": "mine", "memory": 3, "lock": {"tone": "ding"}}


def test_a_digest_knows_values_and_not_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2, "ü"]}) == digest({"b": [2, "ü"], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert len(digest({})) == 64
