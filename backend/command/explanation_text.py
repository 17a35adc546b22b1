"""An explanation as text for a terminal: the verdict, then tables of steps, extractors, votes and support images."""

from __future__ import annotations

from collections.abc import Iterable

from backend.command.table import table
from backend.presentation.taught_text import taught_lines
from backend.presentation.verdict import clip_sentence, removal_sentences, stage_rows, verdict
from ovdiff.explaining.explanation import Explanation, Source

_MOST_IMAGES = 6  # of a part prototype; the largest places say enough


def explanation_text(found: Explanation) -> str:
    """Return all that is known about a place, the most important first."""
    parts = [
        verdict(found),
        table(stage_rows(found)),
        *(["\n".join(taught_lines(found))] if found.taught else []),
        *([clip_sentence(found.part)] if found.part else []),
        *(["\n  ".join(["The prefilter removed:", *removal_sentences(found)])] if found.removed else []),
        _extractors(found),
        _votes(found),
        _sources(found),
    ]
    return "\n\n".join(part for part in parts if part)


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
