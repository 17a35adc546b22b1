import numpy as np

from ovdiff.tinyworld.captions import ARTICLE, WORDS, full_caption, short_caption
from ovdiff.tinyworld.world import COLOURS, NAMES


def test_a_full_caption_names_everything() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        words = full_caption(rng, [("ball", "red"), ("tree", "green")], ["sky", "grass"]).split()
        assert {"ball", "tree", "sky", "grass"} <= set(words)


def test_a_scene_without_things_is_named_by_its_regions() -> None:
    assert "a sky" in full_caption(np.random.default_rng(0), [], ["sky"])


def test_a_short_caption_says_the_colour_only_when_told() -> None:
    rng = np.random.default_rng(0)
    assert short_caption(rng, "fish", "red").endswith(f"{ARTICLE} red fish")
    assert not set(short_caption(rng, "fish", None).split()) & set(COLOURS)


def test_captions_use_only_words_that_are_one_token() -> None:
    rng = np.random.default_rng(0)
    caption = full_caption(rng, [(name, "red") for name in NAMES[:12]], list(NAMES[12:]))
    assert set(caption.split()) <= set(WORDS)
