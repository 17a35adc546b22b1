"""CLIP alone: patches of a changed image encoder against words (MaskCLIP, SCLIP, NACLIP, CLIP surgery)."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.baselines.attention import dense_states
from ovdiff.baselines.preset import ClipDensePreset
from ovdiff.baselines.similarity import cosines, without_redundance
from ovdiff.baselines.words import word_vectors
from ovdiff.models.clip import Clip
from ovdiff.models.keys import tokens_to_grid
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.texts import ClipTexts
from ovdiff.models.weights import weights_identity


class ClipDense:
    """The method of presets of the engine ``clip_dense``; see :class:`ovdiff.baselines.method.Method`."""

    def __init__(self, preset: ClipDensePreset, models: LoadedModels) -> None:
        """Load nothing yet."""
        self._preset, self._models = preset, models

    def weights(self) -> dict[str, str]:
        """Return what identifies CLIP's weights."""
        return {"clip": weights_identity(self._preset.models.clip)}

    def load(self) -> None:
        """Load CLIP."""
        _ = self._clip

    def encode(self, windows: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        """Return the patches (B, P, h, w) and the whole window's embedding (B, P), in the space of texts.

        A window is stretched to whole patches.
        """
        tower, settings = self._clip.tower(), self._preset.dense
        side = self._clip.patch_px
        height, width = (max(1, round(length / side)) for length in windows.shape[1:3])
        states = tower.embed(windows, (height * side, width * side), settings.statistics, settings.resampling)
        states = tower.finish(dense_states(tower.blocks, states, (height, width), settings)).float()
        return tokens_to_grid(states, (height, width)), states[:, 0]

    def maps(self, encoded: tuple[Tensor, ...], words: Sequence[str], size_hw: tuple[int, int]) -> Tensor:
        """Return the similarity of each patch with each word, (B, W, h, w)."""
        patches, whole = (each.float() for each in encoded)
        templates, settings = self._preset.texts.templates, self._preset.dense
        vectors = word_vectors(self._texts, words, templates)
        if not settings.remove_redundant:
            return cosines(patches, vectors)
        empty = word_vectors(self._texts, [""], templates)[0]
        return without_redundance(patches, whole, vectors, empty, settings.redundant_scale)

    def threshold(self, maps: Tensor) -> float:
        """Return the preset's threshold."""
        return self._preset.background.threshold

    @cached_property
    def _clip(self) -> Clip:
        return self._models.clip(self._preset.models.clip)

    @cached_property
    def _texts(self) -> ClipTexts:
        return ClipTexts(self._clip, self._preset.cache.texts)
