"""A narrow CutLER, as deep as the real one, with seeded weights that detects things, and a picture for it."""

import numpy as np
import torch
from numpy.typing import NDArray

from ovdiff.presets.part_settings import CutlerSettings
from ovdiff.proposals.cutler_network import CascadeMaskRcnn, Widths

NARROW = Widths(stem=8, pyramid=16, fully_connected=32)
SETTINGS = CutlerSettings(min_score=0.1, short_side_px=128, max_long_side_px=256, max_detections=8)

_GAINS = {
    "conv3": 0.3,  # what a residual block adds is small, or 16 of them explode
    "cls_score": 1.0,
    "bbox_pred": 0.2,
    "objectness_logits": 1.0,
    "anchor_deltas": 0.1,
    "mask_head.predictor": 2.0,
}


def seeded_cutler(widths: Widths = NARROW, seed: int = 0) -> CascadeMaskRcnn:
    """Return a network in which signals neither die nor explode, so that scores and boxes differ."""
    network = CascadeMaskRcnn(widths)
    source = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.endswith(("running_var", "norm.weight")):
            value.copy_(torch.rand(value.shape, generator=source) * 0.4 + 0.8)
        elif value.ndim == 1:
            value.copy_(torch.randn(value.shape, generator=source) * 0.1)
        elif value.ndim > 1:
            gain = next((gain for part, gain in _GAINS.items() if part in name), 2**0.5)
            value.copy_(torch.randn(value.shape, generator=source) * gain / value[0].numel() ** 0.5)
    return network.requires_grad_(False).eval()


def picture() -> NDArray[np.uint8]:
    """Return slopes and a chequerboard, (96, 128, 3) uint8."""
    rows, columns = np.mgrid[:96, :128]
    board = (rows // 16 + columns // 16) % 2 * 200
    return np.stack([rows * 2, columns * 2, board], axis=2).astype(np.uint8)
