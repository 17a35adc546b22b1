"""`ovdiff next-tasks`: which images of a folder to annotate next, because lessons would learn most from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from backend.command.console import complain, progress_bar, say
from backend.command.one_image import IMAGE_ERRORS, read_image_file
from backend.command.plan import Plan
from backend.command.prototypes import build_missing, say_missing_anchors
from backend.command.refusals import cannot
from backend.command.table import table
from backend.errors import RequestError
from converters.console import answer
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.learning import ScoresTasks
from ovdiff.learning.next_tasks import TaskScore, choose, reasons
from ovdiff.vocabulary import Vocabulary


@dataclass
class _Found:
    """What was found in the images so far: a few kilobytes for each, and no image."""

    names: list[str] = field(default_factory=list)
    scores: list[TaskScore] = field(default_factory=list)
    taught: int = 0
    failed: int = 0


def order_tasks(
    plan: Plan,
    vocabulary: Vocabulary,
    engine: SegmentationEngine,
    *,
    max_px: int,
    limit: int | None = None,
) -> None:
    """Print the images of a plan in the order in which they are worth annotating; images that were taught are left out.

    After Ctrl-C or an error the images that were looked at until then are printed in their order.

    Cost: that of segmenting each image, whose encoding is kept; prototypes that are missing are made first.

    Args:
        plan: the images.
        vocabulary: the project's categories.
        engine: the method.
        max_px: images with more pixels are refused.
        limit: print so many at most; ``None`` prints all.

    Raises:
        UsageError: the engine does not score tasks.
        RequestError: some images could not be read or segmented; each was reported.
        OVDiffError: prototypes cannot be made or read, or a model cannot be loaded.
    """
    if not isinstance(engine, ScoresTasks):
        raise cannot(engine, "takes no lessons from annotations, so no task is next")
    build_missing(vocabulary.categories, engine)
    say_missing_anchors(engine)
    found = _Found()
    try:
        with progress_bar(len(plan.jobs), "image") as bar:
            for job in plan.jobs:
                bar.set_description(job.name)
                try:
                    score = engine.task_score(read_image_file(job.image, max_px), vocabulary)
                except IMAGE_ERRORS as error:
                    found.failed += 1
                    complain(f"{job.image}: {error}")
                else:
                    _keep(found, job.name, score)
                bar.update()
    finally:
        _say(found, len(plan.jobs), limit)
    if found.failed:
        raise RequestError(f"{found.failed} of {len(plan.jobs)} images could not be scored; they are named above.")


def _keep(found: _Found, name: str, score: TaskScore | None) -> None:
    if score is None:
        found.taught += 1
        return
    found.names.append(name)
    found.scores.append(score)


def _say(found: _Found, images: int, limit: int | None) -> None:
    order = choose(found.scores, limit)
    not_done = images - len(found.names) - found.taught - found.failed
    counts = {"taught": found.taught, "failed": found.failed, "not_done": not_done}
    tasks = [_to_json(found.names[each.index], each.value, found.scores[each.index]) for each in order]
    answer({"tasks": tasks, "candidates": len(found.names), **counts})
    if order:
        rows = [
            (str(place), found.names[each.index], f"{each.value:.3f}", "; ".join(reasons(found.scores[each.index])))
            for place, each in enumerate(order, start=1)
        ]
        say(table([("", "image", "score", "why"), *rows], right=(0, 2)))
    if (rest := len(found.names) - len(order)) > 0:
        say(f"... and {rest} other images; --limit {len(found.names)} has all")
    told = ("already annotated", found.taught), ("failed", found.failed), ("not done", not_done)
    if missing := ", ".join(f"{count} {what}" for what, count in told if count):
        say(f"images besides: {missing}")


def _to_json(name: str, value: float, score: TaskScore) -> dict[str, object]:
    return {
        "image": name,
        "score": value,
        "why": list(reasons(score)),
        "words": [asdict(word) for word in score.words],
        "rivals": [asdict(pair) for pair in score.rivals],
        "unlike": score.unlike,
        "seen": score.seen,
    }
