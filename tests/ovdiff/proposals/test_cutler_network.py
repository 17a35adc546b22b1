"""The network's layout at full size, and each stage against what it should compute."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models import resnet50
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.ops import FeaturePyramidNetwork, box_iou
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from ovdiff.presets.part_settings import CutlerSettings
from ovdiff.proposals.boxes import anchor_boxes, apply_deltas
from ovdiff.proposals.cutler_network import CascadeHeads, CascadeMaskRcnn, FeaturePyramid, Widths
from tests.fakes.cutler import NARROW, seeded_cutler

SHAPES = {  # D.3
    "backbone.bottom_up.stem.conv1.weight": (64, 3, 7, 7),
    "backbone.bottom_up.stem.conv1.norm.running_var": (64,),
    "backbone.bottom_up.res2.0.shortcut.weight": (256, 64, 1, 1),
    "backbone.bottom_up.res3.3.conv2.norm.num_batches_tracked": (),
    "backbone.bottom_up.res5.2.conv3.weight": (2048, 512, 1, 1),
    "backbone.fpn_lateral5.weight": (256, 2048, 1, 1),
    "backbone.fpn_output2.norm.bias": (256,),
    "proposal_generator.rpn_head.conv.weight": (256, 256, 3, 3),
    "proposal_generator.rpn_head.objectness_logits.weight": (3, 256, 1, 1),
    "proposal_generator.rpn_head.anchor_deltas.weight": (12, 256, 1, 1),
    "roi_heads.box_head.0.fc1.weight": (1024, 12544),
    "roi_heads.box_head.2.fc2.weight": (1024, 1024),
    "roi_heads.box_predictor.1.cls_score.weight": (2, 1024),
    "roi_heads.box_predictor.2.bbox_pred.weight": (4, 1024),
    "roi_heads.mask_head.mask_fcn4.bias": (256,),
    "roi_heads.mask_head.deconv.weight": (256, 256, 2, 2),
    "roi_heads.mask_head.predictor.weight": (1, 256, 1, 1),
}


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def test_full_size_is_the_released_checkpoint_s() -> None:
    with torch.device("meta"):
        network = CascadeMaskRcnn()
    entries = network.state_dict()
    assert len(entries) == 408
    assert round(sum(value.numel() for value in network.parameters()) / 1e6, 2) == 71.78
    assert {name: tuple(entries[name].shape) for name in SHAPES} == SHAPES


def _as_torchvision(name: str) -> str:
    """Translate a name of the backbone."""
    name = name.replace("bottom_up.stem.", "body.").replace("bottom_up.res", "body.res")
    for stage in range(2, 6):
        name = name.replace(f"body.res{stage}.", f"body.layer{stage - 1}.")
        for kind, block in (("lateral", "inner_blocks"), ("output", "layer_blocks")):
            name = name.replace(f"fpn_{kind}{stage}.norm.", f"fpn.{block}.{stage - 2}.1.")
            name = name.replace(f"fpn_{kind}{stage}.", f"fpn.{block}.{stage - 2}.0.")
    name = name.replace(".shortcut.norm.", ".downsample.1.").replace(".shortcut.", ".downsample.0.")
    for index in (1, 2, 3):
        name = name.replace(f"conv{index}.norm.", f"bn{index}.")
    return name


def test_the_backbone_is_torchvision_s() -> None:
    ours = seeded_cutler(Widths()).backbone
    body = IntermediateLayerGetter(resnet50(), {f"layer{index}": f"p{index + 1}" for index in range(1, 5)})
    pyramid = FeaturePyramidNetwork([256, 512, 1024, 2048], 256, LastLevelMaxPool(), torch.nn.BatchNorm2d)
    theirs = torch.nn.ModuleDict({"body": body, "fpn": pyramid}).eval()
    theirs.load_state_dict({_as_torchvision(name): value for name, value in ours.state_dict().items()})
    pixels = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    expected = list(theirs["fpn"](theirs["body"](pixels)).values())
    found = ours(pixels)
    assert len(found) == 5
    for level, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.shape == (1, 256, *((64 >> level + 2, 96 >> level + 2) if level < 4 else (1, 2)))
        scale = float(other.abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4 * scale)


def _slow_nms(boxes: Tensor, scores: Tensor, limit: float) -> list[int]:
    overlaps, kept = box_iou(boxes, boxes), list[int]()
    for index in scores.argsort(descending=True, stable=True).tolist():
        if all(overlaps[index, other] <= limit for other in kept):
            kept.append(index)
    return kept


def test_proposals_are_the_best_of_each_level_without_their_doubles() -> None:
    generator = seeded_cutler().proposal_generator
    random = torch.Generator().manual_seed(1)
    features = [torch.randn(1, NARROW.pyramid, max(1, 16 >> i), max(1, 16 >> i), generator=random) for i in range(5)]
    size_hw = (50, 60)  # of 64 x 64: the rest is padding
    candidates = []
    for level, feature in enumerate(features):
        logits, deltas = generator.rpn_head(feature)
        anchors = anchor_boxes(32 << level, 4 << level, tuple(feature.shape[-2:]), feature.device)  # type: ignore[arg-type]
        boxes = apply_deltas(deltas, anchors, (1, 1, 1, 1))
        boxes = torch.minimum(boxes.clamp(min=0), torch.tensor([60.0, 50, 60, 50]))
        solid = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
        boxes, logits = boxes[solid], logits[solid]
        candidates += [(float(logits[index]), boxes[index]) for index in _slow_nms(boxes, logits, 0.65)]
    expected = torch.stack([box for _, box in sorted(candidates, key=lambda entry: -entry[0])])
    torch.testing.assert_close(generator(features, size_hw), expected[:1000])


def test_logits_and_deltas_are_in_the_order_of_the_anchors() -> None:
    head = seeded_cutler().proposal_generator.rpn_head
    features = torch.randn(1, NARROW.pyramid, 3, 5, generator=torch.Generator().manual_seed(0))
    logits, deltas = head(features)
    hidden = torch.relu(head.conv(features))
    row, column, aspect = 2, 3, 1
    index = (row * 5 + column) * 3 + aspect
    assert logits[index] == head.objectness_logits(hidden)[0, aspect, row, column]
    torch.testing.assert_close(deltas[index], head.anchor_deltas(hidden)[0, 4 * aspect : 4 * aspect + 4, row, column])


def _planted_heads(object_logits: tuple[float, float, float]) -> CascadeHeads:
    """Heads that say the same of every box: an object by this much, and shift it right by 3, 2, 1 deltas."""
    heads = seeded_cutler().roi_heads
    for predictor, logit, delta in zip(heads.box_predictor, object_logits, (3.0, 2.0, 1.0), strict=True):
        for layer in (predictor.cls_score, predictor.bbox_pred):
            layer.weight.zero_()
            layer.bias.zero_()
        predictor.cls_score.bias[0] = logit  # logit 0 is "object"
        predictor.bbox_pred.bias[0] = delta
    return heads


def _features() -> list[Tensor]:
    return [torch.zeros(1, NARROW.pyramid, 64 >> level, 64 >> level) for level in range(4)]


def test_a_score_is_the_mean_of_three_and_each_stage_starts_from_the_one_before() -> None:
    heads = _planted_heads((2.0, 0.0, -1.0))
    found = heads(_features(), torch.tensor([[10.0, 20, 30, 40]]), (200, 200), CutlerSettings(min_score=0.1))
    expected = np.mean([1 / (1 + np.exp(-logit)) for logit in (2.0, 0.0, -1.0)])
    np.testing.assert_allclose(found.scores.numpy(), [expected], rtol=1e-6)
    shift = 20 * (3 / 10 + 2 / 20 + 1 / 30)  # in widths, by the stages' weights
    np.testing.assert_allclose(found.boxes.numpy(), [[10 + shift, 20, 30 + shift, 40]], rtol=1e-5)


def test_detections_are_certain_apart_and_not_too_many() -> None:
    heads = _planted_heads((1.0, 1.0, 1.0))
    proposals = torch.tensor([[10.0, 20, 30, 40], [10, 20, 31, 40], [100, 20, 130, 40], [60, 80, 90, 99]])
    found = heads(_features(), proposals, (200, 200), CutlerSettings(min_score=0.1))
    assert len(found.boxes) == 3  # the second is the first's double
    few = heads(_features(), proposals, (200, 200), CutlerSettings(min_score=0.1, max_detections=2))
    assert len(few.boxes) == len(few.scores) == len(few.masks) == 2
    both = heads(_features(), proposals, (200, 200), CutlerSettings(min_score=0.1, box_nms=1.0))
    assert len(both.boxes) == 4


def test_nothing_certain_is_no_detection() -> None:
    heads = _planted_heads((-1.0, -1.0, -1.0))
    found = heads(_features(), torch.tensor([[10.0, 20, 30, 40]]), (200, 200), CutlerSettings(min_score=0.5))
    assert [tuple(part.shape) for part in found] == [(0, 4), (0,), (0, 28, 28)]


def test_boxes_that_are_no_numbers_are_left_out() -> None:
    heads = _planted_heads((1.0, 1.0, 1.0))
    heads.box_predictor[2].bbox_pred.bias[1] = float("nan")
    found = heads(_features(), torch.tensor([[10.0, 20, 30, 40]]), (200, 200), CutlerSettings(min_score=0.1))
    assert len(found.boxes) == 0


def test_the_last_boxes_stay_inside_the_image() -> None:
    heads = _planted_heads((1.0, 1.0, 1.0))
    found = heads(_features(), torch.tensor([[170.0, 20, 199, 40]]), (200, 190), CutlerSettings(min_score=0.1))
    assert found.boxes[0, 2] == 190


def test_pyramid_levels_halve() -> None:
    pyramid = FeaturePyramid(NARROW).eval()
    sizes = [tuple(features.shape[-2:]) for features in pyramid(torch.zeros(1, 3, 96, 160))]
    assert sizes == [(24, 40), (12, 20), (6, 10), (3, 5), (2, 3)]
