"""The CLIP prefilter of categories (A.10): which things are likely to be in the image at all.

In the first stage the things stay whose captions fit the image better than average: with ``p = softmax(s)`` of raw
cosines, ``p_c >= 1/|C|`` is ``s_c >= log mean_j exp s_j``. In the second stage a joint caption ("a cat and a dog") is
made for every non-empty subset of these things, and the things of the caption that fits best stay. Stuff always stays.

The reference knows one phrase for a category. For a category of several phrases, s_c is the cosine of the mean of their
embeddings, and a joint caption has the phrase that fits the image best: an image may show either of "mug; cup".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from operator import itemgetter

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ovdiff.models.clip import Clip
from ovdiff.models.pixels import Images
from ovdiff.models.texts import ClipTexts
from ovdiff.presets.segmenting_settings import PrefilterSettings
from ovdiff.vocabulary import Category


def embed_image(clip: Clip, image: Images, settings: PrefilterSettings) -> Tensor:
    """Return CLIP's unit embedding (P,) float32 of an image (H, W, 3) uint8, stretched to the model's input size.

    The released code resizes twice: to a square of 512 px by Lanczos, and from there bilinearly without antialiasing.
    A single resize gives another embedding, so ``settings.stretch_px`` asks for the first of the two.
    """
    if settings.stretch_px:
        square = (settings.stretch_px, settings.stretch_px)
        here = image.numpy(force=True) if isinstance(image, Tensor) else image
        image = np.asarray(Image.fromarray(here).resize(square, Image.Resampling.LANCZOS))
    return clip.embed_images(image[None], settings.statistics, settings.resampling)[0]


@dataclass(frozen=True)
class Choice:
    """What the prefilter chose out of C things, and by which figures.

    Attributes:
        kept: the indices of the things that stay, ascending.
        similarities: (C,) float64 cosines of image and captions, by which the first stage chose; -inf for a caption
            that cannot be read. Empty if the prefilter did not choose: it is off, or there is one thing.
        likely: the indices that the first stage left.
        fits: each subset of these with its joint caption's cosine with the image; empty without a second stage.
    """

    kept: tuple[int, ...]
    similarities: NDArray[np.float64]
    likely: tuple[int, ...]
    fits: tuple[tuple[tuple[int, ...], float], ...] = ()


def choose_categories(
    image: Tensor, categories: Sequence[Category], texts: ClipTexts, settings: PrefilterSettings
) -> tuple[int, ...]:
    """Return the indices of the things that are likely to be in the image, ascending.

    Args:
        image: (P,) unit embedding of the image.
        categories: the things of the vocabulary, in the vocabulary's order.
        texts: the text encoder.
        settings: switches, templates and limits.
    """
    return choose(image, categories, texts, settings).kept


def choose(
    image: Tensor,
    categories: Sequence[Category],
    texts: ClipTexts,
    settings: PrefilterSettings,
    learned: NDArray[np.float64] | None = None,
) -> Choice:
    """Return the choice of :func:`choose_categories` with the figures by which it was made.

    Args:
        image: (P,) unit embedding of the image.
        categories: the things of the vocabulary, in the vocabulary's order.
        texts: the text encoder.
        settings: switches, templates and limits.
        learned: (C,) what annotated images add to the cosine of each category; to a joint caption's they add the mean
            over its categories.
    """
    if not settings.enabled or len(categories) < 2:
        everything = tuple(range(len(categories)))
        return Choice(everything, np.empty(0), everything)
    captions = [
        [settings.template.replace("{category}", phrase) for phrase in category.phrases] for category in categories
    ]
    every = list(dict.fromkeys(chain.from_iterable(captions)))
    vectors = dict(zip(every, texts.embed(every), strict=True))  # All in one call: the encoder reads in batches.
    similarities = np.array([_similarity(image, [vectors[text] for text in own]) for own in captions])
    added = np.zeros(len(categories)) if learned is None else learned
    similarities = similarities + added
    kept = likely(similarities, settings)
    if not settings.subsets or len(kept) < 2:
        return Choice(tuple(sorted(kept)), similarities, kept)
    fittest = [_fittest(image, own, vectors) for own in captions]
    fits = subset_fits(image, kept, fittest, texts, settings.joiner)
    fits = tuple((subset, fit + float(added[list(subset)].mean())) for subset, fit in fits)
    return Choice(tuple(sorted(_best(fits, kept))), similarities, kept, fits)


def first_bar(similarities: NDArray[np.float64], settings: PrefilterSettings) -> float:
    """Return the cosine that a thing needs to stay in the first stage: ``log mean_j exp(scale s_j) / scale``."""
    logits = similarities[np.isfinite(similarities)] * settings.logit_scale
    if not logits.size:
        return float("-inf")
    mean = np.exp(logits - logits.max()).sum() / len(similarities)  # what cannot be read has a share of 0
    return float((np.log(mean) + logits.max()) / settings.logit_scale)


def likely(similarities: NDArray[np.float64], settings: PrefilterSettings) -> tuple[int, ...]:
    """Return the indices whose softmax share is at least 1 / C, and at most ``max_categories`` of them.

    Args:
        similarities: (C,) cosines of image and captions; -inf for a caption that cannot be read.
        settings: logit scale and limit.

    Returns:
        Indices, ascending, and never none. Where there are more than the limit and ``caption_order`` says so, the
        likeliest comes first. If no caption can be read, all categories are equally likely.
    """
    readable = np.isfinite(similarities)
    if not readable.any():
        return tuple(range(len(similarities)))[: settings.max_categories]
    logits = np.full(len(similarities), -np.inf)
    logits[readable] = similarities[readable] * settings.logit_scale
    shares = np.exp(logits - logits.max())
    order = np.argsort(-shares, kind="stable")
    # The factor allows for one rounding: equal similarities are exactly average, and all of them must stay.
    above = [int(index) for index in order if shares[index] >= shares.mean() * (1 - 1e-12)]
    kept = above[: settings.max_categories]
    by_likelihood = settings.caption_order == "likelihood" and len(above) > len(kept)
    return tuple(kept if by_likelihood else sorted(kept))


def best_subset(
    image: Tensor, indices: Sequence[int], captions: Sequence[str], texts: ClipTexts, joiner: str
) -> tuple[int, ...]:
    """Return the non-empty subset of indices whose joint caption fits the image best, out of 2^k - 1 subsets.

    If all captions are too long for the encoder, every index stays. Of equal fits the smaller subset wins. A caption
    has the order of ``indices``. In the vocabulary's order it recurs for other images and is cached.
    """
    return _best(subset_fits(image, indices, captions, texts, joiner), indices)


def subset_fits(
    image: Tensor, indices: Sequence[int], captions: Sequence[str], texts: ClipTexts, joiner: str
) -> tuple[tuple[tuple[int, ...], float], ...]:
    """Return each non-empty subset of indices, smaller ones first, with its joint caption's cosine with the image.

    A caption that is longer than the encoder reads is left out.
    """
    subsets = all_subsets(indices)
    vectors = texts.embed([joiner.join(captions[index] for index in subset) for subset in subsets])
    readable = [(subset, vector) for subset, vector in zip(subsets, vectors, strict=True) if vector is not None]
    if not readable:
        return ()
    fits = torch.stack([vector for _, vector in readable]) @ image
    return tuple(zip((subset for subset, _ in readable), fits.tolist(), strict=True))


def _best(fits: Sequence[tuple[tuple[int, ...], float]], indices: Sequence[int]) -> tuple[int, ...]:
    return max(fits, key=itemgetter(1))[0] if fits else tuple(indices)  # Of equal values max takes the first.


def all_subsets(indices: Sequence[int]) -> list[tuple[int, ...]]:
    """Return every non-empty subset, smaller subsets first, each in the given order."""
    return [subset for size in range(1, len(indices) + 1) for subset in combinations(indices, size)]


def _similarity(image: Tensor, captions: Sequence[Tensor | None]) -> float:
    """Return the cosine of an image with the mean of a category's captions; -inf if no caption can be read."""
    readable = [vector for vector in captions if vector is not None]
    if not readable:
        return float("-inf")
    return float(F.normalize(torch.stack(readable).mean(dim=0), dim=0) @ image)


def _fittest(image: Tensor, captions: Sequence[str], vectors: Mapping[str, Tensor | None]) -> str:
    """Return the caption of a category that fits the image best; of equal captions the first."""
    if len(captions) == 1:
        return captions[0]
    fits = {text: float(vector @ image) for text in captions if (vector := vectors[text]) is not None}
    return max(fits, key=lambda text: fits[text], default=captions[0])
