"""The services of compose.yaml as processes: each in a file system of its own, with its variables and its secrets.

The images are not to be had, so these stand in for them: for `postgres` a Debian with that PostgreSQL, and a few lines
for the image's entrypoint; for `heartexlabs/label-studio` a Debian with the packages of requirements-label-studio.lock,
and an entrypoint that only starts what it is given; for our own image what tests/container/rehearsal.py has built.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.container.stages import ROOT, Rehearsal, RehearsalError, Stage, command_inside, debian, inside, run_inside

COMPOSE: Mapping[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
BACKEND = "http://ovdiff.internal:9090"
"""By which Label Studio is to reach the backend, says compose.yaml."""
ADDRESSES = {"database": "172.28.0.2", "label-studio": "172.28.0.3", "ovdiff": "172.28.0.4"}
"""Of the private range from which Docker takes the addresses of a network."""
SUITES = {"15": "bookworm", "17": "trixie"}
"""The Debian that has a version of PostgreSQL."""
HEALTHY_WITHIN_S = 600.0
"""Label Studio's first start makes some hundred tables."""
STOPPED_WITHIN_S = 10.0
"""What Docker waits for, and then it kills."""

# Like the image's: a new folder gets a database, made by a server that listens to nothing but a socket.
_POSTGRES = """\
    #!/bin/sh
    set -eu
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
      initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --encoding=UTF8 --locale=C.UTF-8
      echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
      pg_ctl --options="-c listen_addresses=''" --wait start
      createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
      pg_ctl --mode=fast --wait stop
    fi
    exec postgres -c listen_addresses='*'
"""
_STARTS_WHAT_IT_IS_GIVEN = """\
    #!/bin/sh
    exec "$@"
"""


@dataclass
class Service:
    """A service of compose.yaml.

    Attributes:
        name: its name there, by which the others reach it.
        stage: its file system, variables, user, command and health check.
        log: where its output goes.
        stop_with: the signal that Docker sends its image.
    """

    name: str
    stage: Stage
    log: Path
    stop_with: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start the service, wait until it is healthy, and return how many seconds that took.

        Raises:
            RehearsalError: it has ended, or is not healthy in time; the message ends with its log.
        """
        begun = time.monotonic()
        line, environment = command_inside(self.stage, self.stage.command)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                line, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        while run_inside(self.stage, self.stage.health, check=False).returncode:
            waited_s = time.monotonic() - begun
            if self.process.poll() is not None or waited_s > HEALTHY_WITHIN_S:
                raise RehearsalError(f"{self.name} is not healthy after {waited_s:.0f} s:\n{self.log_tail()}")
            time.sleep(0.5)
        return round(time.monotonic() - begun, 1)

    def stop(self) -> int:
        """End the service as `docker stop` does, and return its exit status, which is negative if it was killed."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(self.stop_with)
        try:
            return self.process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            return self.process.wait()

    def log_tail(self) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])


def make_secrets(folder: Path) -> dict[str, str]:
    """Make the secrets by the very lines at the top of compose.yaml, in a folder, and return them by their names."""
    lines = [line[4:] for line in (ROOT / "compose.yaml").read_text().splitlines() if line.startswith("#   ")]
    made = [line for line in lines if not line.startswith("docker ")]
    shutil.rmtree(folder / "secrets", ignore_errors=True)
    subprocess.run(["sh", "-eu", "-c", "\n".join(made)], cwd=folder, check=True)
    return {path.name: path.read_text().strip() for path in (folder / "secrets").iterdir()}


def variables(name: str) -> dict[str, str]:
    """Return the variables of a service, with the values that compose.yaml gives where nobody set another."""
    given = COMPOSE["services"][name]["environment"]
    return {key: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for key, value in given.items()}


def postgresql_version() -> str:
    """Return the version of PostgreSQL that compose.yaml names."""
    return str(COMPOSE["services"]["database"]["image"].partition(":")[2])


def with_secrets(stage: Stage, name: str, folder: Path) -> Stage:
    """Put a service's secrets where Docker mounts them, with the modes that they have here; return the stage."""
    within = inside(stage.root, "/run/secrets")
    shutil.rmtree(within, ignore_errors=True)
    within.mkdir(parents=True)
    for secret in COMPOSE["services"][name]["secrets"]:
        shutil.copy2(folder / "secrets" / secret, within / secret)
    return stage


def emptied(stage: Stage, folder: str, user: str) -> None:
    """Give a stage an empty volume that belongs to a user, with the modes of a volume's first use."""
    shutil.rmtree(inside(stage.root, folder), ignore_errors=True)
    inside(stage.root, folder).mkdir(parents=True)
    run_inside(stage, ["chown", f"{user}:{user}", folder])


def database(runs: Path) -> Stage:
    """Return the database's file system: a Debian with the PostgreSQL of compose.yaml."""
    version = postgresql_version()
    packages = f"postgresql-{version},postgresql-client-{version}"
    stage = Stage(debian(runs, SUITES[version], packages, "database"))
    stage.environment |= variables("database")
    stage.environment["PGDATA"] = "/var/lib/postgresql/data"
    stage.environment["PATH"] = f"/usr/lib/postgresql/{version}/bin:{stage.variables['PATH']}"
    emptied(stage, stage.environment["PGDATA"], "postgres")
    emptied(stage, "/run/postgresql", "postgres")
    _write(stage, "/usr/local/bin/entrypoint", _POSTGRES)
    stage.user, stage.command = "postgres", ["/usr/local/bin/entrypoint"]
    stage.health = COMPOSE["services"]["database"]["healthcheck"]["test"][1:]
    return stage


def label_studio(runs: Path) -> Stage:
    """Return Label Studio's file system: a Debian with the packages of its lock, whose user is not root."""
    stage = Stage(debian(runs, "bookworm", name="label-studio"))
    if not inside(stage.root, "/installed").exists():
        shutil.copy(ROOT / "requirements-label-studio.lock", inside(stage.root, "/requirements.lock"))
        run_inside(stage, ["python3", "-m", "venv", "/opt/label-studio"])
        run_inside(stage, ["/opt/label-studio/bin/pip", "install", "--no-cache-dir", "-r", "/requirements.lock"])
        inside(stage.root, "/installed").touch()
    said = COMPOSE["services"]["label-studio"]
    stage.environment |= {"HOME": "/label-studio", "LABEL_STUDIO_BASE_DATA_DIR": "/label-studio/data"}
    stage.environment |= variables("label-studio") | {"PATH": f"/opt/label-studio/bin:{stage.variables['PATH']}"}
    emptied(stage, "/label-studio/data", "1001")
    _write(stage, "/label-studio/deploy/docker-entrypoint.sh", _STARTS_WHAT_IT_IS_GIVEN)
    stage.user, stage.folder = "1001", "/label-studio"
    stage.command = [part.replace("$$", "$") for part in (*said["entrypoint"], *said["command"])]
    asking = "import urllib.request as r; r.urlopen('http://localhost:8080/health', timeout=4)"
    stage.health = ["/opt/label-studio/bin/python", "-c", asking]
    return stage


def ovdiff(runs: Path, target: str = "cpu") -> Stage:
    """Return the file system of our own image, as it was rehearsed, with an empty volume.

    Raises:
        RehearsalError: it was not rehearsed yet.
    """
    if not inside(runs / target, "/opt/ovdiff/bin/ovdiff").exists():
        raise RehearsalError(f"{runs / target} holds no image. Rehearse it first: make container TARGET={target}")
    stage = Rehearsal(ROOT, runs, {}, is_built=True).build(target)
    emptied(Stage(stage.root), "/data", "1000")
    stage.environment |= variables("ovdiff") | {"OMP_NUM_THREADS": "1"}
    return stage


def services(runs: Path, folder: Path) -> dict[str, Service]:
    """Return the services of compose.yaml in the order in which they start; needs the network for what is missing."""
    made = {"database": database(runs), "label-studio": label_studio(runs), "ovdiff": ovdiff(runs)}
    stops = {"database": signal.SIGINT}
    for name in made:
        (folder / f"{name}.log").unlink(missing_ok=True)
    return {
        name: Service(name, with_secrets(stage, name, folder), folder / f"{name}.log", stops.get(name, signal.SIGTERM))
        for name, stage in made.items()
    }


def _write(stage: Stage, path: str, text: str) -> None:
    file = inside(stage.root, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))
    file.chmod(0o755)
