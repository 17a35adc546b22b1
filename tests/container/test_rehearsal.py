import os
import subprocess
from pathlib import Path

import pytest

from tests.container.rehearsal import PROMISED, PROMISED_OF, wrong
from tests.container.stages import (
    ROOT,
    Rehearsal,
    RehearsalError,
    Stage,
    command_inside,
    context_of,
    filled,
    removed,
    steps,
)

FOUND = {**PROMISED, "CUDA's files": 0, "regions": 2}


def test_steps_are_joined_over_lines_and_comments() -> None:
    text = '# one\nARG A=1\n\nRUN one \\\n# between\n    two\nCMD ["x"]\n'
    assert list(steps(text)) == [("ARG", "A=1"), ("RUN", "one      two"), ("CMD", '["x"]')]


def test_variables_are_filled_in() -> None:
    assert filled("python:${PYTHON}-slim $A/$B", {"PYTHON": "3.11", "A": "x"}) == "python:3.11-slim x/"


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Every step is taken but RUN, which is written down, and the base is an empty folder."""
    ran: list[tuple[str, list[str]]] = []
    monkeypatch.setattr("tests.container.stages.debian", lambda runs, suite: tmp_path / "base")
    monkeypatch.setattr(
        "tests.container.stages.run_inside", lambda stage, command: ran.append((stage.user, [*command]))
    )
    (tmp_path / "base" / "opt" / "ovdiff").mkdir(parents=True)
    return ran


def test_a_stage_takes_the_steps_of_those_that_it_begins_with_and_copies_from(
    tmp_path: Path, recorded: list[tuple[str, list[str]]]
) -> None:
    context = context_of(None, tmp_path / "runs")
    stage = Rehearsal(context, tmp_path / "runs", {"EXTRAS": "cpu"}).build("cpu")
    assert stage.user == "1000" and stage.command == ["/opt/ovdiff/bin/ovdiff", "serve"]
    assert stage.health[0] == "/opt/ovdiff/bin/python" and stage.environment["OVDIFF_PORT"] == "9090"
    assert stage.environment["PATH"].startswith("/opt/ovdiff/bin:/usr/local/bin")
    commands = [command[-1].split()[:2] for _, command in recorded]
    assert commands == [["useradd", "--create-home"], ["pip", "install"], ["uv", "venv"], ["uv", "pip"]]
    assert (tmp_path / "runs" / "source" / "source" / "ovdiff" / "errors.py").is_file()


def test_the_context_is_what_docker_would_send(tmp_path: Path) -> None:
    context = context_of(None, tmp_path)
    assert {path.name for path in context.iterdir()} == {
        "Dockerfile", "LICENSE", "README.md", "backend", "converters", "ovdiff", "pyproject.toml", "requirements.lock",
    }  # fmt: skip
    assert not list(context.rglob("__pycache__"))
    assert (context / "requirements.lock").read_text() == (ROOT / "requirements.lock").read_text()


def test_a_wheel_of_torch_takes_the_place_of_the_locks(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "torch-9.9.0+cpu-cp311-none-any.whl").touch()
    lock = (context_of(tmp_path / "wheels", tmp_path / "runs") / "requirements.lock").read_text().splitlines()
    assert "torch==9.9.0+cpu" in lock and not [line for line in lock if line.startswith(("nvidia-", "torchvision=="))]
    assert "torchmetrics" in "".join(lock)


def test_a_stage_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:3.11-slim AS one\nONBUILD RUN x\n")
    with pytest.raises(RehearsalError, match="no stage 'two'"):
        Rehearsal(tmp_path, tmp_path, {}).build("two")


def test_a_step_that_is_not_known_is_named(tmp_path: Path) -> None:
    rehearsal = Rehearsal.__new__(Rehearsal)
    with pytest.raises(RehearsalError, match="ONBUILD is not known here"):
        rehearsal._take(Stage(tmp_path), "ONBUILD", "RUN x")


def test_what_is_built_is_described_without_a_step(tmp_path: Path, recorded: list[tuple[str, list[str]]]) -> None:
    stage = Rehearsal(ROOT, tmp_path / "runs", {}, is_built=True).build("cuda")
    assert (stage.user, stage.environment["OVDIFF_DEVICE"]) == ("1000", "cuda")
    assert stage.root == tmp_path / "runs" / "cuda" and not (tmp_path / "runs").exists() and not recorded


@pytest.mark.parametrize(
    ("name", "value"), [("user", "0"), ("CUDA's files", 3), ("without a password", 200), ("regions", 0)]
)
def test_what_is_not_as_promised_is_named(name: str, value: object) -> None:
    assert wrong("cpu", FOUND) == []
    assert wrong("cpu", FOUND | {name: value}) == [name]
    cuda = FOUND | PROMISED_OF["cuda"] | {"CUDA's files": 5}
    assert wrong("cuda", cuda) == []
    assert wrong("cuda", cuda | {"doctor without a GPU": "ok"}) == ["doctor without a GPU"]


def test_what_is_mounted_below_a_folder_is_not_removed_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stage" / "dev").mkdir(parents=True)
    mounts = f"1 2 0:6 / /proc rw - proc proc rw\n29 27 0:6 / {tmp_path}/stage/dev rw - devtmpfs devtmpfs rw\n"
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path: mounts if path.name == "mountinfo" else read(path))
    with pytest.raises(RehearsalError, match="stage/dev is mounted below"):
        removed(tmp_path / "stage")
    assert (tmp_path / "stage" / "dev").is_dir()
    (tmp_path / "other").mkdir()
    removed(tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_what_a_step_mounts_is_gone_with_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    line, environment = command_inside(stage, ["true"])
    before = Path("/proc/self/mountinfo").read_text()
    probe = subprocess.run(
        [*line[:-1], line[-1].replace("exec chroot", f"ls {tmp_path}/proc/self && exec false chroot")],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unshare" in probe.stderr or "mount:" in probe.stderr:
        pytest.skip(f"mounting is not allowed here: {probe.stderr.strip()}")
    assert "status" in probe.stdout  # it was mounted while the step ran
    assert Path("/proc/self/mountinfo").read_text() == before and not any((tmp_path / "proc").iterdir())


def test_the_rehearsal_is_a_command() -> None:
    shown = subprocess.run(["make", "--dry-run", "container"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "-m tests.container.rehearsal cpu" in shown.stdout
