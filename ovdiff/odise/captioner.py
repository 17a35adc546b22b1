"""The implicit captioner: it turns CLIP's embedding of an image into a condition of the UNet (C.1)."""

import torch
from torch import Tensor, nn

from ovdiff.odise.preset import CaptionerSettings
from ovdiff.odise.taps import Condition


class ImplicitCaptioner(nn.Module):
    """Adds to the empty text, and to the time embedding, what it learned to say about an image's embedding.

    Each of the two branches is tanh(gate) * (Linear(e) + positions), where gate and positions have the condition's
    shape.
    """

    def __init__(self, image_channels: int, text_shape: tuple[int, int], time_channels: int, gate: float) -> None:
        """Make an untrained captioner.

        Args:
            image_channels: the length of CLIP's embedding of an image.
            text_shape: (L, E), the tokens of the UNet's text and their length.
            time_channels: the width of the UNet's time embedding.
            gate: the first value of both gates; with 0 the condition begins as the empty text.
        """
        super().__init__()
        self.text = nn.Linear(image_channels, text_shape[1])
        self.text_positions = nn.Parameter(torch.zeros(text_shape).normal_(std=0.02))
        self.text_gate = nn.Parameter(torch.full(text_shape, gate))
        self.time = nn.Linear(image_channels, time_channels)
        self.time_positions = nn.Parameter(torch.zeros(time_channels).normal_(std=0.02))
        self.time_gate = nn.Parameter(torch.full((time_channels,), gate))

    def forward(self, embeddings: Tensor, empty_text: Tensor) -> Condition:
        """Return the condition for embeddings (B, P) of images, beside the empty text (1, L, E)."""
        said = self.text(embeddings)[:, None] + self.text_positions
        shift = self.time(embeddings) + self.time_positions
        text = empty_text.to(said.dtype) + torch.tanh(self.text_gate) * said
        return Condition(text, torch.tanh(self.time_gate) * shift)


def standardised(embeddings: Tensor, settings: CaptionerSettings) -> Tensor:
    """Return embeddings (B, P) as the captioner reads them."""
    return embeddings / embeddings.std(dim=1, keepdim=True) if settings.standardise else embeddings
