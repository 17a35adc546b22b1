"""A batch of windows that does not fit into the device's memory is halved before an error is raised."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.errors import DeviceMemoryError
from ovdiff.odise.captioner import ImplicitCaptioner
from ovdiff.odise.encoding import WindowEncoder
from ovdiff.odise.engine import OdiseEngine
from ovdiff.odise.head_file import HeadCard, architecture, write_head
from ovdiff.odise.parts import OdiseParts


class SmallMemory:
    """Encodes as the real encoder does, but has room for so many windows at once."""

    def __init__(self, encoder: WindowEncoder, room: int) -> None:
        self.taps, self.asked = encoder.taps, list[int]()
        self._encoder, self._room = encoder, room

    def encode(self, windows: NDArray[np.uint8], captioner: ImplicitCaptioner | None) -> list[Tensor]:
        self.asked.append(len(windows))
        if len(windows) > self._room:
            raise torch.OutOfMemoryError("fake")
        return self._encoder.encode(windows, captioner)


@pytest.fixture(scope="module")
def sliding(odise_parts: OdiseParts, tmp_path_factory: pytest.TempPathFactory) -> OdiseParts:
    """The same weights for a preset that cuts images of 128 px into four windows."""
    folder, before = tmp_path_factory.mktemp("sliding"), odise_parts.preset
    preset = replace(
        before,
        models=replace(before.models, head=replace(before.models.head, source=str(folder))),
        taps=replace(before.taps, windows="sliding", window_px=64, short_side_px=128, batch_size=4),
    )
    head, card = odise_parts.head
    write_head(folder, head.state_dict(), HeadCard(card.labels, architecture(preset), {}))
    return OdiseParts(preset, odise_parts.models)


def engine(parts: OdiseParts, room: int) -> tuple[OdiseEngine, SmallMemory]:
    made = OdiseEngine(parts.preset, models=parts.models)
    memory = SmallMemory(made._parts.encoder, room)
    made._parts.__dict__["encoder"] = memory
    return made, memory


def test_a_batch_that_does_not_fit_is_halved(sliding: OdiseParts) -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    roomy, all_at_once = engine(sliding, 4)
    small, halves = engine(sliding, 1)
    expected, found = roomy.encode(image), small.encode(image)
    assert all_at_once.asked == [4] and halves.asked == [4, 2, 1, 1, 2, 1, 1]
    assert torch.allclose(found.logits, expected.logits, atol=1e-4)


def test_one_window_that_does_not_fit_is_an_error(sliding: OdiseParts) -> None:
    none, _ = engine(sliding, 0)
    with pytest.raises(DeviceMemoryError, match="encoding a window of an image, even one at a time"):
        none.encode(np.zeros((128, 128, 3), np.uint8))
