"""The engines that the demo can run: the settings that each one's backend needs, and what each one can do."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ovdiff.bank import Bank
from ovdiff.engines import load_any_preset, make_engine
from ovdiff.engines.building import HasSupportSets

FIRST, SECOND = "ovdiff", "odise"
ENGINES: Mapping[str, Mapping[str, str]] = {
    FIRST: {"OVDIFF_PRESET": "tinyworld"},
    SECOND: {"OVDIFF_PRESET": "odise_tinyworld", "OVDIFF_REGIONS_PER": "object"},
}
"""The backend's environment by the engine's name. The second engine finds objects, so each of them is a region."""

HINTS: Mapping[str, str] = {
    FIRST: (
        "Open a task to see its masks. Change the labels under Settings > Labeling Interface, open the task\n"
        "list again, and only new labels are computed. Ctrl-C ends the demo.\n"
    ),
    SECOND: (
        "Open a task to see its masks: each object is a region of its own. Change the labels under\n"
        "Settings > Labeling Interface: nothing has to be computed for a new label, and a task that is opened\n"
        "is predicted with it. Ctrl-C ends the demo.\n"
    ),
}
"""What a person can try in the demo, by the engine's name."""


@dataclass(frozen=True)
class Abilities:
    """What an engine does in the demo, which decides what can be checked.

    Attributes:
        makes_prototypes: whether a word needs prototypes before it can be asked for.
        finds_objects: whether each object is a region of its own; else each label is one region.
    """

    makes_prototypes: bool = True
    finds_objects: bool = False


def abilities(environment: Mapping[str, str], folder: Path) -> Abilities:
    """Return what the engine of a backend's environment can do; no model is loaded, but torch is imported.

    Args:
        environment: the backend's environment, as in :data:`ENGINES`.
        folder: where the engine may look for prototypes; it need not exist.

    Raises:
        PresetError: the environment names no preset that can be used.
    """
    engine = make_engine(load_any_preset(environment["OVDIFF_PRESET"]), Bank(folder), "cpu")
    return Abilities(isinstance(engine, HasSupportSets), environment.get("OVDIFF_REGIONS_PER") == "object")
