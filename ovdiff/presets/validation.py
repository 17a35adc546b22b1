"""The checks of a preset: which values and combinations of values make sense. Loads no model."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ovdiff.errors import PresetError
from ovdiff.presets.building_settings import LCM_STEPS
from ovdiff.presets.mapping import entries
from ovdiff.presets.needs import EXTRACTORS, PROPOSALS, needs, object_part, parts_in_use
from ovdiff.presets.schema import PresetTables
from ovdiff.presets.segmenting_settings import AnchorSettings, WindowSettings


def validate(preset: PresetTables) -> None:
    """Check every bound of the schema, and the rules that concern several fields.

    Raises:
        PresetError: a value breaks a bound or a rule. The message names the field, its value and what is expected.
    """
    check_bounds(preset)
    for problem in _problems(preset):
        raise PresetError(f"Preset {preset.name!r}: {problem}")


def check_bounds(settings: Any, path: str = "") -> None:
    """Check the bounds of every number in a table and in the tables under it.

    Args:
        settings: a dataclass whose fields are declared by :func:`ovdiff.presets.fields.setting`.
        path: of the table in its preset, such as "extractors.".

    Raises:
        PresetError: a number is out of bounds, or is no number.
    """
    for entry in entries(settings):
        value, name = entry.value, f"{path}{entry.name}"
        if dataclasses.is_dataclass(value):
            check_bounds(value, f"{name}.")
            continue
        metadata = entry.declared.metadata if entry.declared is not None else {}
        lower, upper = metadata.get("minimum"), metadata.get("maximum")
        for number in _numbers(value):
            if math.isnan(number):  # TOML has nan, and the comparison of nan with a bound is always false.
                raise PresetError(f"{name} is {value!r}; expected a number.")
            if (lower is not None and number < lower) or (upper is not None and number > upper):
                unit = metadata.get("unit") or "no unit"
                raise PresetError(f"{name} is {value!r}; expected {_range(lower, upper)} ({unit}).")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _range(lower: float | None, upper: float | None) -> str:
    if upper is None:
        return f"at least {lower}"
    return f"at most {upper}" if lower is None else f"{lower} to {upper}"


def _problems(preset: PresetTables) -> Iterator[str]:
    yield from _text_problems(preset)
    yield from _name_problems(preset)
    yield from _instance_problems(preset)
    yield from _model_problems(preset)
    yield from _choice_problems(preset)
    yield from _generation_problems(preset)
    yield from window_problems(preset.windows)


def _text_problems(preset: PresetTables) -> Iterator[str]:
    for name, template in (
        ("generation.prompt_template", preset.generation.prompt_template),
        ("prefilter.template", preset.prefilter.template),
    ):
        if template.count("{category}") != 1:
            yield f"{name} is {template!r}; it must contain '{{category}}' exactly once."
    names = [name.casefold() for name, _ in preset.generation.phrases]
    if len(set(names)) < len(names):
        yield "generation.phrases gives a name twice; name each once."
    if any(not text.strip() for pair in preset.generation.phrases for text in pair):
        yield "generation.phrases has a blank name or phrase."
    yield from _anchor_problems(preset.anchors)
    if preset.part_check.enabled and not preset.part_check.crops_wider:
        yield "part_check.crops_wider is empty; give at least one number, or set part_check.enabled to false."


def _anchor_problems(anchors: AnchorSettings) -> Iterator[str]:
    for field, words in (("anchors.words", anchors.words), ("anchors.prototypes", anchors.prototypes)):
        if any(not word.strip() for word in words):
            yield f"{field} has a blank word; remove it."
        counts = Counter(word.casefold() for word in words)
        if twice := [word for word, count in counts.items() if count > 1]:
            yield f"{field} has {twice[0]!r} more than once; name each word once."


def _name_problems(preset: PresetTables) -> Iterator[str]:
    """Check the names of parts before the models, because the needs of a part are known only if the part exists."""
    for field, parts, names in (
        ("extractors.use", EXTRACTORS, preset.extractors.use),
        ("proposals.source", PROPOSALS, (preset.proposals.source,)),
        ("instances.source", PROPOSALS, (preset.instances.source,) if preset.instances.source else ()),
    ):
        for name in names:
            if name not in parts:
                known = ", ".join(map(repr, parts.names()))
                yield (
                    f"{field} names {name!r}; expected one of {known}. Another package may add it by the entry point "
                    f"group {parts.group!r}; is that package installed?"
                )


def _model_problems(preset: PresetTables) -> Iterator[str]:
    for name, model in preset.models.all_given().items():
        if not model.source.strip():
            yield f"models.{name}.source is blank; give 'tinyworld:NAME', a folder or a hub id."
    given = preset.models.all_given()
    if preset.safety.check == "auto" and not given.keys() & {"safety_checker", "clip"}:
        yield "safety.check is 'auto' without models.safety_checker or models.clip; give one, or set it to 'off'."
    for need in needs(preset):
        if need.model not in given:
            yield (
                f"{need.reason} needs models.{need.model}, which is missing; add a [models.{need.model}] table with "
                f"a source."
            )
    clip = preset.models.clip
    if clip is not None and clip.library == "open_clip" and clip.source.startswith("tinyworld:"):
        yield (
            f"models.clip.library is 'open_clip', but the embedded CLIP {clip.source!r} is of the library "
            f"'transformers'; set models.clip.library to that."
        )
    yield from _file_problems(preset)


def _file_problems(preset: PresetTables) -> Iterator[str]:
    """Check that the files are given which the parts in use read."""
    of_objects = object_part(preset)
    for path, part, settings in (*parts_in_use(preset), *([of_objects] if of_objects else [])):
        if missing := [name for name in part.files if not str(vars(settings)[name]).strip()]:
            yield f"{path} is in use, so {' and '.join(f'{path}.{name}' for name in missing)} must name a file."


def _choice_problems(preset: PresetTables) -> Iterator[str]:
    used, voting = preset.extractors.use, preset.matching.extractors
    if not used:
        yield "extractors.use is empty; name at least one extractor."
    for name, values in (
        ("extractors.use", used),
        ("matching.extractors", voting),
        ("matching.kinds", preset.matching.kinds),
    ):
        if len(set(values)) < len(values):
            yield f"{name} is {list(values)}; name each once."
    unbuilt = [name for name in voting if name not in used]
    if unbuilt:
        yield f"matching.extractors names {unbuilt[0]!r}, which extractors.use does not build."
    if not preset.matching.kinds:
        yield "matching.kinds is empty; name at least one of 'class', 'instance', 'part'."
    if not preset.extractors.stable_diffusion.layers and "stable_diffusion" in used:
        yield "extractors.stable_diffusion.layers is empty; name at least one attention layer."
    if preset.matching.background == "none" and (smallest := preset.refine.min_part_px):
        yield (
            f"refine.min_part_px is {smallest}, which turns smaller parts into background, but matching.background is "
            f"'none'; set one of them to another value."
        )
    if preset.proposals.fixed_background > preset.proposals.fixed_foreground:
        yield (
            f"proposals.fixed_background ({preset.proposals.fixed_background}) is above proposals.fixed_foreground "
            f"({preset.proposals.fixed_foreground}), so pixels would be both; lower the first."
        )


def _instance_problems(preset: PresetTables) -> Iterator[str]:
    found = object_part(preset)
    if found is not None and found.part.of_attribution:
        name = found.path.partition(".")[2]
        yield (
            f"instances.method is 'proposals', but the proposal source {name!r} reads attribution maps, which an image "
            f"that is segmented does not have. Set instances.source to a source that reads images, such as 'maskcut', "
            f"or instances.method to 'cores'."
        )


def _generation_problems(preset: PresetTables) -> Iterator[str]:
    first, last = preset.attribution.step_range
    steps = preset.generation.steps
    if not any(first <= index / steps < last for index in range(steps)):
        yield f"attribution.step_range ({first}, {last}) contains none of the {steps} denoising steps."
    generation = preset.generation
    if generation.scheduler != "dpmsolver++" and generation.final_sigma == "zero":
        yield f"generation.final_sigma is for 'dpmsolver++'; leave it at 'sigma_min' with {generation.scheduler!r}."
    if generation.scheduler == "lcm" and generation.steps > LCM_STEPS:
        yield f"generation.steps is {generation.steps}; 'lcm' has {LCM_STEPS} at most, and is meant for 2 to 8."
    if generation.size_px % 8:
        yield f"generation.size_px is {generation.size_px}; latent diffusion needs a multiple of 8."


def window_problems(windows: WindowSettings) -> Iterator[str]:
    """Say in words which windows would leave parts of an image out, or do not fit into it."""
    if not windows.crops_px and not windows.whole_image:
        yield "windows.crops_px is empty and windows.whole_image is false, so no part of an image would be encoded."
    if windows.max_long_side_px < windows.short_side_px:
        yield f"windows.max_long_side_px is {windows.max_long_side_px}, below windows.short_side_px."
    for size, stride in windows.crops_px:
        if stride > size:
            yield f"windows.crops_px has ({size}, {stride}); a stride above the size leaves gaps between windows."
        if size > windows.short_side_px:
            yield f"windows.crops_px has size {size}, above windows.short_side_px {windows.short_side_px}."
