"""`ovdiff presets check` and `fetch`: which of a preset's weights are on this machine, and fetching them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from backend.command.console import notice, say
from backend.command.table import table
from backend.errors import RequestError, UsageError
from converters.console import answer
from converters.files.atomic import write_whole
from ovdiff.engines import EnginePreset, load_any_preset
from ovdiff.models.fetching import fetch, require_reachable
from ovdiff.models.files import BUILDING, SEGMENTING, ModelFiles, files_of
from ovdiff.models.licences import weights_licences
from ovdiff.presets.files import preset_files
from ovdiff.presets.model_settings import CheckpointSettings
from ovdiff.presets.text import toml_value


def check_preset(name_or_file: str) -> None:
    """Print where the weights of each model of a preset are, or which files are missing and how large they are.

    Loads no model, and asks no network.

    Raises:
        PresetError: there is no such preset, or it is not valid.
        RequestError: weights are missing.
    """
    entries = files_of(load_any_preset(name_or_file), *BUILDING, *SEGMENTING)
    answer({"preset": name_or_file, "sources": [_as_json(entry) for entry in entries]})
    rows = [(", ".join(entry.models), entry.pinned_source, _size(entry), _state(entry)) for entry in entries]
    say(table([("model", "source", "MB", "state"), *rows], right=(2,)))
    for entry in entries:
        if entry.missing and not entry.is_local:
            say(f"\n{entry.models[0]} needs:")
            say("\n".join(f"    {name}" for name in entry.missing))
        if entry.missing and "head" in entry.models:
            say(
                f"\n{entry.settings.source} has no head. Train one by `ovdiff odise train --out FOLDER`, or convert a "
                f"released one by `ovdiff odise convert` (NON-COMMERCIAL), and give the folder as models.head.source."
            )
    missing = [entry for entry in entries if entry.missing]
    if not missing:
        say("all weights are here")
        return
    raise RequestError(
        f"Weights of {len(missing)} of {len(entries)} sources are missing{_total(missing)}. "
        f"`ovdiff presets fetch {name_or_file}` fetches them."
    )


def fetch_preset(name_or_file: str, folder: Path | None) -> None:
    """Fetch the weights of a preset that are not on this machine, one source after the other.

    Args:
        name_or_file: the preset.
        folder: where to write the weights, with a preset file PRESET.toml that reads them from there; None means the
            caches of the libraries.

    Raises:
        PresetError: there is no such preset, or it is not valid.
        UsageError: the folder is a file, or the preset file would replace the preset that it is made from.
        WeightsError: weights cannot be fetched, or a local source does not exist; what was fetched before is kept.
        RequestError: the preset file cannot be written.
    """
    preset = load_any_preset(name_or_file)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"--to is {str(folder)!r}, a file; expected a folder.")
    file = None if folder is None else folder / f"{preset.name}.toml"
    if file is not None:
        require_no_base("--to", file, name_or_file)
    entries = files_of(preset, *BUILDING, *SEGMENTING)
    require_reachable(preset.name, entries)
    terms = {licence.model: licence.note for licence in weights_licences(preset)}
    places = dict(_fetched(entries, terms, folder))
    if file is not None:
        _write_preset(file, _local_preset(preset, name_or_file, places, file))
    answer({"preset": name_or_file, "places": places, "preset_file": file})


def require_no_base(option: str, file: Path, preset: str) -> None:
    """Refuse to write a preset into a file that it is read from: what was there would be lost, and be its own base.

    Args:
        option: the option that gave the file, or its folder, as in "--out".
        file: the file that is to be written.
        preset: the name or the file of the preset that becomes its base.

    Raises:
        UsageError: the preset, or one of its bases, is that file.
        PresetError: the preset cannot be read.
    """
    if any(base.resolve() == file.resolve() for base in preset_files(preset)):
        raise UsageError(
            f"{option} would replace {str(file)!r}, which the preset {preset!r} is read from. Give another place with "
            f"{option}."
        )


def base_for(preset: str, file: Path) -> str:
    """Return the value of `base`, as TOML, by which a file names a preset: a path from the file's folder, or a name."""
    is_file = bool(preset_files(preset))
    return toml_value(_seen_from(file.parent, Path(preset)) if is_file else preset)


def _seen_from(folder: Path, path: Path) -> str:
    """Return a path from a folder. Links above both are followed first: `..` leads up from where a link points."""
    return os.path.relpath(path.parent.resolve() / path.name, folder.resolve())


def _write_preset(file: Path, text: str) -> None:
    try:
        write_whole(file, text.encode())
    except OSError as error:
        raise RequestError(f"Cannot write {file}: {error}.") from error
    say(f"preset: {file}; use it by --preset {file} or OVDIFF_PRESET={file}")


def _fetched(entries: Sequence[ModelFiles], terms: dict[str, str], folder: Path | None) -> Iterator[tuple[str, Path]]:
    """Fetch each source, and yield the models that read it, each with its place."""
    for number, entry in enumerate(entries, start=1):
        note = terms[entry.models[0]]
        if entry.is_local:
            notice(f"{number}/{len(entries)} {', '.join(entry.models)}: here already, {entry.place}")
            continue
        notice(f"{number}/{len(entries)} {entry}: {note}")
        place = fetch(entry, note, None if folder is None else folder / _folder_name(entry))
        notice(f"    in {place}")
        yield from ((model, place) for model in entry.models)


def _local_preset(preset: EnginePreset, base: str, places: dict[str, Path], file: Path) -> str:
    """Return a preset file that differs from its base in the places of the weights alone, as seen from the file."""
    lines = [f"base = {base_for(base, file)}", f"name = {toml_value(preset.name)}"]
    for model, place in places.items():
        source = f"./{_seen_from(file.parent, place)}"
        lines += ["", f"[models.{model}]", f"source = {toml_value(source)}"]
    return "\n".join(lines) + "\n"


def _folder_name(entry: ModelFiles) -> str:
    if isinstance(entry.settings, CheckpointSettings):
        return entry.models[0]
    return entry.settings.source.replace("/", "--")


def _as_json(entry: ModelFiles) -> dict[str, object]:
    return {
        "models": entry.models,
        "source": entry.pinned_source,
        "megabytes": entry.megabytes,
        "place": entry.place,
        "files": len(entry.needed),
        "missing": entry.missing,
    }


def _size(entry: ModelFiles) -> str:
    return "" if entry.megabytes is None else str(entry.megabytes)


def _state(entry: ModelFiles) -> str:
    if not entry.missing:
        return str(entry.place) if entry.place is not None else "known to its own loader alone"
    if entry.place is None:
        return "no such folder or file" if entry.is_local else "missing"
    return f"{len(entry.missing)} of {len(entry.needed)} files missing in {entry.place}"


def _total(missing: Sequence[ModelFiles]) -> str:
    known = [entry.megabytes for entry in missing if entry.megabytes]
    return f", about {sum(known)} MB" if known else ""
