"""The table of an ablation: each row's mIoU over seeds, its difference to its reference, and what was published.

Differences are taken seed by seed, so what a seed gives to both rows does not count. They are in points of mIoU: a
point is .01. Never imports torch.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ovdiff.errors import EvaluationError
from ovdiff.evaluation.published import REFERENCE, published_ablation
from ovdiff.evaluation.result import Result, read_result
from ovdiff.evaluation.rows import LeftOut, Variant
from ovdiff.evaluation.shared_work import Job

MEASURES = {
    "miou": "mIoU",
    "boundary_iou": "boundary IoU",
    "pixel_accuracy": "pixel accuracy",
    "pq": "PQ",
    "ap": "AP",
}
_POINTS = 100.0


@dataclass(frozen=True)
class Spread:
    """A figure over seeds.

    Attributes:
        mean: the mean.
        deviation: the standard deviation over the seeds; ``None`` of one seed.
    """

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class TableRow:
    """A row of the table.

    Attributes:
        name, family, title, against: see :class:`ovdiff.evaluation.rows.Row`.
        same_as: the row whose preset is the same; its figures stand here.
        seeds: how many seeds were measured.
        images: how many images each seed was measured on; the fewest, if they differ.
        figures: each of :data:`MEASURES` that was measured, as a share, and "absent painted".
        difference: points of mIoU above the reference, seed by seed; ``None`` of a reference.
        published: the published mIoU in percent, by dataset.
        published_difference: the published points above the reference, by dataset.
    """

    name: str
    family: str
    title: str
    against: str
    same_as: str
    seeds: int
    images: int
    figures: Mapping[str, Spread]
    difference: Spread | None
    published: Mapping[str, float]
    published_difference: Mapping[str, float]


@dataclass(frozen=True)
class AblationTable:
    """An ablation's rows, and the rows that were left out, with the reason.

    Attributes:
        dataset: the dataset's name.
        preset: the preset's name.
        rows: the rows that have figures.
        left_out: the others.
    """

    dataset: str
    preset: str
    rows: tuple[TableRow, ...]
    left_out: tuple[LeftOut, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON's types."""
        return asdict(self)


def json_to_table(data: Mapping[str, Any]) -> AblationTable:
    """Read what :meth:`AblationTable.to_json` returned."""

    def spread(given: Mapping[str, Any] | None) -> Spread | None:
        return None if given is None else Spread(**given)

    rows = tuple(
        TableRow(
            **{
                **row,
                "figures": {name: Spread(**figure) for name, figure in row["figures"].items()},
                "difference": spread(row["difference"]),
            }
        )
        for row in data["rows"]
    )
    return AblationTable(data["dataset"], data["preset"], rows, tuple(LeftOut(**each) for each in data["left_out"]))


def make_table(
    dataset: str, preset: str, found: Sequence[Variant], jobs: Sequence[Job], left_out: Iterable[LeftOut]
) -> AblationTable:
    """Read the results of the jobs, and lay them side by side.

    Args:
        dataset: the dataset's name.
        preset: the preset's name.
        found: the rows.
        jobs: the rows with their seeds; those without a result are left out.
        left_out: the rows that have no job, and why.
    """
    results = _results(jobs)
    missing = [LeftOut(each.row.name, "it has no result yet") for each in found if _source(each) not in results]
    named = {each.name for each in left_out}
    sources = {each.row.name: _source(each) for each in found}
    rows = tuple(
        _row(dataset, each, results[source], results.get(sources.get(each.row.against, ""), {}))
        for each in found
        if (source := sources[each.row.name]) in results
    )
    return AblationTable(dataset, preset, rows, (*left_out, *(each for each in missing if each.name not in named)))


def markdown(table: AblationTable, families: Collection[str] = ()) -> str:
    """Return the table as Markdown: a part for each family, or for those that are named, without what was left out."""
    parts = []
    for family in dict.fromkeys(row.family for row in table.rows):
        rows = [row for row in table.rows if row.family == family]
        if not families or family in families:
            parts.append(_family(table.dataset, family, rows))
    if table.left_out and not families:
        lines = [f"- `{each.name}`: {each.why}" for each in table.left_out]
        parts.append("\n".join(["Left out:", "", *lines]))
    return "\n\n".join(parts) + "\n"


def _results(jobs: Sequence[Job]) -> dict[str, dict[int | None, Result]]:
    found: dict[str, dict[int | None, Result]] = {}
    for job in jobs:
        result = _result(job.folder)
        if result is not None:
            found.setdefault(job.row.name, {})[job.seed] = result
    return found


def _result(folder: Path) -> Result | None:
    try:
        return read_result(folder)
    except EvaluationError:  # the row was interrupted, or could not be built
        return None


def _source(variant: Variant) -> str:
    return variant.same_as or variant.row.name


def _row(
    dataset: str, variant: Variant, own: Mapping[int | None, Result], reference: Mapping[int | None, Result]
) -> TableRow:
    """Return a row with the results of its own seeds and of its reference's."""
    row, figures = variant.row, {}
    for key in (*MEASURES, "absent painted"):
        values = [_figure(result, key) for result in own.values()]
        known = [value for value in values if value is not None]
        if known:
            figures[key] = _spread(known)
    published = {
        name: figure.percent for name in _columns(dataset) if (figure := published_ablation(row.name, name)) is not None
    }
    against = {name: published_ablation(row.against, name) for name in published}
    return TableRow(
        row.name,
        row.family,
        row.title,
        row.against,
        variant.same_as,
        len(own),
        min(len(result.images) for result in own.values()),
        figures,
        None if row.against == row.name else _difference(own, reference),
        published,
        {
            name: round(percent - figure.percent, 2)
            for name, percent in published.items()
            if (figure := against[name]) is not None and row.against != row.name
        },
    )


def _columns(dataset: str) -> tuple[str, ...]:
    """Return the datasets whose published figures stand beside ours: the same, or those of the paper's ablation."""
    return (dataset,) if published_ablation("paper", dataset) is not None else REFERENCE


def _figure(result: Result, key: str) -> float | None:
    if key == "absent painted":
        words = (result.measures.get("words") or {}).get("all")
        found: float | None = None if words is None else words[key]
        return found
    value: float | None = result.measures.get(key)
    return value


def _difference(own: Mapping[int | None, Result], other: Mapping[int | None, Result]) -> Spread | None:
    pairs = [(_figure(own[seed], "miou"), _figure(other[seed], "miou")) for seed in own if seed in other]
    if not pairs and len(other) == 1:  # the reference draws nothing, so it has no seeds
        (only,) = other.values()
        pairs = [(_figure(each, "miou"), _figure(only, "miou")) for each in own.values()]
    values = [_POINTS * (one - two) for one, two in pairs if one is not None and two is not None]
    return _spread(values) if values else None


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.mean(values)), float(np.std(values)) if len(values) > 1 else None)


def _family(dataset: str, family: str, rows: Sequence[TableRow]) -> str:
    columns = [name for name in _columns(dataset) if any(name in row.published for row in rows)]
    head = [family, "mIoU", "difference, points", "boundary IoU", "PQ", "absent painted"]
    head += [text for name in columns for text in (f"published, {name}", "difference")]
    lines = [head, ["---", *["--:"] * (len(head) - 1)]]
    for row in rows:
        title = f"{row.title} (`{row.name}`)" if not row.same_as else f"{row.title} (is `{row.same_as}`)"
        cells = [title, _share(row.figures.get("miou")), _points(row.difference)]
        cells += [_share(row.figures.get(key)) for key in ("boundary_iou", "pq", "absent painted")]
        for name in columns:
            cells += [_percent(row.published.get(name)), _signed(row.published_difference.get(name))]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    text = f"{spread.mean:.3f}".replace("0.", ".", 1)
    return text if spread.deviation is None else f"{text} ± {spread.deviation:.3f}".replace("± 0.", "± .")


def _points(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    return f"{spread.mean:+.1f}" if spread.deviation is None else f"{spread.mean:+.1f} ± {spread.deviation:.1f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f}"
