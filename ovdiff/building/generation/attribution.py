"""Attribution maps: where the cross-attention of a generated image looks for its category (A.2).

::

    A = 1/|C| * sum over (layer, step, head) of  mean over the category's tokens of
        max(0, bicubic(softmax(q k^T / sqrt(d))[:, token]))

Only the processors of the attn2 layers are wrapped. The wrapped processor still makes the layer's output, so an image
is the same, bit for bit, whether its attribution is recorded or not. The probabilities are computed a second time, in
float32 and for the conditional half of the batch alone. They are added to one (B, g, g) accumulator, so that the full
maps are never kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from ovdiff.models.cross_attention import cross_attention_layers
from ovdiff.presets.building_settings import AttributionSettings

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import Attention

EPSILON = 1e-6


@dataclass(frozen=True)
class Tokens:
    """Which tokens of its own prompt count for each of B images that are sampled at once.

    Attributes:
        positions: (B, T) int64, on the UNet's device; rows with fewer than T tokens are filled up with any position.
        weights: (B, T) float32, which add up to 1 in each row; 0 where a row was filled up.
    """

    positions: Tensor
    weights: Tensor

    @staticmethod
    def of(spans: Sequence[slice], device: torch.device, most: int = 1) -> Tokens:
        """Return the tokens of one span for each image, with T at least ``most``."""
        width = max(most, *(span.stop - span.start for span in spans))
        positions = torch.zeros(len(spans), width, dtype=torch.int64)
        weights = torch.zeros(len(spans), width)
        for row, span in enumerate(spans):
            count = span.stop - span.start
            positions[row, :count] = torch.arange(span.start, span.stop)
            weights[row, :count] = 1 / count
        return Tokens(positions.to(device), weights.to(device))


class AttributionRecorder:
    """Records attribution while a pipeline samples, inside a ``with`` block.

    The pipeline must call :meth:`end_step` after each denoising step.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        settings: AttributionSettings,
        tokens: slice | Tokens,
        *,
        images: int,
        grid: int,
        steps: int,
    ) -> None:
        """Prepare to record.

        Args:
            unet: the UNet whose attn2 layers are read.
            settings: which layers and steps count.
            tokens: the positions of the category's tokens in the prompt that all images have, or those of each image.
            images: B, the number of images sampled at once. With guidance a batch is [negative; positive], 2B long, and
                its last B rows count.
            grid: g, the side of the maps, which is that of the latent grid.
            steps: the number of denoising steps.
        """
        self._layers = cross_attention_layers(unet, settings.layers)
        self._wanted_steps = recorded_steps(settings, steps)
        self._tokens, self._images, self._grid = tokens, images, grid
        self._step, self._contributions = 0, 0
        self._total: Tensor | None = None
        self._originals: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Wrap the processors of the chosen layers."""
        for name, layer in self._layers.items():
            self._originals[name] = layer.processor
            layer.set_processor(_RecordingProcessor(layer.processor, self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the original processors back."""
        for name, layer in self._layers.items():
            layer.set_processor(self._originals[name])

    def end_step(self) -> None:
        """Count a finished denoising step."""
        self._step += 1

    def maps(self) -> Tensor:
        """Return the mean contribution, (B, g, g) float32, not normalised."""
        total, contributions = self.sum()
        return total / contributions

    def sum(self) -> tuple[Tensor, int]:
        """Return the sum of the contributions, (B, g, g) float32, and their number."""
        if self._total is None:
            raise RuntimeError("No step was recorded: sample with the pipeline inside the 'with' block first.")
        return self._total, self._contributions

    @property
    def is_recording(self) -> bool:
        """Whether the step that runs now counts."""
        return self._step in self._wanted_steps

    def record(self, layer: Attention, hidden: Tensor, text: Tensor) -> None:
        """Add one layer's token maps. ``hidden`` is (B or 2B, h*w, C), ``text`` is (B or 2B, L, E)."""
        if not self.is_recording:
            return
        conditional = slice(-self._images, None)
        probabilities = token_probabilities(layer, hidden[conditional], text[conditional], self._tokens)
        weights = None if isinstance(self._tokens, slice) else self._tokens.weights
        self.add(upsample_and_merge(probabilities, self._grid, weights), layer.heads)

    def add(self, maps: Tensor, contributions: int) -> None:
        """Add maps (B, g, g) float32, which are the sum of so many contributions."""
        self._total = maps if self._total is None else self._total + maps
        self._contributions += contributions


class _RecordingProcessor:
    """Runs the layer's own processor, and then gives the layer's inputs to the recorder."""

    def __init__(self, inner: Any, recorder: AttributionRecorder) -> None:
        self._inner, self._recorder = inner, recorder

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        output: Tensor = self._inner(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        if encoder_hidden_states is not None:
            self._recorder.record(attn, hidden_states, encoder_hidden_states)
        return output


def recorded_steps(settings: AttributionSettings, steps: int) -> range:
    """Return the indices of the denoising steps that count: ``from <= index / steps < to``."""
    first, last = settings.step_range
    wanted = [index for index in range(steps) if first <= index / steps < last]
    return range(wanted[0], wanted[-1] + 1) if wanted else range(0)


def token_probabilities(layer: Attention, hidden: Tensor, text: Tensor, tokens: slice | Tokens) -> Tensor:
    """Return the attention that each place pays to the tokens.

    Args:
        layer: a cross-attention layer of Stable Diffusion (no mask, no query norms).
        hidden: (B, h*w, C), the layer's input.
        text: (B, L, E) token embeddings; the softmax runs over all L.
        tokens: the T token positions, of all images or of each.

    Returns:
        (B, heads, T, h, w) float32; maps are square.
    """
    query = layer.head_to_batch_dim(layer.to_q(hidden), out_dim=4).float()
    key = layer.head_to_batch_dim(layer.to_k(text), out_dim=4).float()
    scores = query @ key.transpose(-1, -2) * layer.scale
    probabilities = _chosen(scores.softmax(dim=-1), tokens).transpose(-1, -2)
    side = round(hidden.shape[1] ** 0.5)
    return probabilities.reshape(*probabilities.shape[:3], side, side)


def _chosen(probabilities: Tensor, tokens: slice | Tokens) -> Tensor:
    """Return the probabilities (B, heads, places, T) of some of (B, heads, places, L) tokens."""
    if isinstance(tokens, slice):
        return probabilities[..., tokens]
    positions = tokens.positions[:, None, None, :].expand(*probabilities.shape[:3], -1)
    return probabilities.gather(-1, positions)


def upsample_and_merge(probabilities: Tensor, grid: int, weights: Tensor | None = None) -> Tensor:
    """Upsample each head's map, clamp at 0, sum over heads and average over tokens (A.2.4, A.2.5).

    Args:
        probabilities: (B, heads, T, h, w) float32.
        grid: g, the side of the result.
        weights: (B, T) float32, what each token counts; without them all count alike.

    Returns:
        (B, g, g) float32.
    """
    flat = probabilities.flatten(1, 2)
    large = F.interpolate(flat, size=(grid, grid), mode="bicubic", align_corners=False).clamp(min=0)
    large = large.reshape(*probabilities.shape[:3], grid, grid)
    if weights is None:
        return large.mean(dim=2).sum(dim=1)
    return (large * weights[:, None, :, None, None]).sum(dim=(1, 2))


def normalise_maps(maps: Tensor, size_px: int) -> Tensor:
    """Scale each map to [0, 1], enlarge it to the image, and scale again (A.2.6).

    Args:
        maps: (B, g, g) float32.
        size_px: the side of the images.

    Returns:
        (B, size_px, size_px) float32 in [0, 1]; a constant map becomes 0.
    """
    enlarged = F.interpolate(scale_maps(maps)[:, None], size=(size_px, size_px), mode="bilinear", align_corners=False)
    return scale_maps(enlarged[:, 0])


def scale_maps(maps: Tensor) -> Tensor:
    """Scale each map of (B, h, w) to [0, 1]; a constant map becomes 0."""
    low, high = torch.aminmax(maps.flatten(1), dim=1)
    return (maps - low[:, None, None]) / (high - low + EPSILON)[:, None, None]
