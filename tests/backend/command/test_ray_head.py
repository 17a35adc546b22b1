"""A command outlives the head of a real cluster with the embedded models, and its files are those of one process."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from backend.command import cli
from tests.backend.command.test_ray import SCENES, SEGMENT, contents, folder
from tests.fakes.waiting import eventually
from tests.ray_cluster import MortalHead

__all__ = ["folder"]


@pytest.mark.slow
def test_a_command_outlives_the_head_of_its_cluster(folder: Path, mortal_head: MortalHead) -> None:
    """The command runs in a process of its own, because this one may be connected to the tests' cluster."""
    results = ["--coco", "masks.json", "--bank", "bank"]
    assert cli.main([*SEGMENT, "--out", "one", *results]) == 1, "one of the files is no image"
    masks = Path("masks.json").read_bytes()
    command = [sys.executable, "-m", "backend.command.cli", *SEGMENT, "--out", "two", *results]
    command += ["--ray", mortal_head.start()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        starting = threading.Thread(target=_start_again, args=(mortal_head, folder / "two"))
        starting.start()
        said = process.communicate(timeout=500)[0]
        starting.join()
    assert process.returncode == 1, said
    assert contents(folder / "two") == contents(folder / "one") and Path("masks.json").read_bytes() == masks
    assert re.search(r"The head of the Ray cluster at \S+ does not answer; waiting for it until \d\d:\d\d\.", said)
    assert "is there again; its workers start anew." in said
    lost = re.search(r"lost on the way: 0 workers, 1 times all with the head; (\d+) of (\d+) calls were repeated", said)
    assert lost and int(lost[1]) <= 2 and int(lost[2]) == SCENES + 1 + int(lost[1]), said


def _start_again(head: MortalHead, out: Path) -> None:
    assert eventually(lambda: any(out.rglob("*.png")), 200)
    head.kill()
    head.start()
