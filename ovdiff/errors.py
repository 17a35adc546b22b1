"""Every error that :mod:`ovdiff` raises on purpose.

::

    OVDiffError
     ├── VocabularyError            a category without a name, a duplicate, a prompt that is too long
     ├── PresetError                an unknown field, an impossible value or combination
     ├── WeightsError               model files missing or not the expected model
     ├── ImageError                 an image that cannot be read, or an array that is no image
     ├── DeviceError                torch cannot use the device
     ├── DeviceMemoryError          not even one image fits into the device's memory
     ├── MissingExtraError          an optional library is not installed; an ImportError too
     ├── TrainingError              a training cannot begin or go on with what it was given
     ├── SupportError               no generated image of a category shows it
     ├── LessonError                an annotation teaches nothing, or a lesson cannot be found, read or written
     │    └── LessonCorruptError    a stored lesson does not match its card
     ├── DatasetError               a labelled dataset is unknown, missing, incomplete or damaged
     ├── EvaluationError            an evaluation cannot begin, go on or be read
     ├── StorageError               an address cannot be used, or its storage refuses or is away for too long
     ├── PlanError                  what a run on many machines would cost cannot be told
     ├── ClusterError               machines that should help cannot be reached, were lost, or differ from this one
     └── BankError                  the prototype store cannot be read or written
          ├── BankCorruptError      a stored file does not match its card
          ├── CurationError         what people changed of a category's support images cannot be read or applied
          └── MissingPrototypesError  a category of the vocabulary has no prototypes yet

Messages say what was wrong, the value, and what to do next.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "BankCorruptError",
    "BankError",
    "ClusterError",
    "CurationError",
    "DatasetError",
    "DeviceError",
    "DeviceMemoryError",
    "EvaluationError",
    "ImageError",
    "LessonCorruptError",
    "LessonError",
    "MissingExtraError",
    "MissingPrototypesError",
    "OVDiffError",
    "PlanError",
    "PresetError",
    "StorageError",
    "SupportError",
    "TrainingError",
    "VocabularyError",
    "WeightsError",
]


class OVDiffError(Exception):
    """The base of all errors of the method. A caller that catches it catches all of them."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process have the error as it is: by default its class would be called with the message alone."""
        return _as_it_was, (type(self), self.args, vars(self))


class VocabularyError(OVDiffError):
    """The category names or their prompts cannot be used."""


class PresetError(OVDiffError):
    """A preset names an unknown field, or gives a field an impossible value."""


class WeightsError(OVDiffError):
    """The weights of a model are missing, or belong to another model."""


class TrainingError(OVDiffError):
    """A training cannot begin or go on with the data, the folder or the checkpoint that it was given."""


class ImageError(OVDiffError):
    """An image cannot be read, or is not an (H, W, 3) uint8 RGB array with at least one pixel."""


class DeviceError(OVDiffError):
    """Torch does not know a device, or the machine does not have it."""


class DeviceMemoryError(OVDiffError):
    """The device's memory, or the preset's budget of it, is too small for even one item."""


class MissingExtraError(OVDiffError, ImportError):
    """An optional library is not installed; ``library`` names it, and ``extra`` names the extra that installs it."""

    def __init__(self, purpose: str, library: str, extra: str) -> None:
        """Name the part that needs the library (``purpose``), and the command that installs it.

        The command is for a checkout, because ovdiff is on no package index.
        """
        self.library, self.extra = library, extra
        or_cuda = " (for an NVIDIA GPU: '.[cuda]')" if extra == "cpu" else ""
        super().__init__(
            f"{purpose} needs {library}, which is not installed. In a checkout of ovdiff: "
            f"pip install '.[{extra}]'{or_cuda}",
            name=library,
        )


class SupportError(OVDiffError):
    """No support image of a category has any foreground, so it has no prototypes."""


class LessonError(OVDiffError):
    """Nothing can be learned from an annotation, or a lesson cannot be found, read or written."""


class LessonCorruptError(LessonError):
    """A stored lesson does not match its card; the message and ``path`` name the file."""

    def __init__(self, path: Path, reason: str) -> None:
        """Name the file at fault and what is wrong with it."""
        self.path, self.reason = path, reason
        super().__init__(
            f"Lesson file {path} is damaged: {reason}. The lesson is not used. Learn from its task again, which writes "
            f"it anew, or remove it (ovdiff lessons remove {path.stem[:12]}); other lessons are not touched."
        )


class DatasetError(OVDiffError):
    """A labelled dataset is unknown, is not where it was looked for, is not all there, or a file of it is damaged."""


class EvaluationError(OVDiffError):
    """An evaluation cannot begin, go on with what an earlier run left, or be read."""


class StorageError(OVDiffError):
    """An address cannot be used, or the storage there refuses, or is away for longer than is waited for.

    It is no OSError on purpose: whoever takes an OSError of a file for damage must not take an outage for it.

    Attributes:
        is_away: whether the storage is away, which passes, and did not refuse. Unlike the error that was its cause,
            another process is told it too.
    """

    def __init__(self, message: str, *, is_away: bool = False) -> None:
        """Say what cannot be done, why, and what to do next."""
        super().__init__(message)
        self.is_away = is_away


class PlanError(OVDiffError):
    """What a run on many machines would cost cannot be told: a device, a preset, a measurement or a value is wrong."""


class ClusterError(OVDiffError):
    """Machines that should help cannot be reached, were lost, end before their work does, or hold something else."""


class BankError(OVDiffError):
    """The prototype store cannot be read or written."""


class BankCorruptError(BankError):
    """A stored file does not match its card; the message and ``path`` name the file."""

    def __init__(self, path: Path, reason: str) -> None:
        """Name the file at fault and what is wrong with it."""
        self.path = path
        super().__init__(
            f"Prototype file {path} is damaged: {reason}. Remove it, or build its category again "
            f"(building overwrites it); other categories are not touched."
        )


class CurationError(BankError):
    """What people changed of one category's support images cannot be read or applied; other categories are whole."""


class MissingPrototypesError(BankError):
    """Some categories have no prototypes in the bank; ``names`` lists them."""

    def __init__(self, names: Sequence[str]) -> None:
        """Name the categories that must be built first."""
        self.names = tuple(names)
        listed = ", ".join(repr(name) for name in self.names)
        super().__init__(f"No prototypes for {listed}. Call Engine.build for each of them first.")


def _as_it_was(kind: type[OVDiffError], args: tuple[Any, ...], attributes: dict[str, Any]) -> OVDiffError:
    """Return an error from another process, without calling its ``__init__``, which takes other arguments."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error
