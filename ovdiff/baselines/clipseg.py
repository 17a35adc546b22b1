"""CLIPSeg (Lueddecke and Ecker, CVPR 2022): a small decoder on CLIP's image encoder, trained on masks with phrases.

The decoder reads three of the encoder's blocks. The word enters by FiLM: its embedding scales and shifts the states.
Each word has a map of its own, a probability for each pixel that does not depend on the other words.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPSegForImageSegmentation, CLIPTokenizer

from ovdiff.baselines.preset import ClipSegPreset
from ovdiff.baselines.text_towers import TextTower
from ovdiff.baselines.words import word_vectors
from ovdiff.models.devices import computable
from ovdiff.models.keys import outputs_of
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import images_to_pixels
from ovdiff.models.pretrained import DTYPES, load_transformer, where
from ovdiff.models.texts import ClipTexts
from ovdiff.models.weights import weights_identity


class _Loaded(NamedTuple):
    model: Any
    tokenizer: CLIPTokenizer


class ClipSeg:
    """The method of presets of the engine ``clipseg``; see :class:`ovdiff.baselines.method.Method`."""

    def __init__(self, preset: ClipSegPreset, models: LoadedModels) -> None:
        """Load nothing yet."""
        self._preset, self._models = preset, models

    def weights(self) -> dict[str, str]:
        """Return what identifies the model's weights."""
        return {"clipseg": weights_identity(self._preset.models.clipseg)}

    def load(self) -> None:
        """Load the model."""
        _ = self._loaded

    def encode(self, windows: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        """Return what the decoder reads: the states (B, N, D) after some blocks, of windows stretched to a square."""
        model, settings = self._loaded.model, self._preset.decoder
        vision, side = model.clip.vision_model, settings.input_px
        like = model.clip.visual_projection.weight
        pixels = images_to_pixels(windows, (side, side), settings.statistics, like, settings.resampling)
        blocks = [vision.encoder.layers[number] for number in model.extract_layers]
        return tuple(outputs_of(blocks, lambda: vision(pixels, interpolate_pos_encoding=True)))

    def maps(self, encoded: tuple[Tensor, ...], words: Sequence[str], size_hw: tuple[int, int]) -> Tensor:
        """Return the probability of each word at each pixel of the stretched windows, (B, W, S, S)."""
        vectors = word_vectors(self._texts, words, self._preset.texts.templates, unit=False)
        states = [each.to(self._loaded.model.dtype) for each in encoded]
        return torch.stack([self._of_window([each[row] for each in states], vectors) for row in range(len(states[0]))])

    def threshold(self, maps: Tensor) -> float:
        """Return the preset's threshold."""
        return self._preset.background.threshold

    def _of_window(self, states: list[Tensor], vectors: Tensor) -> Tensor:
        """Return the map of each word (W, S, S), a few words at a time."""
        decoder, count, found = self._loaded.model.decoder, self._preset.decoder.words_at_once, []
        for start in range(0, len(vectors), count):
            some = vectors[start : start + count].to(states[0].dtype)
            repeated = tuple(each.expand(len(some), *each.shape) for each in states)
            found.append(decoder(repeated, some).logits.float().sigmoid())
        return torch.cat(found)

    @cached_property
    def _loaded(self) -> _Loaded:
        settings = computable(self._preset.models.clipseg, self._models.device)

        def load() -> _Loaded:
            model = load_transformer(CLIPSegForImageSegmentation, settings, DTYPES[settings.dtype])
            return _Loaded(model.to(self._models.device), CLIPTokenizer.from_pretrained(**where(settings)))

        return self._models.once("a CLIPSegForImageSegmentation", settings, load)

    @cached_property
    def _texts(self) -> ClipTexts:
        model, tokenizer = self._loaded
        return ClipTexts(TextTower(model.clip, tokenizer, unit=False), self._preset.cache.texts)
