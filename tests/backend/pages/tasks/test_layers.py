import numpy as np
import pytest

from backend.pages.tasks.layers import TINT, colours_of, hex_of, masks_layer
from backend.serving.vocabulary import Output, read_labelling


def outputs(*backgrounds: str) -> tuple[Output, ...]:
    labels = "".join(f'<Label value="l{n}" background="{colour}"/>' for n, colour in enumerate(backgrounds))
    config = f'<View><Image name="i" value="$i"/><BrushLabels name="b" toName="i">{labels}</BrushLabels></View>'
    return read_labelling(config, max_categories=50).outputs


@pytest.mark.parametrize(
    ("written", "colour"),
    [("#FF0000", (255, 0, 0)), ("green", (0, 128, 0)), ("#abc", (170, 187, 204)), ("rgba(1, 2, 3, 0.5)", (1, 2, 3)),
     ("rgb(9,8,7)", (9, 8, 7)), (" blue ", (0, 0, 255)), ("#ff000080", (255, 0, 0))],
)  # fmt: skip
def test_labels_have_the_colours_of_the_label_config(written: str, colour: tuple[int, int, int]) -> None:
    assert colours_of(outputs(written)) == (colour,)


@pytest.mark.parametrize("written", ["", "var(--x)", "url(http://x)", "&lt;script&gt;", "rgba(a,b,c,d)"])
def test_a_colour_that_is_none_becomes_one_of_ours(written: str) -> None:
    found = colours_of(outputs("red", written))
    assert found[0] == (255, 0, 0)
    assert len(found[1]) == 3
    assert found[1] != (0, 0, 0)


def test_colours_are_written_for_svg() -> None:
    assert hex_of((1, 171, 255)) == "#01abff"


def test_masks_are_tinted_with_a_strong_outline_and_the_rest_is_transparent() -> None:
    regions = np.zeros((40, 40), dtype=np.int32)
    regions[10:30, 10:30] = 1
    regions[15:25, 30:38] = 2
    layer = np.asarray(masks_layer(regions, [(200, 0, 0), (0, 0, 200)], (40, 40)))
    assert layer.shape == (40, 40, 4)
    assert layer[0, 0, 3] == layer[9, 20, 3] == 0
    assert layer[20, 20].tolist() == [200, 0, 0, TINT]
    assert layer[20, 10].tolist() == layer[20, 29].tolist() == [200, 0, 0, 255], "also at the border of two masks"
    assert layer[20, 30].tolist() == [0, 0, 200, 255]


def test_a_layer_is_as_large_as_its_picture() -> None:
    regions = np.full((500, 300), 1, dtype=np.int32)
    assert masks_layer(regions, [(1, 2, 3)], (60, 100)).size == (60, 100)
