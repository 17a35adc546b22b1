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

from ovdiff.engines import load_any_preset
from ovdiff.engines.contract import WithoutBackground
from ovdiff.evaluation.catalogue import dataset_kind
from ovdiff.evaluation.result import Result
from ovdiff.presets.preset import preset_to_mapping

_NEUTRAL = ("name", "cache", "memory")
"""The fields of presets, or tables of them, that change no figure."""
_PAMR = "refine.pamr"

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
        preset: the preset's fields: they must be those of the built-in preset of its name, but for what changes no
            figure. With and without PAMR there are figures of their own.
    """
    found = figures_of_name(dataset, preset, preset.get("name", ""))
    if found and set(differing_fields(dataset, preset, preset["name"])) <= {_PAMR}:
        return found
    return ()


def figures_of_name(dataset: str, preset: Mapping[str, Any], published: str) -> tuple[PublishedFigure, ...]:
    """Return what is published of a dataset and a built-in preset, with PAMR if a preset has it.

    Args:
        dataset: the dataset's name.
        preset: a preset's fields, which may be another's.
        published: the name of the built-in preset.
    """
    pamr = preset.get("refine", {}).get("pamr")
    return tuple(
        _figure(table, dataset)
        for table in _data()["figures"]
        if table["preset"] == published and table.get("with_pamr", pamr) == pamr and dataset in table["values"]
    )


def differing_fields(dataset: str, preset: Mapping[str, Any], published: str) -> list[str]:
    """Return the paths of a preset's fields that differ from a built-in preset's and may change a figure.

    Args:
        dataset: the dataset's name. If it has no background, the built-in preset without background is meant too.
        preset: the preset's fields.
        published: the name of the built-in preset.
    """
    own = load_any_preset(published)
    others = [own]
    if isinstance(own, WithoutBackground) and not dataset_kind(dataset).counts_background:
        others.append(own.without_background())
    found = (_different(preset, preset_to_mapping(other)) for other in others)
    return min(([path for path in paths if path.split(".")[0] not in _NEUTRAL] for paths in found), key=len)


def published_beside(result: Result, measure: str = "miou") -> str:
    """Return as text what is published of what a result measured; "" if nothing is.

    A part of a split, and a split whose categories were asked for by other words, is not what was published.
    """
    text = published_text(result.dataset["name"], result.preset["fields"], measure)
    return text if text and is_whole_split(result) else ""


def is_whole_split(result: Result) -> bool:
    """Return whether a result is of all the images of a known split, and of the words that the papers use."""
    kind = dataset_kind(result.dataset["name"])
    words = [(each.name, list(each.phrases)) for each in kind.categories]
    asked = [(each["name"], list(each["prompts"])) for each in result.categories]
    return len(result.images) == kind.image_count and asked == words


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


def _different(one: Any, other: Any, path: str = "") -> list[str]:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return [] if one == other else [path]
    found = []
    for key in dict.fromkeys((*one, *other)):
        below = f"{path}.{key}" if path else key
        found += _different(one.get(key), other.get(key), below)
    return found


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
