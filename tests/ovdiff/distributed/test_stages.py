"""Work in three steps."""

import pickle

from ovdiff.distributed.stages import Stages


def test_the_steps_run_one_after_another() -> None:
    stages = Stages(int, bin, len)
    assert stages("5") == len("0b101")
    assert pickle.loads(pickle.dumps(stages))("5") == 5
