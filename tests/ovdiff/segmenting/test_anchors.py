from dataclasses import replace
from pathlib import Path

import pytest

from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.schema import AnchorSettings, PartCheckSettings
from ovdiff.segmenting.anchors import Anchors, other_colours
from ovdiff.vocabulary import Category, Vocabulary

ANCHORS = AnchorSettings(("ball", "boat", "sky", "horse"), ("boat", "sky"), same_cosine=0.9999)


def _anchors(preset: Preset, bank: Bank, models: LoadedModels, **sections: object) -> Anchors:
    changed = replace(preset, anchors=ANCHORS, **sections)  # type: ignore[arg-type]
    return Engine(changed, bank, models=models)._segmenter.anchors


def _vocabulary(*names: str) -> Vocabulary:
    return Vocabulary(tuple(Category(name) for name in names))


@pytest.fixture(scope="module")
def bank(preset: Preset, tmp_path_factory: pytest.TempPathFactory, models: LoadedModels) -> Bank:
    bank = Bank(tmp_path_factory.mktemp("bank"))
    Engine(preset, bank, models=models).build("sky")
    return bank


def test_anchors_with_prototypes_compete_for_pixels_and_the_others_for_clip(
    preset: Preset, bank: Bank, models: LoadedModels
) -> None:
    found = _anchors(preset, bank, models).of(_vocabulary("tree"))
    assert [category.name for category in found.vocabulary.categories] == ["tree", "sky"]
    assert found.asked == 1
    assert found.texts == ("ball", "boat", "horse")  # boat competes for pixels too, once its set is built


def test_what_is_still_to_be_built_is_said(preset: Preset, bank: Bank, models: LoadedModels) -> None:
    assert _anchors(preset, bank, models).missing() == (Category("boat"),)


@pytest.mark.parametrize(
    ("asked", "aside"),
    [
        (Category("SKY"), "sky"),
        (Category("red ball"), "ball"),
        (Category("vehicle", prompts=("horse",)), "horse"),
        (Category("horse", prompts=("white stallion",)), "horse"),
    ],
)
def test_an_anchor_that_an_asked_category_holds_steps_aside(
    preset: Preset, bank: Bank, models: LoadedModels, asked: Category, aside: str
) -> None:
    found = _anchors(preset, bank, models).of(Vocabulary((asked,)))
    assert found.aside == ((aside, asked.name),)
    assert aside not in found.texts
    assert aside not in [category.name for category in found.vocabulary.categories[1:]]


def test_an_anchor_whose_text_means_the_same_to_clip_steps_aside_and_that_is_logged(
    preset: Preset, bank: Bank, models: LoadedModels, caplog: pytest.LogCaptureFixture
) -> None:
    near = replace(preset, anchors=replace(ANCHORS, same_cosine=-1.0))  # now every text is near enough
    with caplog.at_level("INFO", logger="ovdiff.segmenting.anchors"):
        found = Engine(near, bank, models=models)._segmenter.anchors.of(_vocabulary("tree"))
    assert [anchor for anchor, _ in found.aside] == ["boat", "sky", "ball", "horse"]
    assert (found.texts, found.vocabulary) == ((), _vocabulary("tree"))
    assert "'sky' for 'tree'" in caplog.text


def test_without_anchors_the_vocabulary_is_as_it_was_asked(
    preset: Preset, tmp_path: Path, models: LoadedModels
) -> None:
    asked = _vocabulary("red ball")
    off = replace(preset, anchors=AnchorSettings(), part_check=PartCheckSettings(enabled=False))
    found = Engine(off, Bank(tmp_path), models=models)._segmenter.anchors.of(asked)
    assert (found.vocabulary, found.asked, found.texts, found.aside) == (asked, 1, (), ())


def test_a_phrase_with_a_colour_is_compared_with_the_other_colours(
    preset: Preset, bank: Bank, models: LoadedModels
) -> None:
    check = PartCheckSettings(enabled=True, colours=("red", "blue", "green"))
    found = _anchors(preset, bank, models, part_check=check).of(_vocabulary("red ball", "blue ball"))
    assert "green ball" in found.texts
    assert not {"red ball", "blue ball"} & set(found.texts)


def test_the_last_word_of_a_phrase_is_its_noun_and_no_colour() -> None:
    assert other_colours(["orange", "ripe orange"], ["red", "orange"]) == []
    assert other_colours(["Red car door"], ["red", "blue"]) == ["blue car door"]
