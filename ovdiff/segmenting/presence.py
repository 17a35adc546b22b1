"""Presence: how much of CLIP's belief each word of the vocabulary gets in the whole image, beside all other words.

::

    presence_c = softmax over asked words and anchors of  30 * cos(image, text)

A region of a word that CLIP does not see in the image is rarely right, so scores of regions follow from it. It chooses
no category and changes no mask: the prefilter (A.10) does that, with another softmax.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.models.texts import ClipTexts

LOGIT_SCALE = 30.0
"""CLIP's cosines of two words differ by hundredths. The weight of a score's logarithm evens out any other scale."""


def presence(
    image: Tensor,
    words: Sequence[Sequence[str]],
    texts: ClipTexts,
    template: str,
    learned: NDArray[np.float64] | None = None,
) -> tuple[float, ...]:
    """Return CLIP's share of each word in an image, in [0, 1]; 0 if CLIP can read none of its phrases.

    Args:
        image: (P,) unit embedding of the image.
        words: the phrases of each word, asked or anchor; an image may show any of them.
        texts: the text encoder.
        template: the caption of one phrase, with ``{category}`` in its place.
        learned: (W,) what annotated images add to the cosine of each word.
    """
    captions = [[template.replace("{category}", phrase) for phrase in phrases] for phrases in words]
    known = list(dict.fromkeys(caption for own in captions for caption in own))
    embedded = zip(known, texts.embed(known), strict=True)  # All in one call: the encoder reads in batches.
    vectors = {text: vector for text, vector in embedded if vector is not None}
    if not vectors:
        return (0.0,) * len(words)
    cosines = dict(zip(vectors, (torch.stack(list(vectors.values())) @ image).tolist(), strict=True))
    nearest = [max((cosines[text] for text in own if text in cosines), default=-torch.inf) for own in captions]
    logits = LOGIT_SCALE * (torch.tensor(nearest) + (0.0 if learned is None else torch.from_numpy(learned).float()))
    return tuple(torch.softmax(logits, dim=0).tolist())
