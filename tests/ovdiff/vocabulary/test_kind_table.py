from ovdiff.vocabulary.kind_table import STUFF_NAMES, THING_NAMES


def test_stuff_is_the_released_table() -> None:
    released = (
        "bedclothes blanket ceiling cloth curtain fence floor glass grass ground lake mountain platform road rock "
        "sidewalk sky snow step track tray wall water wood"
    )
    assert {*released.split(), "trade name"} == STUFF_NAMES
    assert {"sand", "sea", "river", "hill", "earth", "field", "path"} <= THING_NAMES  # kept for parity


def test_known_names_are_plain_and_of_one_kind() -> None:
    assert not STUFF_NAMES & THING_NAMES
    assert all(name == name.strip().casefold() and name for name in STUFF_NAMES | THING_NAMES)
    assert {"wine glass", "toothbrush", "shelves", "windowpane", "tv monitor"} <= THING_NAMES  # one a source
