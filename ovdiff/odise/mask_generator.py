"""Masks and their embeddings from the taps: a feature pyramid, and Mask2Former without its backbone (C.1)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerMaskedAttentionDecoderLayer,
    Mask2FormerPixelDecoder,
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
)

from ovdiff.errors import PresetError
from ovdiff.odise.preset import MaskGeneratorSettings


class Masks(NamedTuple):
    """The masks after one layer of the decoder.

    Attributes:
        logits: (B, Q, h, w) on the finest level of the pyramid.
        embeddings: (B, Q, D), to be compared with names.
        objects: (B, Q) logits of showing anything at all; ``None`` if a name for "nothing" says that.
    """

    logits: Tensor
    embeddings: Tensor
    objects: Tensor | None = None


class TapProjection(nn.Module):
    """A residual bottleneck block with group normalisation, which brings a tap to the pyramid's width.

    A tap that has this width already is added as it is, as in every ResNet.
    """

    def __init__(self, channels: int, settings: MaskGeneratorSettings) -> None:
        """Make an untrained block for a tap of so many channels."""
        super().__init__()
        width, out, groups = settings.bottleneck, settings.level_channels, settings.norm_groups
        self.shortcut = nn.Identity() if channels == out else _convolution(channels, out, 1, groups)
        self.reduce = _convolution(channels, width, 1, groups)
        self.mix = _convolution(width, width, 3, groups)
        self.expand = _convolution(width, out, 1, groups)

    def forward(self, tap: Tensor) -> Tensor:
        """Project a tap (B, C, h, w)."""
        return F.relu(self.expand(F.relu(self.mix(F.relu(self.reduce(tap))))) + self.shortcut(tap))


class FeaturePyramid(nn.Module):
    """Projects each tap, and sums taps of one stride."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], settings: MaskGeneratorSettings, fitting: str = "nearest"
    ) -> None:
        """Make an untrained pyramid.

        Args:
            channels: the channels of each tap.
            strides: the levels' strides in px, the finest first.
            settings: the widths.
            fitting: how a tap is resized to its level, "nearest" or "bilinear".
        """
        super().__init__()
        self.strides = tuple(strides)
        self._fitting: dict[str, Any] = {"mode": fitting}
        if fitting != "nearest":
            self._fitting["align_corners"] = False
        self.taps = nn.ModuleList(TapProjection(number, settings) for number in channels)

    def forward(self, taps: Sequence[Tensor], size_hw: tuple[int, int]) -> list[Tensor]:
        """Return the levels (B, C, h, w), the finest first, from taps (B, C, h, w) of an input of ``size_hw`` px.

        Raises:
            PresetError: no tap has the stride of a level.
        """
        levels: list[Tensor | None] = [None] * len(self.strides)
        for project, tap in zip(self.taps, taps, strict=True):
            level = self._level(tap, size_hw)
            grid = tuple(-(-side // self.strides[level]) for side in size_hw)
            fitted = tap if tap.shape[-2:] == grid else F.interpolate(tap, grid, **self._fitting)
            projected = project(fitted)
            before = levels[level]
            levels[level] = projected if before is None else before + projected
        found = [level for level in levels if level is not None]
        if len(found) != len(levels):
            missing = self.strides[levels.index(None)]
            raise PresetError(
                f"No tap of the preset's table [taps] has stride {missing}, which taps.strides asks for. Name a module "
                f"whose output has one cell for {missing} x {missing} px, or other strides."
            )
        return found

    def _level(self, tap: Tensor, size_hw: tuple[int, int]) -> int:
        stride = round(max(side / grid for side, grid in zip(size_hw, tap.shape[-2:], strict=True)))
        clipped = min(max(stride, self.strides[0]), self.strides[-1])
        return min(range(len(self.strides)), key=lambda level: abs(self.strides[level] - clipped))


class PooledEmbedding(nn.Module):
    """Embeds a mask by the mean of the mask features inside it, and by its query."""

    def __init__(self, mask_channels: int, hidden: int, embedding: int, layers: int) -> None:
        """Make an untrained embedding of ``layers`` layers after the pooled features."""
        super().__init__()
        self.pooled = nn.Sequential(nn.LayerNorm(mask_channels), nn.Linear(mask_channels, hidden))
        self.norm = nn.LayerNorm(hidden)
        parts: list[nn.Module] = []
        for _ in range(layers - 1):
            parts += [nn.Linear(hidden, hidden), nn.ReLU()]
        self.mlp = nn.Sequential(*parts, nn.Linear(hidden, embedding))

    def forward(self, features: Tensor, logits: Tensor, queries: Tensor) -> Tensor:
        """Return (B, Q, D) for mask features (B, C, h, w), mask logits (B, Q, h, w) and queries (B, Q, H).

        A mask without a pixel has the pooled feature 0. No gradient flows through the choice of pixels.
        """
        inside = (logits.detach() > 0).float()
        # Divided first: the sum over a large mask would not fit half precision.
        shares = (inside / inside.sum(dim=(2, 3), keepdim=True).clamp(min=1)).to(features.dtype)
        pooled = torch.einsum("bqhw,bchw->bqc", shares, features)
        embedded: Tensor = self.mlp(self.norm(self.pooled(pooled) + queries))
        return embedded


class MaskGenerator(nn.Module):
    """Finds masks and embeds them. Every layer of the decoder gives its own, the last one's are the result."""

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        settings: MaskGeneratorSettings,
        embedding: int,
        layers: int,
        *,
        fitting: str = "nearest",
        objectness: bool = False,
    ) -> None:
        """Make an untrained generator.

        Args:
            channels: the channels of each tap.
            strides: the four strides of the pyramid in px, the finest first.
            settings: the widths and depths.
            embedding: the length of a mask's embedding.
            layers: the layers of the embedding's MLP.
            fitting: how a tap is resized to its level, see `FeaturePyramid`.
            objectness: whether each mask has a score of its own for showing anything at all.
        """
        super().__init__()
        config = Mask2FormerConfig(
            feature_size=settings.hidden,
            mask_feature_size=settings.mask_channels,
            hidden_dim=settings.hidden,
            encoder_feedforward_dim=settings.encoder_ffn,
            encoder_layers=settings.encoder_layers,
            decoder_layers=settings.decoder_layers + 1,  # The library counts the prediction before the first layer.
            dim_feedforward=settings.decoder_ffn,
            num_attention_heads=settings.heads,
            dropout=settings.dropout,
            num_queries=settings.queries,
            common_stride=strides[0],
            feature_strides=list(strides),
        )
        self.pyramid = FeaturePyramid(channels, strides, settings, fitting)
        self.pixels = Mask2FormerPixelDecoder(config, feature_channels=[settings.level_channels] * len(strides))
        self.queries = Mask2FormerTransformerModule(in_features=settings.hidden, config=config)
        self.embed = PooledEmbedding(settings.mask_channels, settings.hidden, embedding, layers)
        self.objectness = nn.Linear(settings.hidden, 1) if objectness else None
        _initialise(config, self.pixels, self.queries)

    def forward(self, taps: Sequence[Tensor], size_hw: tuple[int, int]) -> list[Masks]:
        """Return the masks after each layer of the decoder, from taps (B, C, h, w) of an input of ``size_hw`` px.

        Images that were cut into windows go through :meth:`ovdiff.odise.head.OdiseHead.find` instead.
        """
        return self.decode(self.pyramid(taps, size_hw))

    def decode(self, levels: Sequence[Tensor]) -> list[Masks]:
        """Return the masks after each layer of the decoder, from the pyramid's levels (B, C, h, w), the finest first.

        Only the last layer's are returned when the generator does not learn.
        """
        found = self.pixels(list(levels), output_hidden_states=False, return_dict=True)
        decoded = self.queries(list(found.multi_scale_features), found.mask_features)
        states = (state.transpose(0, 1) for state in decoded.intermediate_hidden_states)
        layers = zip(decoded.masks_queries_logits, states, strict=True)
        wanted = list(layers) if self.training else [list(layers)[-1]]
        return [
            Masks(
                logits,
                self.embed(found.mask_features, logits, state),
                None if self.objectness is None else self.objectness(state)[..., 0],
            )
            for logits, state in wanted
        ]


def _convolution(inside: int, out: int, side: int, groups: int) -> nn.Sequential:
    convolution = nn.Conv2d(inside, out, side, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.GroupNorm(groups, out))


def _initialise(config: Mask2FormerConfig, *parts: nn.Module) -> None:
    """Draw the first weights as the library does for a whole model; of parts used alone it initialises nothing."""
    whole = Mask2FormerPreTrainedModel(config)
    kinds = (
        Mask2FormerPixelDecoder,
        Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
        Mask2FormerMaskedAttentionDecoderLayer,
        Mask2FormerTransformerModule,
        nn.Embedding,
    )
    for part in parts:
        for module in part.modules():
            if isinstance(module, kinds):
                whole._init_weights(module)
