import numpy as np
import pytest

from ovdiff.tinyworld.world import (
    COLOURS,
    NAMES,
    STUFF,
    THINGS,
    UNNAMED,
    Placement,
    Scene,
    render,
    sample_scene,
)


def _scene_with(thing: str) -> Scene:
    for index in range(400):
        scene = sample_scene(index, "test", 1)
        if [placed.name for placed in scene.things] == [thing]:
            return scene
    raise AssertionError(f"no scene of a {thing} among 400")


def test_names_are_the_two_vocabularies_and_what_is_in_neither() -> None:
    assert len(THINGS) == 12
    assert len(STUFF) == 7
    assert (*THINGS, *STUFF, *UNNAMED) == NAMES


def test_a_scene_is_its_index() -> None:
    assert sample_scene(3, "test") == sample_scene(3, "test")
    assert sample_scene(3, "test") != sample_scene(4, "test")


def test_splits_share_no_scene() -> None:
    drawn = [repr(sample_scene(index, split)) for split in ("train", "thresholds", "test") for index in range(150)]  # type: ignore[arg-type]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("thing", THINGS)
def test_every_thing_is_drawn_where_it_is_marked(thing: str) -> None:
    scene = _scene_with(thing)
    with_thing = render(scene, 96)
    without = render(Scene(scene.bands, (), scene.seed), 96)
    mask = with_thing.mask(thing)
    changed = (with_thing.image.astype(int) - without.image.astype(int)).any(axis=-1)
    assert mask.sum() > 40
    assert changed[mask].mean() > 0.9
    # Outside its mask only the anti-aliased rim differs.
    assert changed[~mask].mean() < 0.12


def test_sizes_show_one_and_the_same_scene() -> None:
    scene = sample_scene(5, "test", 2)
    small, large = render(scene, 64), render(scene, 256)
    assert large.image.shape == (256, 256, 3)
    agreement = (large.label_map[2::4, 2::4] == small.label_map).mean()
    assert agreement > 0.97


def test_a_viewport_is_a_part_of_the_whole() -> None:
    scene = sample_scene(5, "test", 2)
    whole = render(scene, 128).label_map
    part = render(scene, 64, (0.5, 0.5, 1.0, 1.0)).label_map
    assert (part == whole[64:, 64:]).mean() > 0.97


def test_colour_tells_things_of_one_name_apart() -> None:
    def fish(colour: str, x: float) -> Placement:
        return Placement("fish", colour, COLOURS[colour], (x, 0.7), 0.3, 0.0, False, 1)

    base = sample_scene(0, "test", 0)
    rendering = render(Scene(base.bands, (fish("red", 0.25), fish("yellow", 0.75)), 1), 64)
    red, yellow = rendering.mask("fish", "red"), rendering.mask("fish", "yellow")
    assert red[:, :32].any()
    assert not red[:, 32:].any()
    assert not (red & yellow).any()
    assert np.array_equal(red | yellow, rendering.mask("fish"))


def test_visible_leaves_out_what_is_hardly_seen() -> None:
    rendering = render(sample_scene(1, "test", 1), 64)
    assert set(rendering.visible()) <= set(NAMES)
    assert rendering.visible(min_share=1.1) == []


def test_background_regions_occur() -> None:
    seen = {name for index in range(60) for name in render(sample_scene(index, "test"), 32).visible()}
    assert set(UNNAMED) <= seen
