"""The words of the drawn world, and the captions of its scenes."""

import numpy as np

from ovdiff.tinyworld.world import COLOURS, NAMES

TEMPLATES = (
    "a good photo of {}",
    "a good photo of {}",
    "a photo of {}",
    "a good picture of {}",
    "a picture of {}",
    "{}",
)
ARTICLE = "a"
"""The paper's template always says "a", also before a vowel."""

WORDS = (*NAMES, *COLOURS, ARTICLE, "and", "with", "of", "good", "photo", "picture")
"""Words that the tokenizer keeps whole; any other word is split into pieces."""


def thing_phrase(name: str, colour: str | None) -> str:
    """Return "a red ball", or "a ball" without a colour."""
    return f"{ARTICLE} {colour} {name}" if colour else f"{ARTICLE} {name}"


def full_caption(rng: np.random.Generator, things: list[tuple[str, str]], regions: list[str]) -> str:
    """Return a caption that names everything that can be seen.

    Args:
        rng: chooses the template, the order, and the things whose colours are named.
        things: (name, colour) of each visible thing.
        regions: the names of the visible regions.
    """
    said = [thing_phrase(name, colour if rng.random() < 0.6 else None) for name, colour in things]
    rng.shuffle(said)
    areas = list(regions)
    rng.shuffle(areas)
    if not said:
        return template(rng).format(" and ".join(f"{ARTICLE} {area}" for area in areas))
    scene = template(rng).format(" and ".join(said))
    return f"{scene} with {' and '.join(areas)}" if areas else scene


def short_caption(rng: np.random.Generator, name: str, colour: str | None) -> str:
    """Return a caption that names one thing or region alone, as the prompts of support images do."""
    return template(rng).format(thing_phrase(name, colour))


def template(rng: np.random.Generator) -> str:
    """Choose one of :data:`TEMPLATES`."""
    return TEMPLATES[int(rng.integers(len(TEMPLATES)))]
