"""The text encoders of GroupViT and CLIPSeg, which are of CLIP's kind, as :class:`ovdiff.models.texts.TextEncoder`.

Tested by tests/ovdiff/baselines/test_groupvit.py and tests/ovdiff/baselines/test_clipseg.py.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import CLIPTokenizer

from ovdiff.models.text_batches import encode_texts


class TextTower:
    """A text encoder with its tokenizer."""

    def __init__(self, model: Any, tokenizer: CLIPTokenizer, *, unit: bool) -> None:
        """Use a model of transformers that has ``get_text_features``; with ``unit`` the vectors are unit vectors."""
        self._model, self._tokenizer, self._unit = model, tokenizer, unit

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor | None]:
        """Return a vector (P,) of each text, or ``None`` for a text that is longer than the encoder reads."""
        rows = self._tokenizer(list(texts), truncation=False, verbose=False).input_ids if texts else []
        length = self._model.config.text_config.max_position_embeddings
        return encode_texts(rows, length, self._tokenizer.pad_token_id, self._encode, unit=self._unit)

    def _encode(self, tokens: Tensor) -> Tensor:
        found: Tensor = self._model.get_text_features(tokens.to(self._model.device)).pooler_output
        return found
