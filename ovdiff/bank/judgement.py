"""How well CLIP agrees that the support images of a category show what its words say. Never imports torch.

The judgement is in the card of a prototype set. A set that was built before there were judgements, or with a preset
without anchors, has none: its word is not judged, which is not the same as doubtful.
"""

from dataclasses import dataclass

ADVICE = (
    "Give it prompts with more words or a synonym, look at its support images (ovdiff prototypes show), or remove it"
)
"""What to try with a doubtful word; a phrase without a full stop."""


@dataclass(frozen=True)
class Judgement:
    """CLIP's judgement of a category's support images, as they were drawn.

    Attributes:
        images: how many images were judged, at least 1.
        agreeing: how many of the images CLIP takes for the category's words rather than for any of the anchors; words
            that fit an image nearly as well as the fittest anchor count.
        margin: the cosine of the category's words minus that of the fittest anchor, mean over the images.
        rival: the anchor that fits best the most of the other images; "" if CLIP agrees with all of them.
        rival_images: how many of the other images the rival fits best.
        doubtful_below: the share of agreeing images below which a word is doubtful.
        key: the content address of all that judged: CLIP's weights, the anchors and the settings.
    """

    images: int
    agreeing: int
    margin: float
    rival: str
    rival_images: int
    doubtful_below: float
    key: str

    @property
    def share(self) -> float:
        """The share of the images with which CLIP agrees, 0 to 1."""
        return self.agreeing / max(1, self.images)

    @property
    def is_doubtful(self) -> bool:
        """Whether CLIP agrees with so few images that the generator may not know the word, or may take it wrongly."""
        return self.share < self.doubtful_below

    def __str__(self) -> str:
        """Return the judgement as a phrase: "CLIP agrees with 0 of 8 support images, and sees 'mug' in 5"."""
        rival = f", and sees {self.rival!r} in {self.rival_images}" if self.rival else ""
        return f"CLIP agrees with {self.agreeing} of {self.images} support images{rival}"


def word_state(judgement: Judgement | None) -> str:
    """Return "known", "doubtful" or "not judged", as people and programs see it."""
    if judgement is None:
        return "not judged"
    return "doubtful" if judgement.is_doubtful else "known"
