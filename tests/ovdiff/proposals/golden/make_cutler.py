"""Make cutler.npz: what the narrow CutLER finds in its picture. Takes a second.

python -m tests.ovdiff.proposals.golden.make_cutler
"""

from pathlib import Path

import numpy as np

from ovdiff.proposals.cutler import Cutler
from tests.fakes.cutler import SETTINGS, picture, seeded_cutler

FILE = Path(__file__).with_name("cutler.npz")


def main() -> None:
    cutler = Cutler(seeded_cutler(), SETTINGS)
    boxes, scores, _ = cutler.detect(picture())
    masks = cutler.propose(picture())
    np.savez_compressed(FILE, boxes=boxes.numpy(), scores=scores.numpy(), masks=np.packbits(masks, axis=-1))


if __name__ == "__main__":
    main()
