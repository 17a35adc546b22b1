"""The small random-weight models of the method's own tests, and the device."""

import pytest
import torch

from tests.ovdiff.conftest import image, models, preset, weights_folder  # noqa: F401 - fixtures
from tests.ovdiff.odise.conftest import odise_engine, odise_parts, odise_preset, windows  # noqa: F401 - fixtures


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    return str(request.param)
