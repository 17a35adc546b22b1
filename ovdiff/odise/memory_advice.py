"""What helps when memory does not suffice: the settings that are worth lowering, as `benchmarks/odise_cost.py` traced.

Settings that would change next to nothing are not named: the side of the masks that are learned (``training.mask_px``)
is worth 0.3 % of a step, and fewer windows at once are tried by the engine itself.
"""

import math

from ovdiff.odise.preset import OdisePreset


def for_a_window(preset: OdisePreset) -> str:
    """Say what helps if one window does not fit beside the weights: its size is the head's, so only the weights."""
    found = [f"raise taps.budget_gib ({preset.taps.budget_gib:g}) if the device has more"]
    if preset.models.clip.dtype == "float32":
        found.append("set models.clip.dtype to 'float16'")
    return ", ".join([*found, "or use the device 'cpu'"])


def for_an_image(preset: OdisePreset) -> str:
    """Say what helps if the windows of an image, or the masks that are found in them, do not fit."""
    taps = preset.taps
    if not _has_several_windows(preset):
        return "End other programs on the device, or use the device 'cpu'."
    return (
        f"Lower taps.short_side_px ({taps.short_side_px}), or for a long image taps.max_long_side_px "
        f"({taps.max_long_side_px}): fewer windows are cut. A smaller image is enlarged, so it takes as much."
    )


def for_a_training(preset: OdisePreset) -> str:
    """Say what helps if a step of a training, or storing its features, does not fit."""
    plan, taps = preset.training, preset.taps
    found = [f"training.batch ({plan.batch})"] if plan.batch > 1 else []
    if _has_several_windows(preset):
        found.append(f"taps.short_side_px ({taps.short_side_px}), which changes the features")
    if taps.batch_size > _windows_of_a_view(preset):
        found.append(f"while features are stored taps.batch_size ({taps.batch_size})")
    said = f"Lower {', or '.join(found)}." if found else "End other programs on the device, or use the device 'cpu'."
    if preset.captioner.condition == "learned" and plan.captioner_rate:
        said += " With training.captioner_rate = 0 the captioner stays as it is, and no gradient goes through the UNet."
    return said


def _windows_of_a_view(preset: OdisePreset) -> int:
    """Return how many windows are encoded at once at least, because a view is encoded whole."""
    taps = preset.taps
    return math.ceil(taps.short_side_px / taps.window_px) ** 2 if _has_several_windows(preset) else 1


def _has_several_windows(preset: OdisePreset) -> bool:
    """Say whether a smaller working size gives fewer windows: a window is never larger than the short side."""
    taps = preset.taps
    return taps.windows == "sliding" and taps.short_side_px > taps.window_px
