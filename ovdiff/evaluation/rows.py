"""The rows of an ablation: a preset with something changed, under a name. Data; nothing runs here. Never imports torch.

A row is compared with another one, its reference: ``full`` is the preset as it is, ``paper`` the published method on
Stable Diffusion's features alone, on which the paper measured its own ablation.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ovdiff.engines import EnginePreset
from ovdiff.engines.contract import WithoutBackground
from ovdiff.engines.registry import mapping_to_any_preset
from ovdiff.errors import EvaluationError, PresetError
from ovdiff.presets.preset import preset_to_mapping

Changes = Mapping[str, Any]
"""Fields of a preset, as TOML nests them: ``{"prefilter": {"enabled": False}}``."""

FULL, PAPER = "full", "paper"
SEEDS = (42, 43, 44)
_MOST_IMAGES = 2
"""Rows of the family "n" that draw more than so many times the preset's images are left out unless they are named."""

PUBLISHED: Changes = {
    "anchors": {"words": [], "prototypes": []},
    "part_check": {"enabled": False},
    "prefilter": {"enabled": True, "subsets": True},
    "refine": {"pamr": False},
    "lessons": {"enabled": False},
    "matching": {"extractors": ["stable_diffusion"]},
}
"""What turns a preset into the published method on Stable Diffusion's features alone."""


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: as the command line spells it.
        family: the rows that change the same thing.
        title: what it is, in a few words.
        changes: what it changes of the preset; a function gets the preset's fields and returns the changes.
        against: the name of the row that it is compared with.
        on_request: whether it is measured only if its name or its family is given.
    """

    name: str
    family: str
    title: str
    changes: Changes | Callable[[Mapping[str, Any]], Changes] = field(compare=False)
    against: str = FULL
    on_request: bool = False


@dataclass(frozen=True)
class Variant:
    """A row on a preset.

    Attributes:
        row: the row.
        preset: the changed preset, named after the row.
        same_as: the name of an earlier row whose preset is the same, so that its figures are this row's; "" if none is.
    """

    row: Row
    preset: EnginePreset
    same_as: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A row that is not measured, and why."""

    name: str
    why: str


def with_changes(under: Changes, over: Changes) -> dict[str, Any]:
    """Return changes of which the second win."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = with_changes(below, value) if both else value  # type: ignore[arg-type]
    return merged


def changed(preset: EnginePreset, changes: Changes, name: str) -> EnginePreset:
    """Return a preset with some fields changed and another name.

    Raises:
        PresetError: the preset has no such field, or its value is impossible with the others.
    """
    fields = preset_to_mapping(preset)
    missing = _missing(fields, changes)
    if missing:
        raise PresetError(f"a preset of the engine {preset.engine!r} has no {missing}")
    try:
        return mapping_to_any_preset({**with_changes(fields, changes), "name": name}, "")
    except PresetError as error:
        raise PresetError(str(error).removeprefix(": ").rstrip(".")) from error


def variants(
    preset: EnginePreset, wanted: Sequence[str] = (), *, background: bool = True
) -> tuple[tuple[Variant, ...], tuple[LeftOut, ...]]:
    """Return the rows that a preset can have, and those that it cannot.

    Args:
        preset: the preset.
        wanted: names of rows or families; () takes all but those on request. References of them are added.
        background: whether the dataset counts background; if not, every row gives each pixel a category.

    Raises:
        EvaluationError: a name is no row's and no family's.
    """
    found, values = list[Variant](), list[dict[str, Any]]()
    left_out: list[LeftOut] = []
    for row in _chosen(wanted):
        try:
            if not wanted:
                _require_usual(row, preset)
            variant = _variant(row, preset, background)
        except PresetError as error:
            left_out.append(LeftOut(row.name, str(error)))
            continue
        own = preset_to_mapping(variant) | {"name": ""}
        found.append(Variant(row, variant, found[values.index(own)].row.name if own in values else ""))
        values.append(own)
    return tuple(found), tuple(left_out)


def row_names() -> tuple[str, ...]:
    """Return the names of all rows, in the table's order."""
    return tuple(ROWS)


def families() -> tuple[str, ...]:
    """Return the names of all families, in the table's order."""
    return tuple(dict.fromkeys(row.family for row in ROWS.values()))


def _variant(row: Row, preset: EnginePreset, background: bool) -> EnginePreset:
    changes = row.changes(preset_to_mapping(preset)) if callable(row.changes) else row.changes
    found = preset if not changes else changed(preset, changes, f"{preset.name}: {row.name}")
    if background:
        return found
    if not isinstance(found, WithoutBackground):
        raise PresetError(f"the engine {preset.engine!r} cannot give every pixel a category")
    return found.without_background()


def _chosen(wanted: Sequence[str]) -> list[Row]:
    if not wanted:
        return [row for row in ROWS.values() if not row.on_request]
    unknown = [name for name in wanted if name not in ROWS and name not in families()]
    if unknown:
        raise EvaluationError(
            f"There is no row {unknown[0]!r}. Families: {', '.join(families())}. Rows: {', '.join(ROWS)}."
        )
    asked = {row.name for row in ROWS.values() if row.name in wanted or row.family in wanted}
    asked |= {ROWS[name].against for name in asked}
    return [row for row in ROWS.values() if row.name in asked]


def _require_usual(row: Row, preset: EnginePreset) -> None:
    """Refuse a row that would draw much more than the preset does, unless it was named."""
    if row.family != "n" or callable(row.changes):
        return
    usual = preset_to_mapping(preset).get("generation", {}).get("images")
    asked = row.changes["generation"]["images"]
    if usual is not None and asked > _MOST_IMAGES * usual:
        raise PresetError(f"it draws {asked} images a category, and the preset {usual}; name it with --rows to have it")


def _missing(fields: Mapping[str, Any], changes: Changes, path: str = "") -> str:
    """Return the path of a changed field that a preset lacks; "" if there is none."""
    for key, value in changes.items():
        if key not in fields:
            return f"[{key}]" if isinstance(value, Mapping) else f"{path}{key}"
        if isinstance(value, Mapping):
            found = _missing(fields[key], value, f"{key}.")
            if found:
                return found
    return ""


def _scaled(share: float) -> Callable[[Mapping[str, Any]], Changes]:
    """Return changes that make the working image smaller or larger than the windows."""

    def changes(fields: Mapping[str, Any]) -> Changes:
        windows = fields.get("windows", {"short_side_px": 0, "crops_px": []})
        short = round(windows["short_side_px"] * share)
        crops = [[min(crop, short), min(stride, short)] for crop, stride in windows["crops_px"]]
        return {"windows": {"short_side_px": short, "crops_px": crops}}

    return changes


def _crops(*places: int) -> Callable[[Mapping[str, Any]], Changes]:
    """Return changes that keep some of the sizes of windows, largest first, and the whole image."""

    def changes(fields: Mapping[str, Any]) -> Changes:
        crops = fields.get("windows", {}).get("crops_px", [])
        if len(crops) < 2:
            raise PresetError("the preset has one size of windows alone")
        return {"windows": {"crops_px": [crops[place] for place in places]}}

    return changes


def _with_mid_block(fields: Mapping[str, Any]) -> Changes:
    layers = fields.get("extractors", {}).get("stable_diffusion", {}).get("layers", [])
    return {"extractors": {"stable_diffusion": {"layers": [*layers, "mid_block.attentions.0"]}}}


def _voters(*names: str) -> Changes:
    return {"matching": {"extractors": list(names)}}


_SD, _CLIP, _DINO = "stable_diffusion", "clip", "dino"
_CLASS, _INSTANCE, _PART = "class", "instance", "part"
_NO_WINDOWS: Changes = {"windows": {"crops_px": [], "whole_image": True}}
_ON: Changes = {"enabled": True}
_OFF: Changes = {"enabled": False}
_SETS = {
    "sd": ("SD", (_SD,)),
    "clip": ("CLIP", (_CLIP,)),
    "dino": ("DINO", (_DINO,)),
    "dinov2": ("DINOv2", ("dinov2",)),
    "dinov3": ("DINOv3", ("dinov3",)),
    "mae": ("MAE", ("mae",)),
    "sd-clip": ("SD + CLIP", (_SD, _CLIP)),
    "sd-dino": ("SD + DINO", (_SD, _DINO)),
    "dino-clip": ("DINO + CLIP", (_DINO, _CLIP)),
    "sd-dino-clip": ("SD + DINO + CLIP", (_SD, _DINO, _CLIP)),
}
_KINDS = {
    "class": (_CLASS,),
    "instance": (_INSTANCE,),
    "part": (_PART,),
    "class-instance": (_CLASS, _INSTANCE),
    "class-part": (_CLASS, _PART),
    "instance-part": (_INSTANCE, _PART),
    "class-instance-part": (_CLASS, _INSTANCE, _PART),
}


def _paper_rows() -> Iterable[Row]:
    """Yield the rows of the paper's own table, each on the published method."""
    without: dict[str, tuple[str, Changes]] = {
        "no-background": ("no background prototypes, a threshold of .75", _background_threshold(0.75)),
        "no-prefilter": ("no category prefilter", {"prefilter": _OFF}),
        "no-stuff-filter": ("no stuff filter", {"stuff_filter": _OFF}),
        "no-proposals": ("no proposals: attribution by multi-Otsu", {"proposals": {"source": "multi_otsu"}}),
        "no-windows": ("no sliding windows", _NO_WINDOWS),
        "class-only": ("class prototypes alone", {"matching": {"kinds": [_CLASS]}}),
    }
    yield Row(PAPER, PAPER, "the published method, SD alone", PUBLISHED, PAPER)
    for name, (title, changes) in without.items():
        yield Row(f"paper-{name}", PAPER, title, with_changes(PUBLISHED, changes), PAPER)
    for name in ("clip", "dino", "sd-dino-clip"):
        title, voters = _SETS[name]
        yield Row(f"paper-{name}", PAPER, f"{title} in place of SD", with_changes(PUBLISHED, _voters(*voters)), PAPER)
    for parts in (8, 16, 32, 64):
        changes = with_changes(PUBLISHED, {"prototypes": {"parts": parts}})
        yield Row(f"paper-k-{parts}", PAPER, f"K = {parts} parts", changes, PAPER)


def _background_threshold(cosine: float) -> Changes:
    return {"matching": {"background": "threshold", "background_threshold": cosine}}


def _part_rows() -> Iterable[Row]:
    """Yield the rows that put a part of the preset off, or on if it is off."""
    rows: dict[str, tuple[str, Changes]] = {
        "no-background": ("no background prototypes, a threshold of .75", _background_threshold(0.75)),
        "no-prefilter": ("no category prefilter", {"prefilter": _OFF}),
        "prefilter": ("category prefilter", {"prefilter": {"enabled": True, "subsets": True}}),
        "prefilter-no-subsets": ("prefilter without subsets", {"prefilter": {"enabled": True, "subsets": False}}),
        "prefilter-5": ("prefilter of five words at most", {"prefilter": {"enabled": True, "max_categories": 5}}),
        "no-stuff-filter": ("no stuff filter", {"stuff_filter": _OFF}),
        "no-windows": ("no sliding windows", _NO_WINDOWS),
        "pamr": ("PAMR", {"refine": {"pamr": True}}),
        "no-pamr": ("no PAMR", {"refine": {"pamr": False}}),
        "no-anchors": ("no anchors", {"anchors": {"words": [], "prototypes": []}}),
        "no-part-check": ("no part check", {"part_check": _OFF}),
        "part-check": ("part check", {"part_check": _ON}),
        "part-check-parts": ("part check of parts alone", {"part_check": {"enabled": True, "region_weight": 0.0}}),
        "part-check-regions": ("part check of regions alone", {"part_check": {"enabled": True, "part_weight": 0.0}}),
        "no-lessons": ("no lessons", {"lessons": _OFF}),
    }
    yield Row(FULL, "parts", "the preset as it is", {})
    for name, (title, changes) in rows.items():
        yield Row(name, "parts", title, changes)


def _other_rows() -> Iterable[Row]:
    for name, (title, voters) in _SETS.items():
        yield Row(name, "extractors", title, _voters(*voters))
    for name, kinds in _KINDS.items():
        yield Row(f"kinds-{name}", "kinds", " + ".join(kinds), {"matching": {"kinds": list(kinds)}})
    for parts in (2, 4, 8, 16, 32, 64):
        yield Row(f"k-{parts}", "k", f"K = {parts} parts", {"prototypes": {"parts": parts}})
    for images in (1, 2, 4, 8, 16, 32, 64, 128):
        yield Row(f"n-{images}", "n", f"N = {images} support images", {"generation": {"images": images}})
    for source in ("otsu", "multi_otsu", "fixed", "maskcut", "cutler"):
        name = source.replace("_", "-")
        yield Row(f"proposals-{name}", "proposals", f"proposals: {name}", {"proposals": {"source": source}})
    yield Row("windows-large", "windows", "the larger windows alone", _crops(0))
    yield Row("windows-small", "windows", "the smaller windows alone", _crops(-1))
    yield Row("windows-no-whole", "windows", "windows without the whole image", {"windows": {"whole_image": False}})
    yield Row("windows-coarse", "windows", "a working image of 3/4 the size", _scaled(0.75))
    yield Row("windows-fine", "windows", "a working image of 3/2 the size", _scaled(1.5))
    for step in (50, 100, 200, 400):
        changes = {"extractors": {"stable_diffusion": {"timestep": step}}}
        yield Row(f"t-{step}", "features", f"SD's features at t = {step}", changes, on_request=True)
    yield Row("mid-block", "features", "SD's mid block besides", _with_mid_block, on_request=True)


ROWS: dict[str, Row] = {row.name: row for row in (*_part_rows(), *_paper_rows(), *_other_rows())}
"""All rows by name, in the table's order; a row that others are compared with comes before them."""
