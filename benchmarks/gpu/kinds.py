"""What a folder of results was measured on. Results of another kind are refused, so that none pass for others.

WORK/kind.json   {"device": "cuda", "tiny": false, "machine": "NVIDIA H100 80GB HBM3"}
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from converters.files.atomic import whole_text_file


@dataclass(frozen=True)
class Kind:
    """What results of one folder have in common.

    Attributes:
        device: "cpu" or "cuda".
        tiny: whether all is small, to try the command out.
        machine: the GPU's name as torch gives it, or "cpu".
    """

    device: str
    tiny: bool
    machine: str

    @property
    def counts(self) -> bool:
        """Say whether figures of this kind can be held against the goals, which are a GPU's."""
        return self.device == "cuda" and not self.tiny

    def __str__(self) -> str:
        """Say it in words, for messages."""
        return f"{'tiny' if self.tiny else 'full-size'} results of {self.machine}"


class OtherKindError(Exception):
    """A folder holds results of another kind; the message says which, and what to do."""


def this_kind(device: str, *, tiny: bool) -> Kind:
    """Return the kind of what this machine would measure."""
    return Kind(device, tiny, torch.cuda.get_device_name() if device == "cuda" else "cpu")


def settled(work: Path, kind: Kind, groups: Sequence[str]) -> Kind:
    """Return the kind of a folder's results; the first call's kind is written down there.

    Training alone may go on on another GPU than it began on, for no second of it is compared with another.

    Args:
        work: the folder of what is kept for the next call.
        kind: what this call would measure.
        groups: the groups that it would measure.

    Raises:
        OtherKindError: the folder holds results of another kind.
    """
    known = kind_of(work)
    if known is None:
        if any((work / "results").glob("*.json")):
            raise OtherKindError(f"{work} does not say what it was measured on; give another --out, or delete it.")
        work.mkdir(parents=True, exist_ok=True)
        with whole_text_file(work / "kind.json") as file:
            json.dump(asdict(kind), file)
        return kind
    goes_on = (known.device, known.tiny) == (kind.device, kind.tiny) and list(groups) == ["training"]
    if known != kind and not goes_on:
        raise OtherKindError(
            f"{work} holds {known}, and not {str(kind).replace(' results', ' ones')}; give another --out, or delete it."
        )
    return known


def kind_of(work: Path) -> Kind | None:
    """Return what a folder's results were measured on; ``None`` if nothing says it."""
    path = work / "kind.json"
    return Kind(**json.loads(path.read_text("utf-8"))) if path.is_file() else None
