"""Stages of the Dockerfile without Docker: empty Debian systems in folders, entered by chroot, as root.

COPY takes what .dockerignore lets through. What a step mounts is gone with it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASES = {"python:3.11-slim": "bookworm", "python:3.13-slim": "trixie"}
"""The Debian whose own Python is of the version of a base image. (The image of 3.11 is a Debian trixie by now.)"""
PYTHON_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
MOUNTED = ("/proc", "/dev", "/etc/ssl/certs")
APART = ("unshare", "--mount", "--propagation", "private")
"""In a mount namespace of its own: what is mounted there is nowhere else, and gone when the command ends."""
PASSED_ON = re.compile(r"(pip|uv|ssl|requests|curl)_.*|(https?|no|all)_proxy", re.IGNORECASE)
"""The variables of this machine that its package clients need; Docker would be given them by its own settings."""


class RehearsalError(Exception):
    """A step of the Dockerfile failed, or is of a kind that is not known here."""


@dataclass
class Stage:
    """A stage of the Dockerfile while its steps are run.

    Attributes:
        root: the stage's file system.
        environment: what ENV has set.
        arguments: what ARG has declared, with its values.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "root"
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    @property
    def variables(self) -> dict[str, str]:
        """What RUN sees and what steps may name."""
        return {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", **self.arguments, **self.environment}


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Yield the steps of a Dockerfile: the instruction, and the rest of its line with continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        yield instruction.upper(), rest.strip()


def filled(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with its ``${NAME}`` and ``$NAME`` filled in, as Docker does outside of RUN."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: variables.get(found[1], ""), text)


class Rehearsal:
    """Runs the steps of a Dockerfile; each stage once."""

    def __init__(
        self, context: Path, runs: Path, build_arguments: Mapping[str, str], *, is_built: bool = False
    ) -> None:
        """Use a build context, and a folder for the stages' file systems.

        With ``is_built`` they are there already, and no step changes them: RUN and COPY are left out.
        """
        self._context, self._runs, self._given, self._is_built = context, runs, build_arguments, is_built
        self._stages: dict[str, Stage] = {}
        self._steps = list(steps((context / "Dockerfile").read_text()))

    def build(self, name: str) -> Stage:
        """Run a stage's steps, and before them those of the stages that it begins with or copies from.

        Raises:
            RehearsalError: there is no such stage, or a step failed.
        """
        if name in self._stages:
            return self._stages[name]
        globals_, parent, mine = self._of(name)
        stage = self._begin(name, filled(parent, globals_))
        for instruction, rest in mine:
            if self._is_built and instruction in ("RUN", "COPY"):
                continue
            if not self._is_built:
                sys.stderr.write(f"[{name}] {instruction} {rest}\n")
            self._take(stage, instruction, rest)
        self._stages[name] = stage
        return stage

    def _of(self, name: str) -> tuple[dict[str, str], str, list[tuple[str, str]]]:
        globals_: dict[str, str] = {}
        for index, (instruction, rest) in enumerate(self._steps):
            if instruction == "ARG" and not any(word == "FROM" for word, _ in self._steps[:index]):
                key, _, value = rest.partition("=")
                globals_[key] = self._given.get(key, value)
            if instruction == "FROM" and rest.split()[-1] == name:
                ends = [i for i, step in enumerate(self._steps) if i > index and step[0] == "FROM"]
                return globals_, rest.split()[0], self._steps[index + 1 : ends[0] if ends else None]
        raise RehearsalError(f"The Dockerfile has no stage {name!r}.")

    def _begin(self, name: str, parent: str) -> Stage:
        begun = None if parent in BASES else self.build(parent)
        root = self._runs / name
        if not self._is_built:
            removed(root)
            copy_tree(debian(self._runs, BASES[parent]) if begun is None else begun.root, root)
        if begun is None:
            return Stage(root)
        return Stage(root, dict(begun.environment), {}, begun.folder, begun.user, begun.command, begun.health)

    def _take(self, stage: Stage, instruction: str, rest: str) -> None:
        words = filled(rest, stage.variables)
        match instruction:
            case "RUN":
                run_inside(stage, ["sh", "-c", rest])
            case "ARG":
                key, _, value = rest.partition("=")
                stage.arguments[key] = self._given.get(key, shlex.split(value)[0] if value else "")
            case "ENV":
                stage.environment.update(pair.split("=", 1) for pair in shlex.split(words))
            case "WORKDIR":
                stage.folder = words
                inside(stage.root, words).mkdir(parents=True, exist_ok=True)
            case "USER":
                stage.user = words
            case "COPY":
                self._copy(stage, words.split())
            case "CMD":
                stage.command = json.loads(rest)
            case "HEALTHCHECK":
                stage.health = json.loads(rest[rest.index("[") :])
            case "VOLUME" | "EXPOSE":
                pass
            case _:
                raise RehearsalError(f"{instruction} is not known here; add it to {Path(__file__).name}.")

    def _copy(self, stage: Stage, words: Sequence[str]) -> None:
        sources, target = [word for word in words[:-1] if not word.startswith("--")], words[-1]
        origins = [word.removeprefix("--from=") for word in words if word.startswith("--from=")]
        origin = self.build(origins[0]).root if origins else self._context
        to = inside(stage.root, target if target.startswith("/") else f"{stage.folder}/{target}")
        for source in sources:
            path = inside(origin, source)
            if path.is_dir():
                copy_tree(path, to)
            else:
                to.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, to)


def removed(folder: Path) -> None:
    """Remove a folder with all that is in it.

    Raises:
        RehearsalError: something is mounted below it, which would be removed as well.
    """
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = [path for path in mounts if Path(path).is_relative_to(folder.resolve())]
    if below:
        raise RehearsalError(f"{below[0]} is mounted below {folder}; unmount it first, or it would be removed as well.")
    shutil.rmtree(folder, ignore_errors=True)


def inside(root: Path, path: str) -> Path:
    """Return the path in a file system whose root is ``root``."""
    return root / path.lstrip("/")


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder with owners, modes and links; where the file system can, blocks are shared."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--archive", "--reflink=auto", f"{source}/.", str(target)], check=True)


def debian(runs: Path, suite: str, packages: str = PYTHON_PACKAGES, name: str = "debian") -> Path:
    """Return an empty Debian with some packages, made once; where Python is one, `python` and `pip` are as in Docker's.

    Args:
        runs: the folder for file systems.
        suite: which Debian, such as ``bookworm``.
        packages: names of packages, with commas.
        name: the file system's name; the suite is put behind it.
    """
    root = runs / f"{name}-{suite}"
    if not (root / "ready").exists():
        removed(root)
        runs.mkdir(parents=True, exist_ok=True)
        make = ["debootstrap", "--variant=minbase", f"--include={packages}", suite, str(root)]
        subprocess.run([*APART, *make], check=True, stdout=sys.stderr)
        if (root / "usr/bin/python3").exists() and not (root / "usr/bin/python").exists():
            (root / "usr/bin/python").symlink_to("python3")
        for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        (root / "ready").touch()
    return root


def command_inside(stage: Stage, command: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the command line that runs a command in a stage as its user, and its environment.

    The command has a namespace of its own, with the kernel's folders and this machine's certificates mounted into the
    stage: they are gone with the command, however it ends, so that nothing of this machine is below a stage's folder.
    """
    passed_on = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    root = shlex.quote(str(stage.root))
    mounts = [f"mount --rbind {path} {root}{path}" for path in MOUNTED if Path(path).is_dir()]
    enter = f"chroot --userspec={stage.user}:{stage.user} {root}"
    within = f"cd {shlex.quote(stage.folder)} && exec {shlex.join(command)}"
    script = " && ".join([*mounts, f"exec {enter} sh -c {shlex.quote(within)}"])
    for path in MOUNTED:
        inside(stage.root, path).mkdir(parents=True, exist_ok=True)
    inside(stage.root, "/etc").mkdir(exist_ok=True)
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", inside(stage.root, f"/etc/{name}"))
    return [*APART, "sh", "-c", script], {"HOME": "/tmp", **passed_on, **stage.variables}


def run_inside(stage: Stage, command: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in a stage.

    Raises:
        RehearsalError: it failed, and ``check`` says that it must not.
    """
    line, environment = command_inside(stage, command)
    done = subprocess.run(line, env=environment, text=True, capture_output=True, check=False)
    if check and done.returncode:
        raise RehearsalError(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def context_of(wheels: Path | None, runs: Path) -> Path:
    """Return the build context: what .dockerignore lets through, of what git knows or would know.

    With ``wheels``, the lock asks for the torch that is among them, and for no torchvision.
    """
    context = runs / "context"
    removed(context)
    context.mkdir(parents=True)
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *allowed, "Dockerfile"]
    for name in subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, context / name)
    if wheels is not None:
        versions = [path.name.split("-")[1] for path in wheels.glob("torch-*.whl")]
        lock = context / "requirements.lock"
        pinned = re.sub(r"(?m)^torch==.*$", f"torch=={versions[0]}", lock.read_text())
        lock.write_text(re.sub(r"(?m)^(torchvision|nvidia-[\w-]+|triton|cuda-[\w-]+)==.*\n", "", pinned))
    return context
