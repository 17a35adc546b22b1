"""An explanation as text for a terminal: the verdict, then tables of steps, extractors, votes and support images."""

from __future__ import annotations

from collections.abc import Iterable

from backend.command.table import table
from backend.command.taught_text import taught_lines
from ovdiff.explaining.explanation import Explanation, Removal, Rival, Source
from ovdiff.segmentation import PartEvidence

_MOST_IMAGES = 6  # of a part prototype; the largest places say enough
_MOST_REMOVED = 5
_RULES = {
    "average": "its cosine with the image is {value:.3f}, and the average caption has {bar:.3f}",
    "limit": "its cosine with the image is {value:.3f}, and the last one that was kept has {bar:.3f}",
    "joint caption": "the best caption with it has the cosine {value:.3f}, and the chosen one {bar:.3f}",
}


def explanation_text(found: Explanation) -> str:
    """Return all that is known about a place, the most important first."""
    parts = [
        verdict(found),
        table(stage_rows(found)),
        *(["\n".join(taught_lines(found))] if found.taught else []),
        *([_clip(found.part)] if found.part else []),
        *([_removed(found)] if found.removed else []),
        _extractors(found),
        _votes(found),
        _sources(found),
    ]
    return "\n\n".join(part for part in parts if part)


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


def _clip(part: PartEvidence) -> str:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in part.shares)
    return f"In this part of the image, {part.by_pixels} by its pixels, CLIP saw {shares}."


def _removed(found: Explanation) -> str:
    lines = [_removal(removal) for removal in found.removed[:_MOST_REMOVED]]
    if len(found.removed) > _MOST_REMOVED:
        lines.append(f"... and {len(found.removed) - _MOST_REMOVED} more, with lower scores at this place.")
    return "\n".join(["The prefilter removed:", *lines])


def _removal(removal: Removal) -> str:
    reason = _RULES[removal.rule].format(value=removal.value, bar=removal.bar)
    would = "it would have won here" if removal.would_have_won else "it would not have won here"
    return f"  {removal.name}: {reason} ({removal.short_by:.3f} short); {would}, with a score of {removal.score:.3f}."


def _extractors(found: Explanation) -> str:
    finalists, leads = found.finalists(), found.leads()
    rows = [("extractor", "votes", "weight", *(found.rivals[place].name for place in finalists), "lead")]
    for name in dict.fromkeys(vote.extractor for vote in found.votes):
        own = [number for number, vote in enumerate(found.votes) if vote.extractor == name]
        weight = sum(found.votes[number].weight for number in own)
        means = [
            sum(found.votes[number].weight * found.votes[number].scores[place] for number in own) / weight
            for place in finalists
        ]
        lead = sum(leads[number] for number in own)
        rows.append((name, str(len(own)), f"{weight:.0%}", *(f"{mean:.3f}" for mean in means), f"{lead:+.3f}"))
    return table(rows)


def _votes(found: Explanation) -> str:
    finalists, leads = found.finalists(), found.leads()
    shares = {place: found.shares(place) for place in finalists}
    heads = [text for place in finalists for text in (f"nearest {found.rivals[place].name}", "cosine", "share")]
    rows = [("vote", "window x,y wxh", "weight", *heads, "lead")]
    for number, vote in enumerate(found.votes):
        cells: list[str] = []
        for place in finalists:
            nearest = vote.nearest.get(found.rivals[place].label, ())
            name = found.title(nearest[0].prototype) + _partly(nearest[0].share) if nearest else "a threshold"
            cosine = nearest[0].cosine if nearest else vote.scores[place]
            cells += [name, f"{cosine:.3f}", f"{shares[place][number]:.0%}"]
        left, top, width, height = vote.box
        box = f"{left},{top} {width}x{height}"
        rows.append((vote.extractor, box, f"{vote.weight:.1%}", *cells, f"{leads[number]:+.3f}"))
    return table(rows)


def _partly(share: float) -> str:
    """Say of how much of a vote a prototype is the nearest, unless it is of all."""
    return "" if share > 0.995 else f" ({share:.0%})"


def _sources(found: Explanation) -> str:
    rows = [("prototype", "extractor", "made of"), *(_source(found, source) for source in found.sources)]
    return table(rows) if found.sources else ""


def _source(found: Explanation, source: Source) -> tuple[str, str, str]:
    name = found.title(source.prototype)
    if not source.places:
        return name, source.prototype.extractor, source.missing
    images = found.support[source.prototype.category].images
    numbers = [f"{images[place.image].number} ({place.cells.mean():.0%})" for place in source.places[:_MOST_IMAGES]]
    more = len(source.places) - len(numbers)
    return name, source.prototype.extractor, f"support image {_listed(numbers)}" + (f", {more} more" if more else "")


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts)
