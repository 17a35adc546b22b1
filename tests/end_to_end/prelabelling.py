"""`ovdiff prelabel` in this process, with the settings of a running backend; and what Label Studio has of it."""

import json
from typing import Any

import pytest

from backend.command import cli
from backend.demo.api import LabelStudioApi
from backend.demo.backend_server import BackendServer, command_environment
from backend.demo.label_studio import LabelStudio

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


def versions(api: LabelStudioApi, project: int) -> dict[int, list[str]]:
    """Return the versions of the predictions that each task has, oldest first."""
    return {task.id: [str(each["model_version"]) for each in api.predictions(task.id)] for task in api.tasks(project)}
