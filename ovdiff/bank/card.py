"""The card of a prototype set: what made it, for people and programs. Written and read here alone."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ovdiff.bank.recipe import SCHEMA_VERSION, Recipe
from ovdiff.errors import BankCorruptError
from ovdiff.models.licences import WeightsLicence


@dataclass(frozen=True)
class Card:
    """What made a prototype set.

    Attributes:
        category: the name under which it was first built; another category with the same phrases shares it.
        preset: the name of the preset that it was built with; another preset with the same recipe shares it.
        phrases: the texts that were drawn.
        parameters: the preset's settings that shape prototypes, by table.
        models: by name, how each model computes and what its weights are.
        parts: versions of extractors and proposal sources above 1.
        image_seeds: of the noise of each support image.
        images_with_foreground: how many support images show the category.
        refused_images: how many drawings were refused as unsafe.
        support_key: names the support images; "" if none were kept.
        licences: of the weights of every model that the preset names.
        library_versions: of the libraries whose arithmetic is in the prototypes.
        key: the set's content address; the bank fills it in.
        sha256: of the file of arrays; the bank fills it in.
        schema_version: of the files.
    """

    category: str = ""
    preset: str = ""
    phrases: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, int] = field(default_factory=dict)
    image_seeds: tuple[int, ...] = ()
    images_with_foreground: int = 0
    refused_images: int = 0
    support_key: str = ""
    licences: tuple[WeightsLicence, ...] = ()
    library_versions: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    sha256: str = ""
    schema_version: int = SCHEMA_VERSION

    def of_recipe(self, recipe: Recipe) -> "Card":
        """Return the card with all that a recipe says."""
        return replace(
            self, phrases=recipe.phrases or (), parameters=recipe.parameters, models=recipe.models, parts=recipe.parts
        )


_EXPECTED: Mapping[str, type] = {
    "category": str,
    "preset": str,
    "phrases": list,
    "parameters": dict,
    "models": dict,
    "parts": dict,
    "image_seeds": list,
    "images_with_foreground": int,
    "refused_images": int,
    "support_key": str,
    "licences": list,
    "library_versions": dict,
    "key": str,
    "sha256": str,
    "schema_version": int,
}


def card_to_json(card: Card) -> str:
    """Return a card as JSON text."""
    return json.dumps(asdict(card), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def json_to_card(text: str, path: Path) -> Card:
    """Return the card that is in a JSON text.

    Args:
        text: the JSON.
        path: the card's file, for messages.

    Raises:
        BankCorruptError: not JSON, or a value is missing or of another type than a card's.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise BankCorruptError(path, f"its card is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise BankCorruptError(path, f"its card is {type(values).__name__}, expected an object")
    if "sha256" not in values:
        raise BankCorruptError(path, "its card has no checksum")
    known = {name: value for name, value in values.items() if name in _EXPECTED}  # a later version may say more
    for name, value in known.items():
        if type(value) is not _EXPECTED[name]:
            raise BankCorruptError(path, f"{name!r} of its card is {value!r}, expected {_EXPECTED[name].__name__}")
    try:
        licences = tuple(WeightsLicence(**entry) for entry in known.pop("licences", ()))
    except TypeError as error:
        raise BankCorruptError(path, f"'licences' of its card are not those of weights ({error})") from error
    lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
    return Card(**{**known, **lists, "licences": licences})
