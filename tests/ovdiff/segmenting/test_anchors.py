from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.engine import Engine
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.segmenting_settings import AnchorSettings, PartCheckSettings
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
    engine = Engine(preset, bank, models=models)
    for word in ANCHORS.prototypes:
        engine.build(word)
    return bank


def test_anchors_with_prototypes_compete_for_pixels_and_the_others_for_clip(
    preset: Preset, bank: Bank, models: LoadedModels
) -> None:
    found = _anchors(preset, bank, models).of(_vocabulary("tree"))
    assert [category.name for category in found.vocabulary.categories] == ["tree", "boat", "sky"]
    assert found.asked == 1
    assert found.texts == ("ball", "horse")


def test_as_long_as_one_anchor_is_missing_none_competes_for_pixels(
    preset: Preset, tmp_path: Path, models: LoadedModels
) -> None:
    engine = Engine(replace(preset, anchors=ANCHORS), Bank(tmp_path), models=models)
    engine.build("sky")
    before = engine.fingerprint()
    assert engine._segmenter.anchors.missing() == (Category("boat"),)
    found = engine._segmenter.anchors.of(_vocabulary("tree"))
    assert (found.vocabulary, found.texts) == (_vocabulary("tree"), ("ball", "boat", "sky", "horse"))
    engine.build("boat")
    assert engine.fingerprint() != before  # Label Studio asks again for predictions that were made without them
    assert engine._segmenter.anchors.of(_vocabulary("tree")).vocabulary == _vocabulary("tree", "boat", "sky")


def test_anchors_may_win_and_are_never_drawn(
    preset: Preset, bank: Bank, models: LoadedModels, image: NDArray[np.uint8]
) -> None:
    engine = Engine(replace(preset, anchors=ANCHORS, prefilter=replace(preset.prefilter, enabled=False)), bank)
    engine.build("tree")
    alone = replace(engine.preset, anchors=AnchorSettings(), matching=replace(preset.matching, background="none"))
    drawn = engine.segment(image, _vocabulary("tree")).label_map
    everything = Engine(alone, bank).segment(image, _vocabulary("tree")).label_map
    assert set(np.unique(drawn)) <= {0, 1}
    assert np.count_nonzero(drawn) < np.count_nonzero(everything)


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


def test_an_anchor_that_steps_aside_is_said_once_for_a_word(
    preset: Preset, bank: Bank, models: LoadedModels, caplog: pytest.LogCaptureFixture
) -> None:
    anchors = _anchors(preset, bank, models)
    with caplog.at_level("INFO", logger="ovdiff.segmenting.anchors"):
        for asked in (("sky",), ("tree", "sky"), ("horse", "sky"), ("tree", "sky")):
            anchors.aside(_vocabulary(*asked))
    assert [message.partition(": ")[2] for message in caplog.messages] == ["'sky' for 'sky'.", "'horse' for 'horse'."]


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
