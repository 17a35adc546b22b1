"""An explanation as plain values, for JSON: figures and names, and of support images their numbers and shares."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ovdiff.explaining.explanation import Explanation, Nearest, Prototype, Source
from ovdiff.explaining.taught import Taught


def explanation_to_mapping(found: Explanation) -> dict[str, Any]:
    """Return an explanation as mappings, lists, texts and numbers. Pictures and maps are left out."""
    rivals = [rival.name for rival in found.rivals]
    return {
        "label": found.label,
        "winner": rivals[found.winner],
        "runner_up": None if found.runner_up is None else rivals[found.runner_up],
        "pixels": int(found.mask.sum()),
        "rivals": [
            {"name": rival.name, "asked": not rival.is_anchor, "score": rival.score} for rival in found.rivals
        ],
        "stages": [
            {
                "stage": stage.name,
                "label": found.name(stage.label),
                "share": stage.share,
                "changed": stage.changed,
                "scores": dict(zip(rivals, stage.scores, strict=False)),
            }
            for stage in found.stages
        ],
        "votes": _votes(found),
        "prefilter_removed": [
            {
                "name": removal.name,
                "asked": not removal.is_anchor,
                "rule": removal.rule,
                "value": removal.value,
                "bar": removal.bar,
                "short_by": removal.short_by,
                "score": removal.score,
                "would_have_won": removal.would_have_won,
            }
            for removal in found.removed
        ],
        "clip_saw": None
        if found.part is None
        else {"by_pixels": found.part.by_pixels, "became": found.part.became, "shares": dict(found.part.shares)},
        "lessons": None if found.taught is None else _taught(found.taught),
        "prototypes": [_source(found, source) for source in found.sources],
    }  # fmt: skip


def _taught(taught: Taught) -> dict[str, Any]:
    def by_group(values: Sequence[float]) -> dict[str, float]:
        return dict(zip([group.name for group in taught.groups], values, strict=True))

    return {
        "lessons": taught.lessons,
        "cosine_per_nat": taught.weight,
        "groups": [
            {
                "name": group.name,
                "words": list(group.words),
                "competes": group.competes,
                "log_share": group.log_share,
                "share": group.share,
            }
            for group in taught.groups
        ],
        "extractors": [
            {
                "extractor": each.name,
                "used": each.used,
                "right_without": each.before,
                "right_with": each.after,
                "why_not": each.why_not,
                "shares": by_group(each.shares) if each.used else None,
            }
            for each in taught.extractors
        ],
        "most_alike": [
            {"word": each.word, "cosine": each.cosine, "cosines": dict(each.cosines), **asdict(each.source)}
            for each in taught.alike
        ],
        "clip_would_have_seen": None if taught.part_without is None else dict(taught.part_without.shares),
    }


def _votes(found: Explanation) -> list[dict[str, Any]]:
    rivals = [rival.name for rival in found.rivals]
    shares = {place: found.shares(place) for place in found.finalists()}
    votes = []
    for number, (vote, lead) in enumerate(zip(found.votes, found.leads(), strict=True)):
        nearest: Mapping[str, Any] = {
            rivals[place]: {
                "share_of_score": shares[place][number],
                "nearest": [_nearest(found, each) for each in vote.nearest.get(found.rivals[place].label, ())],
            }
            for place in found.finalists()
        }
        votes.append({
            "extractor": vote.extractor,
            "window_xywh": list(vote.box),
            "weight": vote.weight,
            "scores": dict(zip(rivals, vote.scores, strict=True)),
            "lead": lead,
            "finalists": nearest,
        })  # fmt: skip
    return votes


def _nearest(found: Explanation, nearest: Nearest) -> dict[str, Any]:
    return {**_prototype(found, nearest.prototype), "share": nearest.share, "cosine": nearest.cosine}


def _prototype(found: Explanation, prototype: Prototype) -> dict[str, Any]:
    return {
        "title": found.title(prototype),
        "category": prototype.category,
        "side": prototype.side,
        "kind": prototype.kind,
        "number": prototype.number,
    }


def _source(found: Explanation, source: Source) -> dict[str, Any]:
    images = []
    for place in source.places:
        item = found.support[source.prototype.category].images[place.image]
        images.append({"image": item.number, "seed": item.seed, "share_of_image": float(place.cells.mean())})
    extractor = source.prototype.extractor
    return {"extractor": extractor, **_prototype(found, source.prototype), "images": images, "missing": source.missing}
