"""CutLER: class-agnostic masks from a detector that learnt them without labels (A.3, D.2).

Its weights are for non-commercial use only. Before they are fetched, these terms are logged with their address.
Cost of an image of 512 x 512 px on two CPU cores: 2.8 s at best, 1.8 GB at the peak (D.3).
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ovdiff.models.checkpoint_file import checkpoint_file
from ovdiff.models.devices import computable
from ovdiff.models.licences import weights_licences
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pretrained import DTYPES
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import CheckpointSettings
from ovdiff.presets.needs import proposal_settings
from ovdiff.presets.part_settings import CutlerSettings
from ovdiff.proposals.boxes import has_area, paste_masks
from ovdiff.proposals.checkpoint import load_weights, read_checkpoint
from ovdiff.proposals.cutler_network import STRIDE_PX, CascadeMaskRcnn, Detections, Widths

_MEAN, _DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of RGB in 0 to 255


def make_proposer(preset: Preset, models: LoadedModels) -> "Cutler":
    """Make the proposer of a preset, and load its network."""
    checkpoint = computable(preset.models.given("cutler", CheckpointSettings), models.device)
    terms = next(entry.note for entry in weights_licences(preset) if entry.model == "cutler")
    network = load_cutler(checkpoint, terms, models.device)
    return Cutler(network, proposal_settings(preset, CutlerSettings), DTYPES[checkpoint.dtype])


def load_cutler(
    settings: CheckpointSettings, terms: str, device: torch.device, widths: Widths | None = None
) -> CascadeMaskRcnn:
    """Load the detector from its released checkpoint, or from a checkpoint with the same entries.

    Args:
        settings: where the checkpoint is.
        terms: the terms of its licence, in words; they are logged before the file is fetched.
        device: the device that will run the detector.
        widths: the widths of the network, by default those of the released detector.

    Raises:
        WeightsError: the file is missing, cannot be fetched or read, or is of another model.
    """
    path = checkpoint_file(settings, terms)
    with torch.device("meta"):  # No weights are allocated or drawn at random; the checkpoint's tensors replace them.
        network = CascadeMaskRcnn(widths)
    load_weights(network, read_checkpoint(path), path)
    return network.float().to(device).requires_grad_(False).eval()


class Cutler:
    """Proposes the masks of the objects that CutLER detects, the most certain first. Masks may overlap."""

    def __init__(self, network: CascadeMaskRcnn, settings: CutlerSettings, dtype: torch.dtype = torch.float32) -> None:
        """Use a loaded network. With a dtype other than float32, autocast computes its products in that dtype."""
        self._network, self._settings, self._dtype = network, settings, dtype
        self._device = next(network.parameters()).device

    def propose(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return masks (J, H, W), 0 <= J <= max_detections, of an (H, W, 3) uint8 RGB image."""
        boxes, _, masks = self.detect(image)
        height, width = image.shape[:2]
        pasted: NDArray[np.bool_] = paste_masks(masks, boxes, (height, width)).cpu().numpy()
        return pasted

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Return the detections in an (H, W, 3) uint8 RGB image, with boxes in px of that image."""
        height, width = image.shape[:2]
        resized_hw = resized_size_hw((height, width), self._settings.short_side_px, self._settings.max_long_side_px)
        pixels = detector_pixels(image, resized_hw).to(self._device)
        mixed = self._dtype is not torch.float32
        with torch.inference_mode(), torch.autocast(self._device.type, self._dtype, enabled=mixed):
            found: Detections = self._network(pixels, resized_hw, self._settings)
        scale = found.boxes.new_tensor([width / resized_hw[1], height / resized_hw[0]] * 2)
        limits = found.boxes.new_tensor([width, height] * 2)
        boxes = torch.minimum(found.boxes * scale, limits)
        kept = has_area(boxes)
        return Detections(boxes[kept], found.scores[kept], found.masks[kept])


def resized_size_hw(size_hw: tuple[int, int], short_side_px: int, max_long_side_px: int) -> tuple[int, int]:
    """Return (h, w) with a short side of ``short_side_px``, or smaller if the long side would exceed its limit.

    The order of the roundings is detectron2's.
    """
    scale = short_side_px / min(size_hw)
    height, width = (float(short_side_px) if side == min(size_hw) else scale * side for side in size_hw)
    shrink = min(1.0, max_long_side_px / max(height, width))
    return max(1, int(height * shrink + 0.5)), max(1, int(width * shrink + 0.5))


def detector_pixels(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> Tensor:
    """Return (1, 3, H, W) float32: resized as bytes, normalised, and padded with zeros at the right and below."""
    height, width = size_hw
    resized = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(resized).permute(2, 0, 1).float()
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (_MEAN, _DEVIATION))
    padding = (0, -width % STRIDE_PX, 0, -height % STRIDE_PX)
    return F.pad((pixels - mean) / deviation, padding)[None]
