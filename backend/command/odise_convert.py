"""`ovdiff odise convert`: a released checkpoint of ODISE as a head of this project."""

from __future__ import annotations

from pathlib import Path

from backend.command.console import say
from backend.command.odise_out import CHECKPOINT, require_no_other_head
from backend.errors import RequestError, UsageError
from converters.console import answer
from ovdiff.engines import load_any_preset
from ovdiff.models.licences import licence_note
from ovdiff.odise.coco_labels import coco_labels, read_labels
from ovdiff.odise.head_file import HeadCard, architecture, write_head
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.released import LICENCE, read_released, released_to_head


def convert(checkpoint: Path, preset_name: str, out: Path, labels: Path | None, *, accepted: bool) -> None:
    """Write the head of a released checkpoint into a folder. No model is loaded.

    Args:
        checkpoint: the released file.
        preset_name: whose architecture the head gets.
        out: the folder of the head.
        labels: the labels of the training with their synonyms; ``None`` means COCO's own names.
        accepted: whether the user accepts the licence of the checkpoint.

    Raises:
        UsageError: the licence is not accepted, another head is in the folder, or the preset is of another engine.
        OVDiffError: the checkpoint or the labels cannot be read, or do not fit the preset.
        RequestError: the folder cannot be written.
    """
    say(f"The released weights of ODISE are under {LICENCE}. {licence_note(LICENCE)}.")
    if not accepted:
        raise UsageError("Read the licence, and give --accept-licence if you accept it. Nothing was read or written.")
    require_no_other_head(out, CHECKPOINT, checkpoint.name)
    preset = load_any_preset(preset_name)
    if not isinstance(preset, OdisePreset):
        raise UsageError(f"The preset {preset_name!r} is of the engine {preset.engine!r}; give one of ODISE.")
    known = coco_labels() if labels is None else read_labels(labels)
    released = read_released(checkpoint)
    weights = released_to_head(released, preset)
    made = {CHECKPOINT: checkpoint.name, "licence": LICENCE, "note": licence_note(LICENCE)}
    try:
        write_head(out, weights, HeadCard(known, architecture(preset), made))
    except OSError as error:
        raise RequestError(f"Cannot write {out}: {error}.") from error
    numbers = sum(value.numel() for value in weights.values())
    answer({"head": out, "numbers": numbers, "labels": [label.name for label in known], "licence": LICENCE})
    say(f"head: {out}, {numbers:,} numbers, {len(known)} labels")
