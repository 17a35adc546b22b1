"""The frozen models of a process that encodes views for another one's store, such as a worker of a Ray cluster.

Tested by tests/backend/command/test_more_on_ray.py.
"""

import torch

from ovdiff.models.loaded import LoadedModels
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.training.feature_store import EncodedViews, encode_views
from ovdiff.odise.training.views import Views

_of_this_process: list[tuple[OdiseParts, Views]] = []


def start_encoder(preset: OdisePreset, device: str, views: Views, threads: int) -> None:
    """Make the models of this process; they load when the first views are encoded.

    Args:
        preset: the preset of the training.
        device: torch's name of the device.
        views: the views, by their numbers.
        threads: how many threads torch may use; with another number features differ by roundings.
    """
    torch.set_num_threads(threads)
    _of_this_process[:] = [(OdiseParts(preset, LoadedModels(device)), views)]


def encode_here(numbers: range) -> EncodedViews:
    """Return some views as they are stored.

    Raises:
        OVDiffError: an image cannot be read, a feature is too large, or the models do not load.
    """
    parts, views = _of_this_process[0]
    with parts.models.lock:
        return encode_views([views(number) for number in numbers], parts.encoder)
