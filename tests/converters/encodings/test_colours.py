"""Colours: always the same for a name, and VOC's palette as VOC has it."""

from hypothesis import given
from hypothesis import strategies as st

from converters.encodings.colours import colour_of, hex_of, rgb_of, voc_palette


@given(st.text() | st.just("\ud800"))
def test_a_colour_is_always_the_same_and_never_pale_or_black(name: str) -> None:
    assert colour_of(name) == colour_of(name) == hex_of(rgb_of(name))
    assert max(rgb_of(name)) > 170
    assert min(rgb_of(name)) < 110


def test_the_palette_is_that_of_pascal_voc() -> None:
    palette = voc_palette()
    published = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 8: (64, 0, 0), 15: (192, 128, 128)}
    assert {number: palette[number] for number in published} == published
    assert (palette[20], palette[255]) == ((0, 64, 128), (224, 224, 192))
    assert len(set(palette)) == 256
