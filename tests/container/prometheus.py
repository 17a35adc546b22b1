"""A Prometheus of Debian that reads the rehearsed backend, configured as docs/metrics.md says."""

from __future__ import annotations

import json
import math
import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from tests.container.services import Service, emptied, variables
from tests.container.stages import ROOT, Stage, debian, inside, run_inside

URL = "http://127.0.0.1:9099"
CONFIG = "/etc/prometheus/prometheus.yml"
_OFTEN = "global: {scrape_interval: 2s}\n"


def scrape_config() -> str:
    """Return the configuration of docs/metrics.md."""
    (text,) = re.findall(r"```yaml\n# prometheus\.yml\n(.*?)```", (ROOT / "docs/metrics.md").read_text(), re.DOTALL)
    return str(text)


def queries() -> list[str]:
    """Return the expressions of all panels of grafana-dashboard.json."""
    dashboard = json.loads((ROOT / "grafana-dashboard.json").read_text("utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def service(runs: Path, secrets: Mapping[str, str], folder: Path) -> Service:
    """Return a Prometheus with an empty store; it may read the backend's password."""
    stage = Stage(debian(runs, "trixie", "prometheus", "prometheus"))
    inside(stage.root, CONFIG).write_text(_OFTEN + scrape_config())
    within = inside(stage.root, "/run/secrets")
    shutil.rmtree(within, ignore_errors=True)
    within.mkdir(parents=True)
    (within / "ovdiff_password").write_text(secrets["ovdiff_password"])
    emptied(stage, "/prometheus", "prometheus")
    where = ["--storage.tsdb.path=/prometheus", "--web.listen-address=127.0.0.1:9099"]
    stage.user, stage.command = "prometheus", ["prometheus", f"--config.file={CONFIG}", *where]
    stage.health = ["promtool", "check", "ready", f"--url={URL}"]
    return Service("prometheus", stage, folder / "prometheus.log", signal.SIGTERM)


def answers() -> dict[str, list[float]]:
    """Return the numbers that Prometheus has for each query of the dashboard now."""
    return {query: numbers(_asked(query)) for query in queries()}


def numbers(answer: Mapping[str, Any]) -> list[float]:
    """Return the numbers of an instant query's answer; what is none, such as 0 / 0, is left out."""
    found = [float(series["value"][1]) for series in answer["data"]["result"]]
    return [round(value, 4) for value in found if math.isfinite(value)]


def checked(stage: Stage, secrets: Mapping[str, str]) -> dict[str, int]:
    """Return the exit status of promtool on the configuration, and on what the backend serves."""
    login = (variables("ovdiff")["OVDIFF_BASIC_USER"], secrets["ovdiff_password"])
    served = requests.get("http://ovdiff:9090/metrics", auth=login, timeout=30)
    inside(stage.root, "/tmp/metrics").write_bytes(served.content)
    commands = {"config": f"promtool check config {CONFIG}", "metrics": "promtool check metrics < /tmp/metrics"}
    return {name: run_inside(stage, ["sh", "-c", line], check=False).returncode for name, line in commands.items()}


def _asked(query: str) -> dict[str, Any]:
    answer = requests.get(f"{URL}/api/v1/query", params={"query": query}, timeout=30)
    answer.raise_for_status()
    return dict(answer.json())
