from ovdiff.kinds import STUFF_NAMES, kind_of
from ovdiff.vocabulary import Category


def test_table_is_the_released_one() -> None:
    assert len(STUFF_NAMES) == 25
    assert {"sky", "trade name", "tray"} <= STUFF_NAMES
    assert not {"sand", "sea", "river", "hill", "earth", "field", "path"} & STUFF_NAMES  # kept for parity


def test_name_decides_and_case_does_not_matter() -> None:
    assert kind_of(Category("Sky")) == "stuff"
    assert kind_of(Category("boat")) == "thing"
    assert kind_of(Category("water bottle")) == "thing"


def test_category_overrides_and_preset_extends() -> None:
    assert kind_of(Category("sky", kind="thing")) == "thing"
    assert kind_of(Category("boat", kind="stuff")) == "stuff"
    assert kind_of(Category("Sand"), extra_stuff=("sand",)) == "stuff"
