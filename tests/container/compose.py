"""Run what compose.yaml says where there is no Docker: its three services, and Prometheus beside them, as root.

    make container CONTAINER_FLAGS=...             # the backend's file system, once
    python -m tests.container.compose --runs runs/container

The services have a network of their own (`unshare --net`), in which their names and ports are those of compose.yaml and
nothing else can be reached, a file system each (tests/container/services.py), their users, variables, entrypoints and
health checks, and secrets made by the lines at the top of the file. A project is made, connected with the backend's
password, and predicted. Then each service is stopped and started again, then all of them; each time what was stored
must be there, and one more task is predicted. A Prometheus, configured as docs/metrics.md says, reads the backend
meanwhile: every query of grafana-dashboard.json must have an answer.

Prints what was found as JSON. The first time takes half an hour for the file systems, later ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from backend.demo.api import LabelStudioApi
from backend.demo.errors import ApiError
from backend.demo.project import DemoScene, label_config, write_images
from tests.container import prometheus
from tests.container.services import (
    ADDRESSES,
    BACKEND,
    COMPOSE,
    Service,
    make_secrets,
    postgresql_version,
    services,
    variables,
)
from tests.container.stages import RehearsalError, run_inside

APART = ("unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Apart from this machine's network, mounts and processes; whatever was started ends with the command."""
LABELS, NEW_LABEL = ("sky", "grass"), "road"
SCENES = tuple(DemoScene(index) for index in range(6))
READY_WITHIN_S = 600.0
NOTICED_WITHIN_S = 120.0
"""Several times what a build takes."""
STUDIO = "http://label-studio:8080"


class Story:
    """What a person does with the services, in order, and what is found."""

    def __init__(self, running: Mapping[str, Service], secrets: Mapping[str, str], folder: Path) -> None:
        """Use services that run, and a folder for images."""
        self._services, self._secrets = running, secrets
        self._api = LabelStudioApi(STUDIO, secrets["label_studio_token"])
        self._images = iter(write_images(SCENES, folder / "images", 128))
        self._project = 0
        self._predicted: dict[int, list[int]] = {}

    def connect(self) -> dict[str, object]:
        """Make a project with one good and one broken image, connect the backend, and wait for its labels."""
        self._project = self._api.create_project("compose", label_config(LABELS))
        body = {"url": BACKEND, "project": self._project, "title": "ovdiff", "auth_method": "BASIC_AUTH"}
        body |= {"basic_auth_user": variables("ovdiff")["OVDIFF_BASIC_USER"]}
        self._api.call("POST", "/api/ml", json=body | {"basic_auth_pass": self._secrets["ovdiff_password"]})
        begun = time.monotonic()
        while set((states := self._states()).values()) != {"ready"}:
            if "failed" in states.values() or time.monotonic() - begun > READY_WITHIN_S:
                raise RehearsalError(f"The labels are not ready: {states}.")
            time.sleep(1)
        return {"token is": self._api.whoami(), "password logs in": self._logs_in(), "connected": self._connected()}

    def predict(self) -> dict[str, object]:
        """Upload one more image, and have its task predicted; tell whether all that was stored is still there."""
        self._until_answered()
        self._api.upload_images(self._project, [next(self._images)])
        task = self._api.tasks(self._project)[-1].id
        self._api.retrieve_predictions(self._project, [task])
        stored = self._stored()
        kept = all(stored.get(task) == ids for task, ids in self._predicted.items())
        self._predicted = stored
        newest = self._api.predictions(task)
        return {
            "connected": self._connected(),
            "what was stored is there": kept,
            "regions of one more task": sum(len(each["result"]) for each in newest),
            "predictions in PostgreSQL": int(self.asked("select count(*) from prediction")),
        }

    def relabel(self) -> dict[str, object]:
        """Add a label, and wait until the backend has it ready: the webhook told it, for nobody opens a page."""
        self._api.set_label_config(self._project, label_config([*LABELS, NEW_LABEL]))
        begun = time.monotonic()
        while (ready := self._states().get(NEW_LABEL)) != "ready" and time.monotonic() - begun < NOTICED_WITHIN_S:
            time.sleep(1)
        return {"a new label": ready}

    def fail(self) -> dict[str, object]:
        """Have a task predicted whose image cannot be read: it has no prediction, and the next one is not held up."""
        broken = Path(self._services["ovdiff"].log.parent, "images", "broken.png")
        broken.write_bytes(b"no image")
        self._api.upload_images(self._project, [broken])
        task = self._api.tasks(self._project)[-1].id
        self._api.retrieve_predictions(self._project, [task])
        return {"predictions of a broken image": len(self._api.predictions(task))}

    def examine(self) -> dict[str, object]:
        """Run the doctor in the backend's container, as `docker compose exec ovdiff ovdiff doctor` would."""
        done = run_inside(self._services["ovdiff"].stage, ["ovdiff", "doctor", "--json"], check=False)
        found = json.loads(done.stdout)["findings"]
        return {"doctor": {each["name"]: each["found"] for each in found if each["state"] not in ("ok", "skipped")}}

    def asked(self, query: str) -> str:
        """Return PostgreSQL's answer to a query, asked over the network with the password."""
        stage = self._services["database"].stage
        login = f"postgresql://label_studio:{self._secrets['postgres_password']}@database/label_studio"
        return run_inside(stage, ["psql", "--tuples-only", "--no-align", "--command", query, login]).stdout.strip()

    def _until_answered(self) -> None:
        """Wait for Label Studio to reach a database that was away."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self._api.whoami()
                return
            except ApiError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def _stored(self) -> dict[int, list[int]]:
        tasks = self._api.tasks(self._project)
        return {task.id: [int(each["id"]) for each in self._api.predictions(task.id)] for task in tasks}

    def _connected(self) -> str:
        (record,) = self._api.backends(self._project)
        return str(record["state"])

    def _states(self) -> dict[str, str]:
        login = (variables("ovdiff")["OVDIFF_BASIC_USER"], self._secrets["ovdiff_password"])
        known: dict[str, Any] = requests.get(f"{BACKEND}/status", auth=login, timeout=30).json()["projects"]
        return {each["name"]: each["state"] for project in known.values() for each in project["categories"]}

    def _logs_in(self) -> bool:
        with requests.Session() as person:
            person.get(f"{STUDIO}/user/login/", timeout=60)
            form = {
                "email": variables("label-studio")["LABEL_STUDIO_USERNAME"],
                "password": self._secrets["label_studio_password"],
                "csrfmiddlewaretoken": person.cookies["csrftoken"],
            }
            person.post(f"{STUDIO}/user/login/", data=form, headers={"Referer": STUDIO}, timeout=60)
            return person.get(f"{STUDIO}/api/current-user/whoami", timeout=60).ok


def rehearsed(running: Mapping[str, Service], secrets: Mapping[str, str], folder: Path, runs: Path) -> dict[str, Any]:
    """Start the services, do all that the module's docstring says, stop them, and return what was found."""
    found: dict[str, Any] = {"healthy after (s)": {name: service.start() for name, service in running.items()}}
    story = Story(running, secrets, folder)
    found["PostgreSQL"] = story.asked("show server_version")
    scraping = prometheus.service(runs, secrets, folder)
    scraping.start()
    found |= {"first": story.connect() | story.predict() | story.relabel() | story.fail() | story.examine()}
    for name, service in running.items():
        times = {"ended with": service.stop(), "healthy after (s)": service.start()}
        found[f"after a restart of {name}"] = times | story.predict()
    found["panels"] = prometheus.answers()
    found["promtool"] = prometheus.checked(scraping.stage, secrets)
    for service in (scraping, *reversed(running.values())):
        service.stop()
    for service in running.values():
        service.start()
    found["after a restart of all"] = story.predict()
    for service in reversed(running.values()):
        service.stop()
    return found


def wrong(found: Mapping[str, Any]) -> list[str]:
    """Return what is not as it should be, each with its place."""
    first = found["first"]
    bad = [] if found["PostgreSQL"].startswith(postgresql_version()) else [f"PostgreSQL {found['PostgreSQL']}"]
    for part in ("first", *(key for key in found if key.startswith("after "))):
        kept = {name: found[part][name] for name in ("what was stored is there", "regions of one more task")}
        kept |= {"connected": found[part]["connected"] == "CO"}
        bad += [f"{part}: {name}" for name, is_right in kept.items() if not is_right]
    bad += [] if first["a new label"] == "ready" else ["a new label is not noticed"]
    bad += [] if first["password logs in"] else ["the password does not log in"]
    bad += ["a broken image has a prediction"] if first["predictions of a broken image"] else []
    bad += [f"doctor: {name}" for name in first["doctor"] if name != "preset"]  # it warns of tinyworld, the default
    bad += [f"no answer to {query}" for query, values in found["panels"].items() if not values]
    return [*bad, *(f"promtool: {name}" for name, status in found["promtool"].items() if status)]


def names(service: str) -> str:
    """Return the names by which the others reach a service: its own, and those that compose.yaml adds."""
    networks = COMPOSE["services"][service].get("networks", {"default": {}})
    return " ".join([service, *networks["default"].get("aliases", ())])


def make_network(folder: Path) -> None:
    """Give each service an address and its name, in the network of this process alone."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in ADDRESSES.values():
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{at} {names(name)}\n" for name, at in ADDRESSES.items()))
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)


def main() -> None:
    """Make the file systems, then begin again in a network of its own, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=Path, default=Path("runs/container"), help="as for the rehearsal (%(default)s)")
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    runs = options.runs.resolve()
    folder = runs / "compose"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        secrets = make_secrets(folder)
        running = services(runs, folder)
        if not options.apart:
            prometheus.service(runs, secrets, folder)
            os.execvp(APART[0], [*APART, sys.executable, "-m", "tests.container.compose", *sys.argv[1:], "--apart"])
        make_network(folder)
        found = rehearsed(running, secrets, folder, runs)
    except (RehearsalError, ApiError) as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    if bad := wrong(found):
        sys.exit("Not as compose.yaml promises: " + "; ".join(bad))


if __name__ == "__main__":
    main()
