"""Train all models: ``python -m ovdiff.tinyworld.training RUNS``, which ``make tinyworld`` calls.

An interrupted run continues where it stopped. The trainers are tested by
tests/ovdiff/tinyworld/training/test_training.py.
"""

import logging
import sys
from pathlib import Path

from ovdiff.extras import naming_the_extra
from ovdiff.tinyworld import weights_dir

with naming_the_extra("Training"):
    from ovdiff.tinyworld.training import autoencoder, clip, data, diffusion, dino, export

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    runs = Path(sys.argv[1])
    if not (runs / "seen.json").exists():
        data.main(runs)
    for trainer in (autoencoder, diffusion, clip, dino):
        trainer.main(runs)
    export.main(runs, weights_dir())
