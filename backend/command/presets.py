"""`ovdiff presets`: list the presets, and print one as a file to change. Never imports torch.

`check` and `fetch` are in `backend.command.preset_weights`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from backend.command.console import say
from converters.console import answer
from ovdiff.engines import EnginePreset, load_any_preset
from ovdiff.models.licences import WeightsLicence, weights_licences, weights_settings
from ovdiff.models.weights import PIN_DIGITS, weights_pin
from ovdiff.presets import preset_description, preset_names, preset_to_mapping
from ovdiff.presets.files import baseline_names
from ovdiff.presets.text import preset_to_toml


def list_presets() -> None:
    """Print the presets that come with the package: the purpose of each, and the weights it uses."""
    answer([_summary(name) for name in preset_names()])
    for name in preset_names():
        if name == baseline_names()[0]:
            say("\nFor comparison, others' methods (docs/baselines.md):")
        say(f"{name}: {_first_sentence(preset_description(name))}")
        for entry in weights_licences(load_any_preset(name)):
            note = "; NON-COMMERCIAL" if entry.non_commercial else ""
            say(f"    {entry.model:17} {entry.source}  ({entry.licence}{note})")


def show_preset(name_or_file: str) -> None:
    """Print a whole preset as TOML that `--preset` accepts, below its description and the licences of its weights.

    Raises:
        PresetError: there is no such preset, or it is not valid.
    """
    preset = load_any_preset(name_or_file)
    answer({**_summary(name_or_file), "preset": preset_to_mapping(preset)})
    description = preset_description(name_or_file)
    paragraphs = [description] * bool(description) + ["\n".join(_weights(preset))]
    comments = ["\n".join(f"# {line}".rstrip() for line in text.splitlines()) for text in paragraphs]
    say("\n\n".join([*comments, preset_to_toml(preset).rstrip()]))


def _weights(preset: EnginePreset) -> Iterator[str]:
    """Yield two lines for each model: its role with the source of its weights, and the licence of the weights."""
    licences = weights_licences(preset)
    yield "Weights, and under which terms:"
    for entry in licences:
        revision = _revision(preset, entry)[:PIN_DIGITS]
        yield f"  {entry.model}: {entry.source}{f' @ {revision}' if revision else ''}"
        yield f"      {entry.licence}: {entry.note}"
    if forbidding := [entry.model for entry in licences if entry.non_commercial]:
        yield f"With {', '.join(forbidding)} as it is, this preset is NOT for commercial use."


def _revision(preset: EnginePreset, entry: WeightsLicence) -> str:
    return weights_pin(weights_settings(preset)[entry.model])


def _summary(name_or_file: str) -> dict[str, Any]:
    preset = load_any_preset(name_or_file)
    return {
        "name": preset.name,
        "description": preset_description(name_or_file),
        "weights": [
            {**asdict(entry), "revision": _revision(preset, entry), "non_commercial": entry.non_commercial}
            for entry in weights_licences(preset)
        ],
    }


def _first_sentence(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".") + "."
