"""The log of a training, a line of JSON for each step that is noted and each validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from converters.files.atomic import write_whole

Line = dict[str, float]


class TrainingLog:
    """The lines of a training; those of steps that a killed process did in vain are dropped."""

    def __init__(self, path: Path, begun: int) -> None:
        """Continue the log of a training that has done ``begun`` steps.

        Raises:
            OSError: the file cannot be read or written.
        """
        self._path = path
        self.lines = [line for line in _read(path) if line["step"] <= begun] if begun else []
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "".join(json.dumps(line) + "\n" for line in self.lines).encode())

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Add a line."""
        line = {"step": step, **{name: round(value, 5) for name, value in figures.items()}}
        self.lines.append(line)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def validated(self, step: int) -> bool:
        """Say whether the validation at a step is there."""
        return any(line["step"] == step and "pq" in line for line in self.lines)


def _read(path: Path) -> list[Line]:
    """Return the whole lines of a log."""
    found = []
    for text in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:  # The process was killed while it wrote this line.
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            found.append(line)
    return found
