"""CLIP ViT-B/16's topology at an eighth of the width, with random weights, as both libraries load it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SHRINK = 8


def shaken(model: Any, deviation: float = 0.15) -> Any:
    """Give every weight a random value; biases and norms are zeros and ones at first, which would hide mistakes."""
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * deviation)
    return model


@pytest.fixture(scope="session")
def clip_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One model, saved in the files of each library."""
    import torch

    from benchmarks import architectures as real
    from tests.ovdiff.models.test_clip import to_open_clip

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("baselines")
    model = real.build_clip(shrink=SHRINK)
    shaken(model)
    model.save_pretrained(folder / "transformers")
    real.build_tokenizer().save_pretrained(folder / "transformers")
    fused = real.build_open_clip(shrink=SHRINK)
    fused.load_state_dict(to_open_clip(model), strict=False)
    real.save_open_clip(fused, folder / "open_clip", SHRINK)
    return {name: folder / name for name in ("transformers", "open_clip")}


@pytest.fixture
def photographs() -> NDArray[np.uint8]:
    """Two images of 48 x 64 px: 3 x 4 patches."""
    return np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
