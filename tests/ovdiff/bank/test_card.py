import json
from dataclasses import replace
from pathlib import Path

import pytest

from ovdiff.bank.card import Card, card_to_json, json_to_card
from ovdiff.bank.judgement import Judgement
from ovdiff.bank.recipe import SCHEMA_VERSION, Recipes
from ovdiff.errors import BankCorruptError
from ovdiff.models.licences import WeightsLicence, weights_licences
from ovdiff.presets import load_preset
from ovdiff.vocabulary import Category

PATH = Path("bank/ab.json")
CARD = Card(
    "boat",
    "mine",
    ("boat", "ship"),
    image_seeds=(42, 43),
    images_with_foreground=1,
    refused_images=2,
    support_key="cd" * 32,
    licences=(WeightsLicence("clip", "a/b", "MIT", "commercial use is allowed"),),
    library_versions={"torch": "2"},
    judgement=Judgement(2, 1, -0.25, "mug", 1, 0.5, "12" * 32),
    key="ab" * 32,
    sha256="ef" * 32,
)


def test_a_card_comes_back_as_it_was_written() -> None:
    assert json_to_card(card_to_json(CARD), PATH) == CARD


def test_a_card_of_a_real_preset_comes_back_with_its_recipe() -> None:
    preset = load_preset("paper")
    recipe = Recipes(preset).prototypes(Category("tank"))
    card = replace(CARD, licences=weights_licences(preset)).of_recipe(recipe)
    found = json_to_card(card_to_json(card), PATH)
    assert found == card and found.phrases == ("liquid tank",)
    assert found.parameters["generation"]["steps"] == 30 and set(found.models) >= {"cutler", "generator"}


def test_a_card_that_an_earlier_version_wrote_is_read() -> None:
    """As the dict that the engine saved up to commit 1d68e9f: no key of it was renamed."""
    earlier = {
        "schema_version": 2,
        "parameters": {"generation": {"steps": 12}},
        "models": {"clip": {"dtype": "bfloat16", "weights": "sha256:1"}},
        "phrases": ["boat"],
        "category": "boat",
        "preset": "tinyworld",
        "image_seeds": [42],
        "images_with_foreground": 1,
        "refused_images": 0,
        "support_key": "cd" * 32,
        "licences": [{"model": "clip", "source": "a/b", "licence": "MIT", "note": ""}],
        "library_versions": {"torch": "2"},
        "key": "ab" * 32,
        "sha256": "ef" * 32,
    }
    card = json_to_card(json.dumps(earlier), PATH)
    assert (card.category, card.phrases, card.image_seeds) == ("boat", ("boat",), (42,))
    assert card.licences[0].model == "clip" and card.parts == {} and card.judgement is None


def test_a_card_without_a_judgement_is_written_as_it_always_was() -> None:
    assert "judgement" not in json.loads(card_to_json(replace(CARD, judgement=None)))
    assert json_to_card(card_to_json(replace(CARD, judgement=None)), PATH) == replace(CARD, judgement=None)


def test_what_a_later_version_adds_is_left_alone() -> None:
    values = {**json.loads(card_to_json(CARD)), "lessons": [1, 2]}
    assert json_to_card(json.dumps(values), PATH) == CARD


def test_what_is_absent_has_its_default() -> None:
    card = json_to_card('{"sha256": "ef"}', PATH)
    assert card == Card(sha256="ef") and card.schema_version == SCHEMA_VERSION


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "its card is not JSON"),
        ("[]", "its card is list, expected an object"),
        ("{}", "its card has no checksum"),
        ('{"sha256": 3}', "'sha256' of its card is 3, expected str"),
        ('{"sha256": "", "phrases": "boat"}', "'phrases' of its card is 'boat', expected a list of str"),
        ('{"sha256": "", "phrases": [1]}', "'phrases' of its card is .1., expected a list of str"),
        ('{"sha256": "", "image_seeds": ["a"]}', "'image_seeds' of its card is .* expected a list of int"),
        ('{"sha256": "", "parts": {"a": 1}}', "'parts' of its card is .* expected an object of str"),
        ('{"sha256": "", "refused_images": true}', "'refused_images' of its card is True, expected int"),
        (
            '{"sha256": "", "licences": [{"model": "clip"}]}',
            "'licences' of its card is .* expected a list of WeightsLicence",
        ),
        ('{"sha256": "", "judgement": {"images": 8}}', "'judgement' of its card is .* expected Judgement or null"),
        ('{"sha256": "", "licences": ["clip"]}', "'licences' of its card is .* expected a list of WeightsLicence"),
    ],
)
def test_a_card_that_is_none_is_damaged_and_the_file_is_named(text: str, message: str) -> None:
    with pytest.raises(BankCorruptError, match=message) as caught:
        json_to_card(text, PATH)
    assert caught.value.path == PATH


def test_each_field_of_a_card_is_read_with_its_type() -> None:
    values = json.loads(card_to_json(CARD))
    for name, value in values.items():
        wrong = [] if not isinstance(value, list) else {}
        with pytest.raises(BankCorruptError, match=f"'{name}' of its card is"):
            json_to_card(json.dumps({**values, name: wrong}), PATH)
