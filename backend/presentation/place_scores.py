"""What words claim a place, in sentences, for engines that score places and cannot explain them."""

from __future__ import annotations

from collections.abc import Sequence

from ovdiff.explaining.taught import BACKGROUND_NAME
from ovdiff.segmentation import PlaceScores


def score_sentences(found: PlaceScores, names: Sequence[str], given: str, truth: str) -> str:
    """Say which word has the highest score at a place, which the second, and how the word fares that is true there.

    Args:
        found: the scores.
        names: the names of the words, in the order of the scores.
        given: the name of the label that the place was given; "background" for background.
        truth: the name of what is there.
    """
    ranked = sorted(zip(names, found.scores, strict=True), key=lambda word: -word[1])
    (winner, best), *rest = ranked
    told = [f"{winner} has the highest score, {best:.3f}"]
    told += [f"{second} comes second with {score:.3f}" for second, score in rest[:1]]
    told += [f"{name}, which is there, has {score:.3f}" for name, score in rest[1:] if name == truth]
    sentences = [f"{', '.join(told)}."]
    decided = winner if best >= found.least else BACKGROUND_NAME
    if decided == BACKGROUND_NAME:
        sentences.append(f"A word needs {found.least:.3f} there, so it is background.")
    elif truth == BACKGROUND_NAME and found.least > 0:
        sentences.append(f"It would be background if no word had {found.least:.3f}.")
    if decided != given:
        sentences.append(f"The clean-up of the labels made it {given}.")
    return " ".join(sentences)
