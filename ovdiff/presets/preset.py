"""The preset: tables whose values were checked. A preset that is made in code is checked as a file's is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ovdiff.presets.mapping import TableTypes, build, digest, mask_values, to_mapping
from ovdiff.presets.needs import object_part, table_type, values_in_use, with_tables_in_use
from ovdiff.presets.schema import PresetTables
from ovdiff.presets.validation import validate

TABLE_TYPES: TableTypes = {name: partial(table_type, name) for name in ("extractors", "proposals", "models")}
"""How the dataclasses of other packages' tables are found."""


@dataclass(frozen=True)
class Preset(PresetTables):
    """One complete choice of models and hyper-parameters; see :func:`ovdiff.presets.load_preset`.

    Raises:
        PresetError: a value is out of bounds, values contradict each other, or a part needs a model that is missing.
    """

    def __post_init__(self) -> None:
        """Refuse impossible values and combinations."""
        validate(self)

    def without_background(self) -> "Preset":
        """Return the preset with which every pixel gets a category, as in the protocol without background (A.14)."""
        return replace(
            self,
            matching=replace(self.matching, background="none"),
            anchors=replace(self.anchors, words=(), prototypes=()),  # An anchor that wins is background.
            part_check=replace(self.part_check, enabled=False),  # It makes parts background that it doubts.
            refine=replace(self.refine, min_part_px=0),
        )

    def fingerprint(self) -> str:
        """Return a hex hash of every field that can change a mask.

        Left out of the hash are fields that are declared to change no mask, fields that were added later and have their
        default, and the tables of extractors, proposal sources and models that the preset does not use.
        """
        values, objects = values_in_use(self, mask_values), object_part(self)
        if objects is not None and objects.settings is not None:
            values["proposals of objects"] = mask_values(objects.settings)
        return digest(values)


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
