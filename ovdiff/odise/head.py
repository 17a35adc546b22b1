"""The trained part of ODISE: captioner, mask generator, and the projection of names (C.1)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovdiff.odise.captioner import ImplicitCaptioner
from ovdiff.odise.encoding import WindowGrid, mirrored, stitch
from ovdiff.odise.mask_generator import MaskGenerator, Masks
from ovdiff.odise.preset import ClassifierSettings, OdisePreset


class NameClassifier(nn.Module):
    """Compares mask embeddings with names in a space of its own; a learned text stands for "nothing" (C.1, C.2)."""

    def __init__(self, text_channels: int, settings: ClassifierSettings) -> None:
        """Make an untrained classifier of CLIP texts (T, ``text_channels``)."""
        super().__init__()
        linear = settings.projection == "linear"
        self.project = nn.Linear(text_channels, settings.embedding) if linear else nn.Identity()
        self.null = nn.Parameter(torch.zeros(text_channels).normal_(std=text_channels**-0.5))
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / settings.temperature)))
        self._max_scale = settings.max_scale

    @torch.no_grad()
    def begin_null(self, empty: Tensor) -> None:
        """Begin the learned vector at CLIP's embedding (P,) of the empty text (C.2)."""
        self.null.copy_(empty)

    def forward(self, embeddings: Tensor, names: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale * cosine of masks with texts (B, Q, T), and with "nothing" (B, Q).

        Args:
            embeddings: (B, Q, D) of masks.
            names: (T, P), CLIP's texts.
        """
        texts = F.normalize(self.project(torch.cat([names.to(self.null.dtype), self.null[None]])).float(), dim=1)
        scale = self.log_scale.exp().clamp(max=self._max_scale)
        scores = scale * F.normalize(embeddings.float(), dim=2) @ texts.T
        return scores[..., :-1], scores[..., -1]


def best_of_synonyms(scores: Tensor, owners: Sequence[int] | Tensor, count: int) -> Tensor:
    """Return the best score (..., K) of each category's texts, from scores (..., T) whose texts belong to ``owners``.

    A category without a text has minus infinity.
    """
    index = torch.as_tensor(owners, device=scores.device).expand(scores.shape)
    best = scores.new_full((*scores.shape[:-1], count), -torch.inf)
    return best.scatter_reduce(-1, index, scores, "amax", include_self=True)


class OdiseHead(nn.Module):
    """All that is trained."""

    def __init__(
        self,
        preset: OdisePreset,
        tap_channels: Sequence[int],
        clip_channels: int,
        text_shape: tuple[int, int],
        time_channels: int,
    ) -> None:
        """Make an untrained head.

        Args:
            preset: the architecture.
            tap_channels: the channels of the taps.
            clip_channels: the length of CLIP's embeddings.
            text_shape: (L, E) of the UNet's text.
            time_channels: the width of the UNet's time embedding.
        """
        super().__init__()
        names = preset.classifier
        self.captioner = (
            ImplicitCaptioner(clip_channels, text_shape, time_channels, preset.captioner.gate)
            if preset.captioner.condition == "learned"
            else None
        )
        self.masks = MaskGenerator(
            tap_channels,
            preset.taps.strides,
            preset.mask_generator,
            names.embedding,
            names.mlp_layers,
            fitting=preset.taps.fitting,
            objectness=names.void == "objectness",
        )
        self.names = NameClassifier(clip_channels, names)

    def find(self, taps: Sequence[Tensor], grid: WindowGrid, *, mirror: bool = False) -> list[Masks]:
        """Return the masks of images after each layer of the decoder, from the taps of their windows.

        As in the released code, each window is projected on its own, and the pyramid's levels are stitched.

        Args:
            taps: (B * N, C, h, w) of N windows an image.
            grid: how an image was cut into windows.
            mirror: whether to find the masks of the mirrored images.
        """
        windows = [mirrored(tap, grid) for tap in taps] if mirror else taps
        levels = self.masks.pyramid(windows, (grid.side, grid.side))
        return self.masks.decode(stitch(levels, grid, mirror=mirror))
