"""The card of a prototype set tells people and programs what the set was made from. Cards are written and read here."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ovdiff.bank.json_values import described, fits, hints_of
from ovdiff.bank.judgement import Judgement
from ovdiff.bank.recipe import SCHEMA_VERSION, Recipe
from ovdiff.curation.curation import is_identity
from ovdiff.errors import BankCorruptError
from ovdiff.models.licences import WeightsLicence


@dataclass(frozen=True)
class Card:
    """The facts from which a prototype set was made.

    Attributes:
        category: the category under whose name the set was first built; other categories of its phrases share the set.
        preset: the name of the preset with which the set was built; other presets with its recipe share the set.
        phrases: the texts that were drawn.
        parameters: the preset's settings that shape prototypes, by table.
        models: how each model computes and what its weights are, by the model's name.
        parts: as in the recipe: the package and version of each extractor and proposal source in use.
        image_seeds: the seed of each support image's noise.
        images_with_foreground: how many support images show the category.
        refused_images: how many drawings were refused as unsafe.
        support_key: the key of the support images; "" if none were kept.
        curation: what people had changed of the support set (`Curation.identity`); empty if nothing.
        licences: the licence of the weights of every model that the preset names.
        library_versions: the versions of the libraries that computed the prototypes.
        judgement: how well CLIP agrees that the support images show the word; ``None`` if that was not judged.
        key: the set's content address, which the bank fills in.
        sha256: the hash of the file of arrays, which the bank fills in.
        schema_version: the version of the stored files.
    """

    category: str = ""
    preset: str = ""
    phrases: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    image_seeds: tuple[int, ...] = ()
    images_with_foreground: int = 0
    refused_images: int = 0
    support_key: str = ""
    curation: Mapping[str, Any] = field(default_factory=dict)
    licences: tuple[WeightsLicence, ...] = ()
    library_versions: Mapping[str, str] = field(default_factory=dict)
    judgement: Judgement | None = None
    key: str = ""
    sha256: str = ""
    schema_version: int = SCHEMA_VERSION

    def of_recipe(self, recipe: Recipe) -> "Card":
        """Return the card with the phrases, parameters, models and parts of a recipe."""
        return replace(
            self,
            phrases=recipe.phrases or (),
            parameters=recipe.parameters,
            models=recipe.models,
            parts=recipe.parts,
            curation=recipe.curation,
        )


def card_to_json(card: Card) -> str:
    """Return a card as JSON text. What is absent is left out where older cards have it not, so that these stay."""
    values = asdict(card)
    if card.judgement is None:
        del values["judgement"]
    if not card.curation:
        del values["curation"]
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def json_to_card(text: str, path: Path) -> Card:
    """Return the card that a JSON text holds.

    Args:
        text: the JSON text.
        path: the card's file, for messages.

    Raises:
        BankCorruptError: the text is not JSON, its checksum is missing, or a value is of a wrong type.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise BankCorruptError(path, f"its card is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise BankCorruptError(path, f"its card is {type(values).__name__}, expected an object")
    if "sha256" not in values:
        raise BankCorruptError(path, "its card has no checksum")
    hints = hints_of(Card)
    known = {name: value for name, value in values.items() if name in hints}  # A later version may add values.
    for name, value in known.items():
        if not fits(hints[name], value):
            raise BankCorruptError(path, f"{name!r} of its card is {value!r:.80}, expected {described(hints[name])}")
    if not is_identity(known.get("curation", {})):
        expected = "lists of image numbers and of addresses of 64 hexadecimal digits"
        raise BankCorruptError(path, f"'curation' of its card is {known['curation']!r:.80}, expected {expected}")
    lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
    licences = tuple(WeightsLicence(**entry) for entry in known.get("licences", ()))
    judgement = None if (entry := known.get("judgement")) is None else Judgement(**entry)
    return Card(**{**known, **lists, "licences": licences, "judgement": judgement})
