"""GroupViT (Xu et al., CVPR 2022): patches gather into eight groups, and each group is named.

From the paper and its released segmentation. With the group embeddings g, the window's embedding a (the mean of the
groups), the texts t as unit vectors, and the learned scale s::

    named(g, t) = softmax over the best words of a (s g't)  *  softmax over all words (s g't)
    map_t(p)    = named(the group that most of pixel p belongs to, t)
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer, GroupViTModel

from ovdiff.baselines.preset import GroupVitPreset
from ovdiff.baselines.text_towers import TextTower
from ovdiff.baselines.words import word_vectors
from ovdiff.models.devices import computable
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import images_to_pixels
from ovdiff.models.pretrained import DTYPES, load_transformer, where
from ovdiff.models.texts import ClipTexts
from ovdiff.models.weights import weights_identity

_MOST_SCALE = 100.0
"""The released code bounds the learned scale, as CLIP's training does."""
_ROUNDING = 1e-5
"""The best value of a map is less than itself after it was enlarged, by so much."""


class _Loaded(NamedTuple):
    model: Any
    tokenizer: CLIPTokenizer


class GroupVit:
    """The method of presets of the engine ``groupvit``; see :class:`ovdiff.baselines.method.Method`."""

    def __init__(self, preset: GroupVitPreset, models: LoadedModels) -> None:
        """Load nothing yet."""
        self._preset, self._models = preset, models

    def weights(self) -> dict[str, str]:
        """Return what identifies the model's weights."""
        return {"groupvit": weights_identity(self._preset.models.groupvit)}

    def load(self) -> None:
        """Load the model."""
        _ = self._loaded

    def encode(self, windows: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        """Return groups (B, G, P) and windows (B, P) as unit vectors, and each patch's shares in groups (B, G, h, w).

        A window is stretched to whole patches.
        """
        model, settings = self._loaded.model, self._preset.groups
        vision, side = model.vision_model, model.config.vision_config.patch_size
        height, width = (max(1, round(length / side)) for length in windows.shape[1:3])
        size_hw, like = (height * side, width * side), vision.layernorm.weight
        pixels = images_to_pixels(windows, size_hw, settings.statistics, like, settings.resampling)
        states = vision.embeddings(pixels, interpolate_pos_encoding=True)
        found = vision.encoder(states, output_attentions=True, return_dict=True)
        groups = vision.layernorm(found.last_hidden_state)
        whole = model.visual_projection(groups.mean(dim=1))
        projected = model.visual_projection(groups.flatten(0, 1)).reshape(*groups.shape[:2], -1)
        shares = _grouping(found.attentions).reshape(*groups.shape[:2], height, width)
        return F.normalize(projected.float(), dim=2), F.normalize(whole.float(), dim=1), shares.float()

    def maps(self, encoded: tuple[Tensor, ...], words: Sequence[str], size_hw: tuple[int, int]) -> Tensor:
        """Return how well each word names the group of each pixel, (B, W, H, W')."""
        groups, whole, shares = (each.float() for each in encoded)
        vectors = word_vectors(self._texts, words, self._preset.texts.templates)
        scale = self._loaded.model.logit_scale.float().exp().clamp(max=_MOST_SCALE)
        named = named_groups(scale * groups @ vectors.T, scale * whole @ vectors.T, self._preset.groups.words)
        enlarged = F.interpolate(shares, size_hw, mode="bilinear", align_corners=False)
        owners = enlarged.argmax(dim=1)
        return torch.stack([each[owner].permute(2, 0, 1) for each, owner in zip(named, owners, strict=True)])

    def threshold(self, maps: Tensor) -> float:
        """Return the preset's threshold, or the best value of the image if that is less: some pixel is foreground."""
        return min(self._preset.background.threshold, float(maps.max()) * (1 - _ROUNDING))

    @cached_property
    def _loaded(self) -> _Loaded:
        settings = computable(self._preset.models.groupvit, self._models.device)

        def load() -> _Loaded:
            model = load_transformer(GroupViTModel, settings, DTYPES[settings.dtype]).to(self._models.device)
            return _Loaded(model, CLIPTokenizer.from_pretrained(**where(settings)))

        return self._models.once("a GroupViTModel", settings, load)

    @cached_property
    def _texts(self) -> ClipTexts:
        return ClipTexts(TextTower(*self._loaded, unit=True), self._preset.cache.texts)


def named_groups(groups: Tensor, whole: Tensor, count: int) -> Tensor:
    """Return how well each word names each group, (B, G, W) in [0, 1].

    Args:
        groups: (B, G, W) logits.
        whole: (B, W) logits of the whole window.
        count: how many words, the best of the whole window, may name a group.
    """
    best = whole.topk(min(count, whole.shape[1]), dim=1).indices
    others = torch.ones_like(whole, dtype=torch.bool).scatter(1, best, value=False)
    chosen = groups.masked_fill(others[:, None], -torch.inf).softmax(dim=2)
    return chosen * groups.softmax(dim=2)


def _grouping(attentions: Sequence[Tensor]) -> Tensor:
    """Return each patch's share in each of the last groups, (B, G, N), from the assignments of all stages."""
    found = attentions[0]
    for later in attentions[1:]:
        found = later @ found
    return found
