"""The engines that the demo can run, each as the settings that its backend needs."""

from collections.abc import Mapping

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
