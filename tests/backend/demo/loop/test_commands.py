import sys
from pathlib import Path

import pytest

from backend.demo.errors import ServerError
from backend.demo.loop.commands import run_command


def test_a_command_runs_to_its_end(tmp_path: Path) -> None:
    script = f"import pathlib; pathlib.Path({str(tmp_path / 'done')!r}).touch()"
    run_command([sys.executable, "-c", script], {}, tmp_path / "log")
    assert (tmp_path / "done").exists()


def test_a_command_that_fails_says_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"(?s)exited with status 3.*no such dish"):
        run_command([sys.executable, "-c", "print('no such dish', flush=True); exit(3)"], {}, tmp_path / "log")
