"""How a command refuses an engine that cannot do what the command asks: all of them in the same words."""

from __future__ import annotations

from backend.errors import UsageError
from ovdiff.engines import SegmentationEngine


def cannot(engine: SegmentationEngine, what: str, instead: str = "") -> UsageError:
    """Return the error that says what an engine cannot do, and which presets can.

    Args:
        engine: the engine that cannot.
        what: the rest of the sentence that begins with the engine, such as "makes no forecasts".
        instead: another way out, in words that follow ", or "; "" if there is none.
    """
    preset = engine.preset
    other = f", or {instead}" if instead else ""
    return UsageError(
        f"The engine {preset.engine!r} of the preset {preset.name!r} {what}. Take a preset of the engine ovdiff, such "
        f"as tinyworld or fast{other}."
    )
