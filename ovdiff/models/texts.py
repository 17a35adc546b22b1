"""CLIP's embeddings of texts, with a cache, so that each text is embedded once."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class TextEncoder(Protocol):
    """What embeds texts: CLIP, or a model that has a text encoder of CLIP's kind."""

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor | None]:
        """Return a vector (P,) float32 for each text, or ``None`` for a text that is longer than the encoder reads."""
        ...


class ClipTexts:
    """Embeds texts by CLIP. A text is not embedded again while the cache holds it."""

    def __init__(self, clip: TextEncoder, cache_size: int) -> None:
        """Use a CLIP text encoder; keep the ``cache_size`` most recently used embeddings."""
        self._clip, self._cache_size = clip, cache_size
        self._cache: OrderedDict[str, Tensor | None] = OrderedDict()

    def embed(self, texts: Sequence[str]) -> list[Tensor | None]:
        """Return a unit vector (P,) float32 for each text, or ``None`` for a text longer than the encoder reads."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._cache]
        self._cache.update(zip(missing, self._clip.embed_texts(missing), strict=True))
        found = [self._cache[text] for text in texts]
        for text in dict.fromkeys(texts):
            self._cache.move_to_end(text)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return found
