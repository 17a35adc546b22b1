"""The checkpoint of a training: it appears whole, holds all that a later process needs, and is refused elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch

from converters.files.atomic import delete_left_overs, whole_file
from ovdiff.errors import TrainingError

_PARTS = ("head", "optimizer", "average", "step")


@dataclass(frozen=True)
class Checkpoint:
    """A file, and the training that it belongs to.

    Attributes:
        path: the file.
        key: what the training is: a checkpoint in which an entry differs is refused by the entry's name.
    """

    path: Path
    key: Mapping[str, str] = field(default_factory=dict)

    def steps(self) -> int:
        """Return how many steps are done; 0 without a file. The weights stay on the disk.

        Raises:
            TrainingError: see :meth:`read`.
        """
        saved = self.read(mapped=True)
        return int(saved["step"]) if saved else 0

    def read(self, *, mapped: bool = False) -> dict[str, Any]:
        """Return what was written, on the CPU; nothing if there is no file. Nothing is unpickled.

        An optimizer moves its means to its weights itself. Its counts of steps stay on the CPU, as in a new optimizer:
        on a GPU each of them would be waited for in every step.

        Args:
            mapped: whether the tensors are read from the disk only when they are used.

        Raises:
            TrainingError: the checkpoint is of another training, or is damaged.
        """
        delete_left_overs(self.path.parent, self.path.name)
        if not self.path.exists():
            return {}
        try:
            saved: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True, mmap=mapped)
            key = dict(saved.get("key", {}))
            _ = [saved[part] for part in _PARTS]
        except Exception as error:  # The library raises its own errors, and those of pickle and zipfile.
            raise TrainingError(
                f"The checkpoint {self.path} is damaged ({type(error).__name__}: {shorten(str(error), 200)}). Delete "
                "it to begin anew."
            ) from error
        if differing := sorted(name for name in {**self.key, **key} if key.get(name) != self.key.get(name)):
            raise TrainingError(
                f"The checkpoint {self.path} is of another training: {' and '.join(differing)} differ. Delete it to "
                "begin anew, or give another folder for the head."
            )
        return saved

    def write(self, state: Mapping[str, Any]) -> None:
        """Write the file whole.

        Raises:
            OSError: it cannot be written.
        """
        with whole_file(self.path) as file:
            torch.save({**state, "key": dict(self.key)}, file)
