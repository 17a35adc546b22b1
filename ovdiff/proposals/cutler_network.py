"""CutLER's network: Cascade Mask R-CNN on a ResNet-50 with a feature pyramid (D.2, D.3).

::

    image -> bottom_up (res2..res5) -> backbone (p2..p6) -> proposal_generator: 1000 boxes
          -> roi_heads: three times a box's class and a better box, the scores averaged -> masks of 28 x 28

Modules are named as in the released checkpoint, so that the checkpoint's entries are this module's state dict. The
network needs only torch and torchvision, and runs one image at a time.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from ovdiff.presets.part_settings import CutlerSettings
from ovdiff.proposals.boxes import ASPECTS, anchor_boxes, apply_deltas, has_area, pool

STRIDE_PX = 32
"""The stride of the deepest features. The sides of the input must be multiples of it."""

_BLOCKS = (3, 4, 6, 3)  # The number of blocks of res2 to res5.
_ANCHOR_PX, _FINEST_STRIDE_PX = 32, 4  # The values at p2; both double from level to level.
_MAX_PROPOSALS, _PROPOSAL_NMS = 1000, 0.65
_STAGE_WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))
_BOX_CELLS, _MASK_CELLS = 7, 14


@dataclass(frozen=True)
class Widths:
    """The widths of the network: by default those of the released detector; tests use smaller ones."""

    stem: int = 64
    pyramid: int = 256
    fully_connected: int = 1024


class Detections(NamedTuple):
    """Objects found in an image, the most certain first.

    Attributes:
        boxes: (J, 4) float32: left, top, right, bottom in px.
        scores: (J,) float32 in [0, 1].
        masks: (J, 28, 28) float32 in [0, 1]; each mask covers its box.
    """

    boxes: Tensor
    scores: Tensor
    masks: Tensor


class CascadeMaskRcnn(nn.Module):
    """Class-agnostic instance segmentation; 71.78 M parameters at its released widths."""

    def __init__(self, widths: Widths | None = None) -> None:
        """Make the modules. Their weights are to be loaded from a checkpoint."""
        super().__init__()
        widths = widths or Widths()
        self.backbone = FeaturePyramid(widths)
        self.proposal_generator = ProposalGenerator(widths.pyramid)
        self.roi_heads = CascadeHeads(widths)

    def forward(self, pixels: Tensor, size_hw: tuple[int, int], settings: CutlerSettings) -> Detections:
        """Find objects.

        Args:
            pixels: (1, 3, H, W), normalised and padded to multiples of :data:`STRIDE_PX`.
            size_hw: the size of the image without the padding, in px.
            settings: which detections are kept.

        Returns:
            Detections in the frame of ``pixels``.
        """
        features = self.backbone(pixels)
        proposals = self.proposal_generator(features, size_hw)
        detections: Detections = self.roi_heads(features[:-1], proposals, size_hw, settings)
        return detections


class ConvNorm(nn.Conv2d):
    """A convolution without bias, followed by batch normalisation with stored statistics."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        """Make the layers; the padding keeps the size at a stride of 1."""
        super().__init__(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Convolve and normalise."""
        normalised: Tensor = self.norm(super().forward(inputs))
        return normalised


class Bottleneck(nn.Module):
    """A residual block of ResNet v1.5: the stride is in its 3 x 3 convolution."""

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        """Make the layers; the output has 4 * ``inner`` channels."""
        super().__init__()
        self.conv1 = ConvNorm(inputs, inner, 1)
        self.conv2 = ConvNorm(inner, inner, 3, stride)
        self.conv3 = ConvNorm(inner, 4 * inner, 1)
        self.shortcut = ConvNorm(inputs, 4 * inner, 1, stride) if inputs != 4 * inner else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        """Add the output of three convolutions to the input."""
        hidden = F.relu(self.conv2(F.relu(self.conv1(inputs))))
        return F.relu(self.conv3(hidden) + self.shortcut(inputs))


class ResNet(nn.Module):
    """ResNet-50 without its classifier."""

    def __init__(self, widths: Widths) -> None:
        """Make four stages, each half as fine and twice as wide as the stage before."""
        super().__init__()
        self.stem = nn.ModuleDict({"conv1": ConvNorm(3, widths.stem, 7, stride=2)})
        inputs = widths.stem
        for index, depth in enumerate(_BLOCKS):
            inner = widths.stem << index
            first = Bottleneck(inputs, inner, stride=1 if index == 0 else 2)
            inputs = 4 * inner
            self.add_module(
                f"res{index + 2}", nn.Sequential(first, *(Bottleneck(inputs, inner, 1) for _ in range(depth - 1)))
            )

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return the outputs of res2 to res5, at strides of 4 to 32 px."""
        features = F.max_pool2d(F.relu(self.stem["conv1"](pixels)), 3, stride=2, padding=1)
        outputs = []
        for name in ("res2", "res3", "res4", "res5"):
            features = self.get_submodule(name)(features)
            outputs.append(features)
        return outputs


class FeaturePyramid(nn.Module):
    """A feature pyramid: coarse features added to finer ones from the top down."""

    def __init__(self, widths: Widths) -> None:
        """Make a lateral and an output convolution for each level."""
        super().__init__()
        self.bottom_up = ResNet(widths)
        for index in range(4):
            self.add_module(f"fpn_lateral{index + 2}", ConvNorm(4 * widths.stem << index, widths.pyramid, 1))
            self.add_module(f"fpn_output{index + 2}", ConvNorm(widths.pyramid, widths.pyramid, 3))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return p2 to p6, at strides of 4 to 64 px; p6 is every other cell of p5."""
        pyramid: list[Tensor] = []
        merged: Tensor | None = None
        for level, features in reversed(list(enumerate(self.bottom_up(pixels), start=2))):
            lateral = self.get_submodule(f"fpn_lateral{level}")(features)
            merged = lateral if merged is None else lateral + F.interpolate(merged, scale_factor=2.0, mode="nearest")
            pyramid.insert(0, self.get_submodule(f"fpn_output{level}")(merged))
        return [*pyramid, pyramid[-1][..., ::2, ::2]]


class ProposalHead(nn.Module):
    """Predicts how much each anchor looks like an object, and the deltas that fit the anchor to the object."""

    def __init__(self, channels: int) -> None:
        """Make the layers, which all levels of the pyramid share."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness_logits = nn.Conv2d(channels, len(ASPECTS), 1)
        self.anchor_deltas = nn.Conv2d(channels, 4 * len(ASPECTS), 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (h * w * 3,) and deltas (h * w * 3, 4) in the order of :func:`anchor_boxes`."""
        hidden = F.relu(self.conv(features))
        logits = self.objectness_logits(hidden).permute(0, 2, 3, 1).flatten()
        deltas = self.anchor_deltas(hidden).permute(0, 2, 3, 1).reshape(-1, 4)
        return logits.float(), deltas.float()


class ProposalGenerator(nn.Module):
    """The region proposal network."""

    def __init__(self, channels: int) -> None:
        """Make the head."""
        super().__init__()
        self.rpn_head = ProposalHead(channels)

    def forward(self, features: list[Tensor], size_hw: tuple[int, int]) -> Tensor:
        """Return up to 1000 boxes (R, 4) inside the image, the likeliest first."""
        levels = [self._of_level(level, feature) for level, feature in enumerate(features)]
        boxes, logits = (torch.cat(parts) for parts in zip(*levels, strict=True))
        origins = torch.cat([torch.full_like(scores, index) for index, (_, scores) in enumerate(levels)])
        inside = clip_boxes_to_image(boxes, size_hw)
        kept = boxes.isfinite().all(dim=1) & logits.isfinite() & has_area(inside)
        inside, logits, origins = inside[kept], logits[kept], origins[kept]
        best: Tensor = inside[batched_nms(inside, logits, origins, _PROPOSAL_NMS)[:_MAX_PROPOSALS]]
        return best

    def _of_level(self, level: int, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the boxes of one level with the largest logits, and the logits."""
        logits, deltas = self.rpn_head(features)
        top = logits.argsort(descending=True, stable=True)[:_MAX_PROPOSALS]
        height, width = features.shape[-2:]
        anchors = anchor_boxes(_ANCHOR_PX << level, _FINEST_STRIDE_PX << level, (height, width), features.device)
        return apply_deltas(deltas[top], anchors[top], (1.0, 1.0, 1.0, 1.0)), logits[top]


class BoxHead(nn.Module):
    """Two fully connected layers."""

    def __init__(self, widths: Widths) -> None:
        """Make the layers, for pooled features of 7 x 7 cells."""
        super().__init__()
        self.fc1 = nn.Linear(widths.pyramid * _BOX_CELLS**2, widths.fully_connected)
        self.fc2 = nn.Linear(widths.fully_connected, widths.fully_connected)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return hidden features (R, fully_connected)."""
        return F.relu(self.fc2(F.relu(self.fc1(pooled.flatten(1)))))


class BoxPredictor(nn.Module):
    """Predicts whether a box holds an object of any class, and the deltas to a better box."""

    def __init__(self, inputs: int) -> None:
        """Make two linear layers, which read the same input."""
        super().__init__()
        self.cls_score = nn.Linear(inputs, 2)
        self.bbox_pred = nn.Linear(inputs, 4)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability (R,) of an object, and deltas (R, 4)."""
        probabilities = F.softmax(self.cls_score(hidden).float(), dim=1)
        return probabilities[:, 0], self.bbox_pred(hidden).float()


class MaskHead(nn.Module):
    """Predicts masks by four convolutions, one that doubles the size, and one that gives the mask."""

    def __init__(self, channels: int) -> None:
        """Make the layers, for pooled features of 14 x 14 cells."""
        super().__init__()
        for index in range(4):
            self.add_module(f"mask_fcn{index + 1}", nn.Conv2d(channels, channels, 3, padding=1))
        self.deconv = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.predictor = nn.Conv2d(channels, 1, 1)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return masks (J, 28, 28) in [0, 1]."""
        hidden = pooled
        for index in range(4):
            hidden = F.relu(self.get_submodule(f"mask_fcn{index + 1}")(hidden))
        logits = self.predictor(F.relu(self.deconv(hidden)))
        return logits[:, 0].float().sigmoid()


class CascadeHeads(nn.Module):
    """Refines boxes in three stages, each on the boxes of the stage before, and predicts masks of the boxes kept."""

    def __init__(self, widths: Widths) -> None:
        """Make the heads; each stage has weights of its own."""
        super().__init__()
        self.box_head = nn.ModuleList(BoxHead(widths) for _ in _STAGE_WEIGHTS)
        self.box_predictor = nn.ModuleList(BoxPredictor(widths.fully_connected) for _ in _STAGE_WEIGHTS)
        self.mask_head = MaskHead(widths.pyramid)

    def forward(
        self, features: list[Tensor], proposals: Tensor, size_hw: tuple[int, int], settings: CutlerSettings
    ) -> Detections:
        """Return the detections whose score is high enough; a score is the mean of the scores of the three stages."""
        boxes, scores = proposals, []
        for head, predictor, weights in zip(self.box_head, self.box_predictor, _STAGE_WEIGHTS, strict=True):
            boxes = clip_boxes_to_image(boxes, size_hw)
            score, deltas = predictor(head(pool(features, boxes, _BOX_CELLS)))
            boxes = apply_deltas(deltas, boxes, weights)
            scores.append(score)
        mean = torch.stack(scores).mean(dim=0)
        kept = boxes.isfinite().all(dim=1) & (mean > settings.min_score)
        boxes, mean = clip_boxes_to_image(boxes[kept], size_hw), mean[kept]
        best = batched_nms(boxes, mean, torch.zeros_like(mean), settings.box_nms)[: settings.max_detections]
        boxes, mean = boxes[best], mean[best]
        return Detections(boxes, mean, self.mask_head(pool(features, boxes, _MASK_CELLS)))
