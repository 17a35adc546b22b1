"""Published figures, with their sources: data in published.toml beside this module. Never imports torch.

Figures of the same dataset and preset are laid beside a result, and those of ablations beside ours. They are in
percent, as the papers print them.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

REFERENCE = ("voc21", "context60")
"""The datasets on which the paper measured its ablations."""


@dataclass(frozen=True)
class PublishedFigure:
    """A figure that somebody published.

    Attributes:
        measure: which: an attribute of :class:`ovdiff.evaluation.sums.Measures`.
        percent: its value in percent.
        source: where it was published.
        short: the same in a word or two, to stand beside the figure.
        spread: the published standard deviation in percent; ``None`` if none was.
    """

    measure: str
    percent: float
    source: str
    short: str
    spread: float | None = None

    def __str__(self) -> str:
        """Return the figure with its source, such as "67.1 (v1)"."""
        return f"{self.percent:.1f} ({self.short})"


def published_figures(dataset: str, preset: Mapping[str, Any]) -> tuple[PublishedFigure, ...]:
    """Return what is published of a dataset and a preset, in the order of the data; () if nothing is.

    Args:
        dataset: the dataset's name.
        preset: the preset's fields: its name, and whether it has PAMR, must be those of the publication.
    """
    pamr = preset.get("refine", {}).get("pamr")
    found = []
    for table in _data()["figures"]:
        same = table["preset"] == preset.get("name") and table.get("with_pamr", pamr) == pamr
        if same and dataset in table["values"]:
            found.append(_figure(table, dataset))
    return tuple(found)


def published_ablation(row: str, dataset: str) -> PublishedFigure | None:
    """Return the published mIoU of a row of the ablation on a dataset; ``None`` if it was not published."""
    table = _data()["ablation"].get(row)
    if table is None or dataset not in table["values"]:
        return None
    return _figure({"measure": "miou", **table}, dataset)


def ablated_rows() -> tuple[str, ...]:
    """Return the names of the rows of which an ablation was published."""
    return tuple(_data()["ablation"])


def published_text(dataset: str, preset: Mapping[str, Any], measure: str = "miou") -> str:
    """Return what is published as text, such as "67.1 (v1), 66.3 (ECCV, quoted)"; "" if nothing is."""
    return ", ".join(str(each) for each in published_figures(dataset, preset) if each.measure == measure)


def _figure(table: Mapping[str, Any], dataset: str) -> PublishedFigure:
    source = table["source"]
    return PublishedFigure(
        table["measure"],
        float(table["values"][dataset]),
        _data()["sources"][source],
        _data()["short"][source],
        table.get("spreads", {}).get(dataset),
    )


@cache
def _data() -> dict[str, Any]:
    text = resources.files("ovdiff.evaluation").joinpath("published.toml").read_text("utf-8")
    return tomllib.loads(text)
