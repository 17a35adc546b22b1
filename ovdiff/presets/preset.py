"""The preset: tables whose values were checked. A preset that is made in code is checked as a file's is."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ovdiff.presets.mapping import TableTypes, build, digest, to_mapping, without
from ovdiff.presets.needs import feature_settings, source_settings, table_type, with_tables_in_use
from ovdiff.presets.schema import PresetTables
from ovdiff.presets.validation import validate

TABLE_TYPES: TableTypes = {name: partial(table_type, name) for name in ("extractors", "proposals", "models")}
"""How the dataclasses of other packages' tables are found."""

_CHANGE_NO_MASK = frozenset({"name", "licence", "cache", "memory", "batch_size", "mib_per_image"})


@dataclass(frozen=True)
class Preset(PresetTables):
    """One complete choice of models and hyper-parameters; see :func:`ovdiff.presets.load_preset`.

    Raises:
        PresetError: a value is out of bounds, values contradict each other, or a part needs a model that is missing.
    """

    def __post_init__(self) -> None:
        """Refuse impossible values and combinations."""
        validate(self)

    def fingerprint(self) -> str:
        """Return a hex hash of every field that can change a mask.

        Names, licences, caches, batch sizes and memory limits are left out of the hash. So are the tables of extractors
        and proposal sources that the preset does not use.
        """
        values = to_mapping(self)
        source = self.proposals.source
        own = source_settings(self)
        values["proposals"] = {
            **{name: value for name, value in values["proposals"].items() if not isinstance(value, dict)},
            **({} if own is None else {source: to_mapping(own)}),
        }
        values["extractors"] = {name: to_mapping(feature_settings(self, name)) for name in self.extractors.use}
        return digest(without(values, _CHANGE_NO_MASK))


def preset_to_mapping(preset: Any) -> dict[str, Any]:
    """Return a preset's values as nested dicts of JSON types (tuples become lists)."""
    return to_mapping(preset)


def mapping_to_preset(mapping: Mapping[str, Any], where: str) -> Preset:
    """Build a preset from nested mappings; absent fields take the schema's defaults.

    Args:
        mapping: the preset's tables.
        where: names the source of the mapping in messages.

    Raises:
        PresetError: a field is unknown, missing, of a wrong type, or has an impossible value.
    """
    return with_tables_in_use(build(Preset, mapping, where, TABLE_TYPES))
