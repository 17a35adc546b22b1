"""What lessons say at a place, in a few lines."""

from __future__ import annotations

from ovdiff.bank.lessons import LessonSource
from ovdiff.explaining.explanation import Explanation
from ovdiff.explaining.taught import AlikeLesson, Taught, TaughtExtractor


def taught_lines(found: Explanation) -> list[str]:
    """Return what lessons say: the groups, each extractor, the lessons most like the place, and crops; [] if none."""
    taught = found.taught
    if taught is None:
        return []
    return [
        _groups(found, taught),
        *_extractors(found, taught),
        *([f"Most alike: {'; '.join(map(_alike, taught.alike))}."] if taught.alike else []),
        *_crops(taught),
    ]


def _groups(found: Explanation, taught: Taught) -> str:
    whose = "1 lesson says" if taught.lessons == 1 else f"{taught.lessons} lessons say"
    told = _told(found, taught)
    if not told:
        return f"{whose} nothing here: two groups that compete are not both known from annotations."
    shares = ", ".join(f"{taught.groups[place].name} {taught.groups[place].share:.0%}" for place in told)
    return f"{whose}: {shares}. Of two groups the one whose share is 2.7 times the other's gains {taught.weight:.3f}."


def _told(found: Explanation, taught: Taught) -> list[int]:
    """Return the places of the groups that are told: the favoured one, and then those of the finalists."""
    favoured = taught.favoured()
    if favoured is None:
        return []
    names = [found.rivals[place].name for place in found.finalists()]
    wanted = [favoured, *(group for name in names for group in taught.groups if name in group.words)]
    return [taught.groups.index(group) for group in dict.fromkeys(wanted) if group.competes]


def _extractors(found: Explanation, taught: Taught) -> list[str]:
    told = _told(found, taught)
    several = len(taught.extractors) > 1
    return [_extractor(each, taught, told) for each in taught.extractors if (several and told) or not each.used]


def _extractor(each: TaughtExtractor, taught: Taught, told: list[int]) -> str:
    if not each.used:
        return f"  by {each.name}: not used. {each.why_not}"
    shares = ", ".join(f"{taught.groups[place].name} {each.shares[place]:.0%}" for place in told)
    return f"  by {each.name}: {shares}"


def _alike(lesson: AlikeLesson) -> str:
    return f"{lesson.word} in {_place(lesson.source)}, cosine {lesson.cosine:.2f}"


def _place(source: LessonSource) -> str:
    """Return where a lesson comes from, as far as it is known."""
    numbers = [("task", source.task), ("annotation", source.annotation), ("project", source.project)]
    known = [f"{name} {number}" for name, number in numbers if number]
    known += [source.image] if source.image else []
    place = f"{known[0]} ({', '.join(known[1:])})" if len(known) > 1 else "".join(known) or "an image without a name"
    return f"{place} by {source.person}" if source.person else place


def _crops(taught: Taught) -> list[str]:
    if taught.part_without is None:
        return []
    shares = ", ".join(f"{name} {share:.0%}" for name, share in taught.part_without.shares)
    return [f"Without annotated crops CLIP would have seen {shares} in this part."]
