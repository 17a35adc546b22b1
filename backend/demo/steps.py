"""What the demo did when: the seconds of each step since its command, so that each second is accounted for.

``make demo DEMO_FLAGS="--steps runs/demo.json"`` writes them as JSON, and :func:`table` makes Markdown of that.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.files.atomic import whole_text_file

IMPORTS = "Python and imports"
DATABASE = "Label Studio makes its database"
LABEL_STUDIO = "Label Studio starts"
BACKEND = "the backend starts"
PROJECT = "a project of drawn scenes"
WORDS = "prototypes that are not ready yet"
READY = "Label Studio connects the backend"
FIRST_MASKS = "the first masks"
ALL_MASKS = "all other masks"
SECOND_PROJECT = "the second project"


def process_age_s() -> float:
    """Return for how many seconds this process has been there; without /proc for how long it has computed."""
    try:
        started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(started) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.process_time()


@dataclass
class Steps:
    """The steps that have ended, in order. A step that happens again is not counted again.

    Attributes:
        clock_s: the seconds since the command.
        load_average: how many processes wanted to run when the command began.
    """

    clock_s: Callable[[], float] = field(default_factory=lambda: _clock_since(process_age_s()))
    load_average: float = field(default_factory=lambda: os.getloadavg()[0])
    _ended_s: dict[str, float] = field(default_factory=dict)

    def end(self, step: str) -> None:
        """Note that a step has ended."""
        self._ended_s.setdefault(step, self.clock_s())

    def told(self) -> str:
        """Say when the first masks were there, and when all of them."""
        first, last = (self._ended_s.get(step, 0.0) for step in (FIRST_MASKS, ALL_MASKS))
        return f"The first masks were there {first:.0f} s after the command, all of them after {last:.0f} s."

    def write(self, path: Path) -> None:
        """Write the steps as JSON: each with its seconds, and the seconds since the command when it ended."""
        steps, before = [], 0.0
        for step, ended in self._ended_s.items():
            steps.append({"step": step, "seconds": round(ended - before, 2), "since_command": round(ended, 2)})
            before = ended
        results = {"steps": steps, "cores": os.cpu_count(), "load_average": round(self.load_average, 2)}
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_text_file(path) as file:
            file.write(json.dumps(results, indent=1) + "\n")


def _clock_since(age_s: float) -> Callable[[], float]:
    begun = time.monotonic() - age_s
    return lambda: time.monotonic() - begun


def table(results: Any) -> str:
    """Return the steps of a demo's JSON as Markdown."""
    lines = ["| step | s | since the command, s |", "| --- | --: | --: |"]
    lines += [f"| {step['step']} | {step['seconds']:.1f} | {step['since_command']:.1f} |" for step in results["steps"]]
    said = (
        f"*Wall seconds on {results['cores']} cores; the load average was {results['load_average']:.1f} when the "
        "command began. The steps follow one another; in a new folder prototypes are made beside the first of them.*"
    )
    return "\n".join(lines) + f"\n\n{said}"
