"""`ovdiff prelabel` in this process, with the settings of a running backend; and what Label Studio has of it."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.command import cli
from backend.demo.api import LabelStudioApi
from backend.demo.backend_server import BackendServer, command_environment
from backend.demo.label_studio import LabelStudio

ROOT = Path(__file__).parents[2]
_SET = ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "OVDIFF_DATA_DIR", "OVDIFF_DELETE_REPLACED_AFTER_S")


def use_settings_of(
    backend: BackendServer, label_studio: LabelStudio, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Set what `prelabel` reads, and return the environment for a process of its own; replaced ones go out at once."""
    found = command_environment(backend.folder, label_studio) | {"OVDIFF_DELETE_REPLACED_AFTER_S": "0"}
    for name in _SET:
        monkeypatch.setenv(name, found[name])
    return found


def prelabel(project: int, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Run `ovdiff prelabel --json` and return what it printed."""
    capsys.readouterr()
    status = cli.main(["prelabel", "--project", str(project), "--json", *words])
    said = capsys.readouterr()
    assert status == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return found


_KILLED = """
import os, signal, sys
from backend.command import cli
from backend.serving.prelabelling import storing

store, batches = storing.Storing._store, []

def store_and_end_at_the_second(self, batch):
    there = store(self, batch)
    batches.append(batch)
    if len(batches) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return there

storing.MOST_PREDICTIONS, storing.MOST_SECONDS, storing.Storing._store = 2, 3600.0, store_and_end_at_the_second
cli.main(["prelabel", "--project", sys.argv[1]])
"""


def kill_a_run(project: int, environment: dict[str, str]) -> None:
    """Run `ovdiff prelabel` until it is killed: it has replaced two predictions, and two more are stored.

    It is killed by itself, because whoever watched it on a busy machine would see it too late.
    """
    command = [sys.executable, "-c", _KILLED, str(project)]
    run = subprocess.run(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr


def versions(api: LabelStudioApi, project: int) -> dict[int, list[str]]:
    """Return the versions of the predictions that each task has, oldest first."""
    return {task.id: [str(each["model_version"]) for each in api.predictions(task.id)] for task in api.tasks(project)}
