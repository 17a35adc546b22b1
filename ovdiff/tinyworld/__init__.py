"""The embedded world: drawn scenes with exact masks, and small models of the real classes that are trained on them.

It is a fixture and a demonstration, never evidence for the paper's claims. Its models know only this world, and the
cross-attention of its diffusion model was *supervised* with the drawn masks (``training/diffusion.py``).
tests/ovdiff/models/test_weights.py tests that its weights are found.
"""

from pathlib import Path


def weights_dir() -> Path:
    """Return the folder of the embedded weights: ``stable_diffusion/``, ``clip/`` and ``dino/``."""
    return Path(__file__).parent / "weights"
