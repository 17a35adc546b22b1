"""What lessons say of an encoded image competes with the votes of the prototypes."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.lessons.model import LOWEST, LessonModel
from ovdiff.segmenting.matching import ScoreMaps
from ovdiff.segmenting.part_check import redecide
from ovdiff.segmenting.segmenter import ScoreMerger


def with_lessons(encoded: EncodedImage, maps: ScoreMaps, model: LessonModel, device: torch.device) -> ScoreMaps:
    """Return score maps in which what lessons say competes with the votes of the prototypes.

    Args:
        encoded: the encoded image.
        maps: the votes of the prototypes.
        model: what the lessons say.
        device: the device that computes the score maps.
    """
    rows = competing_rows(maps.labels, model)
    if not rows:
        return maps
    group_of_row = torch.from_numpy(model.groups.of_label[list(maps.labels)])
    shares = log_shares(encoded, model, device)
    bonus = shares[group_of_row[rows].to(shares.device)]
    return ScoreMaps(redecide(maps.scores, rows, bonus, 1 / model.weight), maps.labels)


def competing_rows(labels: Sequence[int], model: LessonModel) -> list[int]:
    """Return the rows of score maps with these labels whose groups lessons know; none if they are of one group."""
    if not model.discriminants:
        return []
    group_of_row = torch.from_numpy(model.groups.of_label[list(labels)])
    shown = torch.stack([model.groups.best(each.shown) for each in model.discriminants.values()])
    shown = shown.all(dim=0)[group_of_row]
    rows: list[int] = shown.nonzero()[:, 0].tolist()
    return rows if len({int(group_of_row[row]) for row in rows}) > 1 else []


@torch.inference_mode()
def log_shares(encoded: EncodedImage, model: LessonModel, device: torch.device) -> Tensor:
    """Return l, the mean log share (G, h, w) of each group at each pixel of the working image, in nats, on a device.

    The groups are background, things and each kind of stuff; what is behind counts as background.
    """
    merger = ScoreMerger(model.groups.count, (encoded.working.shape[0], encoded.working.shape[1]), device)
    for name, discriminant in model.discriminants.items():
        moved = replace(
            discriminant,
            directions=discriminant.directions.to(device),
            offsets=discriminant.offsets.to(device),
            shown=discriminant.shown.to(device),
        )
        for batch in encoded.features[name]:
            for window, features in zip(batch.windows, batch.features, strict=True):
                rows = F.normalize(features.to(device).float().permute(1, 2, 0), dim=-1)
                found = model.groups.best(moved.log_shares(rows).clamp(min=-LOWEST).permute(2, 0, 1))
                merger.add(found[None] / LOWEST, [window])  # The merger keeps values in [-1, 1].
    return merger.mean() * LOWEST
