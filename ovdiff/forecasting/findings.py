"""Rules that turn the figures of a forecast into findings with advice.

The limits were chosen on the drawn world's generation seeds 45 and 46: they find planted faults, and nothing among the
19 words that the world knows, but for words that CLIP itself calls doubtful. Never imports torch.
"""

from collections.abc import Iterator, Sequence

from ovdiff.bank.judgement import ADVICE, Judgement
from ovdiff.forecasting.forecast import Finding, PairForecast

CONFUSED = 0.2
"""From this share of confused pixels on a pair is a finding; of 19 known words the worst pair had .11."""
UNTOLD = 0.75
"""CLIP tells two words apart if it prefers the right one for more than this share of their images."""


def not_built(names: Sequence[str]) -> Iterator[Finding]:
    """Yield one finding for the categories without prototypes, if there are any."""
    if names:
        yield Finding(
            "not built",
            tuple(names),
            f"No prototypes yet, so only the names are compared, by CLIP: {', '.join(names)}",
            "Build them first (ovdiff prototypes build, or leave out --no-build)",
        )


def too_few_images(name: str, shown: int) -> Finding:
    """Return the finding about a category of which no image can be left out."""
    return Finding(
        "too few images",
        (name,),
        f"{shown or 'none'} of the support images of {name!r} shows it, and a forecast leaves half of such images out",
        "Look at its support images (ovdiff prototypes show), and give it prompts or more images",
    )


def doubtful_word(name: str, judgement: Judgement) -> Finding:
    """Return the finding about a word that the generator may not know, or may take wrongly."""
    return Finding("doubtful word", (name,), f"{name!r} is doubtful: {judgement}", ADVICE)


def other_sense(name: str, phrases: Sequence[str], by_name: Judgement) -> Finding:
    """Return the finding about a category whose prompts draw something else than its name says."""
    prompts = " / ".join(phrases)
    return Finding(
        "other sense",
        (name,),
        f"{name!r} is drawn from {prompts!r}, and by its name {by_name}",
        "Give it prompts that mean what the label says, or rename the label",
    )


def pair_findings(pairs: Sequence[PairForecast], same_cosine: float) -> Iterator[Finding]:
    """Yield the findings about pairs: names that CLIP cannot tell apart, and words whose pixels are confused.

    Args:
        pairs: the pairs, those at most risk first.
        same_cosine: texts whose cosine is larger mean the same.
    """
    for pair in pairs:
        same = pair.text_cosine is not None and pair.text_cosine > same_cosine
        confused = pair.confused is not None and pair.confused >= CONFUSED
        if not (same or confused):
            continue
        figures = ", ".join(_figures(pair))
        both = (pair.first, pair.second)
        if same:
            text = f"CLIP cannot tell the words of {pair.first!r} and {pair.second!r} apart: {figures}"
            yield Finding("same words", both, text, "Merge them, or reword one so that it names what tells them apart")
        else:
            text = f"{pair.first!r} and {pair.second!r} will be confused: {figures}"
            yield Finding("confused", both, text, _advice(pair))


def _figures(pair: PairForecast) -> Iterator[str]:
    if pair.text_cosine is not None:
        yield f"their texts have a cosine of {pair.text_cosine:.2f}"
    if pair.confused is not None:
        yield f"{pair.confused:.0%} of the pixels of held-out support images go to the other one"
    if pair.told_apart is not None:
        yield f"CLIP prefers the right one for {pair.told_apart:.0%} of the images"


def _advice(pair: PairForecast) -> str:
    if pair.told_apart is None:
        return "Merge them, or give them prompts that name a difference one can see"
    if pair.told_apart <= UNTOLD:
        return "Merge them: neither pixels nor CLIP tell them apart. Or reword one, if it means something else"
    return "Give them prompts of several words each: CLIP tells them apart, their pixels are alike"
