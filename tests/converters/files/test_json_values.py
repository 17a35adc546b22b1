"""Values from JSON, and what stands in their place."""

from converters.files.json_values import finite_number, identifier, whole_number


def test_finite_numbers() -> None:
    assert finite_number(0.5) == 0.5
    assert finite_number(3) == 3.0
    assert [finite_number(v) for v in (True, "1", None, float("nan"), float("inf"), 10**400)] == [None] * 6


def test_whole_numbers() -> None:
    assert whole_number(-3) == -3
    assert [whole_number(v) for v in (True, "1", None, 1.0, [1])] == [None] * 5


def test_identifiers() -> None:
    assert [identifier(v) for v in (0, 7, "", "a")] == [0, 7, "", "a"]
    assert [identifier(v) for v in (True, None, 1.5, [], {})] == [None] * 5
