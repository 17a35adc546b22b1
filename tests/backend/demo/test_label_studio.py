import io
import json
import os
import stat
from pathlib import Path

import pytest

from backend.demo import label_studio
from backend.demo.console import Console
from backend.demo.errors import ServerError
from backend.demo.processes import ProcessGroups

_CONSOLE = Console(io.StringIO())


def _install(environment: Path, script: str) -> Path:
    """Make something that looks like an environment with Label Studio in it."""
    (environment / "lib/python3.11/site-packages/label_studio-1.2.3.dist-info").mkdir(parents=True)
    executable = environment / "bin/label-studio"
    executable.parent.mkdir()
    executable.write_text(f"#!/bin/sh\n{script}\n")
    executable.chmod(0o755)
    return executable


def test_the_version_is_read_without_running_anything(tmp_path: Path) -> None:
    assert label_studio.installed_version(_install(tmp_path, "exit 1")) == "1.2.3"


def test_another_program_is_not_taken_for_label_studio(tmp_path: Path) -> None:
    program = tmp_path / "bin/label-studio"
    program.parent.mkdir()
    program.touch()
    with pytest.raises(ServerError, match="not an installed Label Studio"):
        label_studio.installed_version(program)


def test_a_failed_first_start_shows_the_log_and_leaves_no_template(tmp_path: Path) -> None:
    executable = _install(tmp_path / "env", "echo cannot migrate; exit 7")
    with (
        ProcessGroups() as groups,
        pytest.raises(ServerError, match=r"(?s)exited with status 7.*cannot migrate"),
    ):
        label_studio.ensure_template(executable, tmp_path / "cache", groups, _CONSOLE)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_made_template_is_used_again(tmp_path: Path) -> None:
    executable = _install(tmp_path / "env", "exit 1")
    template = tmp_path / "cache/label-studio-1.2.3"
    template.mkdir(parents=True)
    with ProcessGroups() as groups:
        assert label_studio.ensure_template(executable, tmp_path / "cache", groups, _CONSOLE) == template


def test_a_data_folder_is_copied_once(tmp_path: Path) -> None:
    template, data_dir = tmp_path / "template", tmp_path / "data"
    template.mkdir()
    (template / "database").write_text("empty")
    label_studio.ensure_data_dir(template, data_dir)
    (data_dir / "database").write_text("work")
    label_studio.ensure_data_dir(template, data_dir)
    assert (data_dir / "database").read_text() == "work"
    assert (template / "database").read_text() == "empty"


def test_what_a_killed_run_of_the_same_process_number_left_is_not_taken_for_a_data_folder(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.mkdir()
    (template / "database").write_text("empty")
    (tmp_path / f"data.{os.getpid()}").mkdir()  # in a container every run may have this number
    label_studio.ensure_data_dir(template, tmp_path / "data")
    assert (tmp_path / "data" / "database").read_text() == "empty"


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        label_studio.ensure_data_dir(tmp_path / "nowhere", tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_is_as_private_as_its_template(tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.mkdir(mode=0o700)
    label_studio.ensure_data_dir(template, tmp_path / "data")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_the_login_is_for_its_owner_alone(tmp_path: Path) -> None:
    label_studio._write_login(tmp_path, label_studio.Login("a@example.com", "pass", "token"))
    assert stat.S_IMODE((tmp_path / "login.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [None, "not JSON", json.dumps({"email": "a@example.com"})])
def test_a_folder_without_a_login_says_what_to_do(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "login.json").write_text(content)
    with ProcessGroups() as groups, pytest.raises(ServerError, match=r"does not hold the login.*Remove"):
        label_studio.start(Path("label-studio"), tmp_path, groups, _CONSOLE)
