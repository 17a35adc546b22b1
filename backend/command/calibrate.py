"""`ovdiff presets calibrate`: scores that are probabilities, fitted on a project's support images, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from backend.command.console import progress_bar, say
from backend.command.files import require_writable
from backend.command.preset_weights import base_for, require_no_base
from backend.command.prototypes import build_missing
from backend.command.refusals import cannot
from backend.errors import RequestError, UsageError
from converters.console import answer
from converters.files.atomic import write_whole
from ovdiff.calibration import (
    LEAST_OF_EACH,
    CalibratedEngine,
    JudgedRegion,
    fit_scores,
    scores_to_toml,
    support_regions,
)
from ovdiff.engines import SegmentationEngine
from ovdiff.vocabulary import Vocabulary


def calibrate_preset(base: str, vocabulary: Vocabulary, engine: SegmentationEngine, out: Path) -> None:
    """Fit the scores of a preset, and write a preset file that has them and is the same in everything else.

    Cost: each support image is encoded once and segmented about six times; prototypes that are missing are made first.

    Args:
        base: the name or the file of the engine's preset.
        vocabulary: the project's words, at least two.
        engine: the engine of that preset.
        out: the file to write, NAME.toml.

    Raises:
        UsageError: there are fewer than two words; the file is no .toml, is one of the preset's own, or cannot be
            written; or the engine keeps no support images.
        RequestError: prototypes cannot be made, or the file could not be written in the end.
        OVDiffError: support images are not stored, or cannot be segmented.
    """
    if out.suffix != ".toml":
        raise UsageError(f"--out {out} must end with .toml, or no command would take it for a preset.")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; expected the name of a file.")
    require_no_base("--out", out, base)
    require_writable("--out", out)
    if len(vocabulary.categories) < 2:
        raise UsageError("Name at least two words: a region's score says how likely it is no other word's.")
    if not isinstance(engine, CalibratedEngine):
        raise cannot(engine, "keeps no support images to fit scores on")
    build_missing(vocabulary.categories, engine)
    with progress_bar(1) as bar:

        def report(name: str, fraction: float) -> None:
            bar.set_description(name, refresh=False)
            bar.update(fraction - bar.n)

        regions = list(support_regions(engine, vocabulary, report))
    of_kinds = {
        "things": [region for region in regions if not region.is_stuff],
        "stuff": [region for region in regions if region.is_stuff],
    }
    for kind, of_kind in of_kinds.items():
        say(_summary(kind, of_kind))
    try:
        write_whole(out, f"base = {base_for(base, out)}\n\n{scores_to_toml(fit_scores(regions))}".encode())
    except OSError as error:
        raise RequestError(f"{out} cannot be written: {error}.") from error
    counted = {kind: {"regions": len(each), "right": _right(each)} for kind, each in of_kinds.items()}
    answer({"preset": out, **counted})
    say(f"{out}: use it as --preset {out} or OVDIFF_PRESET={out}")


def _summary(kind: str, regions: Sequence[JudgedRegion]) -> str:
    right = _right(regions)
    counted = f"{kind}: {len(regions)} regions of support images, {right} of them right"
    if min(right, len(regions) - right) >= LEAST_OF_EACH:
        return counted
    return f"{counted}; fewer than {LEAST_OF_EACH} right or wrong ones tell nothing apart, so all get the same score"


def _right(regions: Sequence[JudgedRegion]) -> int:
    return sum(region.is_right for region in regions)
