"""Why a place of an image has its label, in sentences and in a table of steps."""

from __future__ import annotations

from ovdiff.explaining.explanation import Explanation, Removal, Rival
from ovdiff.segmentation import PartEvidence

_MOST_REMOVED = 5
_RULES = {
    "average": "its cosine with the image is {value:.3f}, and the average caption has {bar:.3f}",
    "limit": "its cosine with the image is {value:.3f}, and the last one that was kept has {bar:.3f}",
    "joint caption": "the best caption with it has the cosine {value:.3f}, and the chosen one {bar:.3f}",
}


def verdict(found: Explanation) -> str:
    """Return sentences: who won by the votes and by how much, and which step changed the label."""
    winner = found.rivals[found.winner]
    sentences = []
    if found.runner_up is None:
        sentences.append(f"Nothing but {winner.name} competed; its score is {winner.score:.3f}.")
    else:
        second = found.rivals[found.runner_up]
        lead = winner.score - second.score
        sentences.append(
            f"By {len(found.votes)} votes {_named(winner)} has {winner.score:.3f}, and {_named(second)} "
            f"{second.score:.3f}: {_margin(lead)}."
        )
    if winner.is_anchor:
        sentences.append(f"Nobody asked for {winner.name}, so where it wins there is background.")
    changes = [
        f"{stage.name} made it {found.name(stage.label)}"
        for before, stage in zip(found.stages, found.stages[1:], strict=False)
        if stage.label != before.label
    ]
    if changes:
        sentences.append(f"After the votes, {' and then '.join(changes)}.")
    elif len(found.stages) > 1:
        sentences.append("No later step changed the label.")
    if found.stages[-1].share < 1:
        sentences.append(f"{found.stages[-1].share:.0%} of the place have this label.")
    saved = [removal for removal in found.removed if removal.would_have_won]
    sentences += [f"The prefilter had removed {removal.name}, which would have won by votes." for removal in saved]
    return " ".join(sentences)


def stage_rows(found: Explanation) -> list[tuple[str, ...]]:
    """Return a table of the steps: each with the label after it, its share of the place, and the finalists' scores."""
    finalists = found.finalists()
    rows = [("after", "label", "of the place", *(found.rivals[place].name for place in finalists))]
    for stage in found.stages:
        scores = [f"{stage.scores[place]:.3f}" if stage.scores else "" for place in finalists]
        rows.append((stage.name, found.name(stage.label), f"{stage.share:.0%}", *scores))
    return rows


def _margin(lead: float) -> str:
    return f"a lead of {lead:.3f}" if lead >= 0 else f"{-lead:.3f} behind, but background and anchors are one"


def _named(rival: Rival) -> str:
    return f"{rival.name} (an anchor)" if rival.is_anchor else rival.name


def clip_sentence(part: PartEvidence) -> str:
    """Say what CLIP saw in the part of the image that holds the place."""
    shares = ", ".join(f"{name} {share:.0%}" for name, share in part.shares)
    return f"In this part of the image, {part.by_pixels} by its pixels, CLIP saw {shares}."


def removal_sentences(found: Explanation) -> list[str]:
    """Say of the categories that the prefilter removed why, and whether they would have won; the first few of them."""
    lines = [_removal(removal) for removal in found.removed[:_MOST_REMOVED]]
    if len(found.removed) > _MOST_REMOVED:
        lines.append(f"... and {len(found.removed) - _MOST_REMOVED} more, with lower scores at this place.")
    return lines


def lost_sentence(found: Explanation, name: str) -> str:
    """Say how the category came off that should have the place; "" if :func:`verdict` says it, or nothing is known."""
    winner = found.rivals[found.winner]
    told = {found.rivals[place].name for place in (found.winner, found.runner_up) if place is not None}
    rival = next((each for each in found.rivals if each.name == name and not each.is_anchor), None)
    if rival is not None and name not in told:
        return f"{name} itself has {rival.score:.3f}, {winner.score - rival.score:.3f} behind {winner.name}."
    removal = next((each for each in found.removed if each.name == name and not each.is_anchor), None)
    return "" if removal is None else f"The prefilter had removed {_removal(removal)}"


def _removal(removal: Removal) -> str:
    reason = _RULES[removal.rule].format(value=removal.value, bar=removal.bar)
    would = "it would have won here" if removal.would_have_won else "it would not have won here"
    return f"{removal.name}: {reason} ({removal.short_by:.3f} short); {would}, with a score of {removal.score:.3f}."
