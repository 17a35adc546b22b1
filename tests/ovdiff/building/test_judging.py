from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovdiff.bank import Bank
from ovdiff.building.judging import judge_images, judge_vectors
from ovdiff.building.parts import BuildingParts
from ovdiff.engine import Engine
from ovdiff.errors import WeightsError
from ovdiff.models.anchor_texts import Anchors
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset, load_preset
from ovdiff.presets.segmenting_settings import AnchorSettings
from ovdiff.tinyworld.world import THINGS, render, sample_scene

SETTINGS = AnchorSettings(near_cosine=0.1, doubtful_below=0.5)
ANCHORS = Anchors(("mug", "clock"), torch.eye(4)[:2])
OWN = torch.eye(4)[2:3]


def _images(*cosines: tuple[float, float, float]) -> torch.Tensor:
    """Unit vectors with these cosines to "mug", to "clock" and to the word."""
    rest = [(1 - sum(c * c for c in each)) ** 0.5 for each in cosines]
    return torch.tensor([(*each, last) for each, last in zip(cosines, rest, strict=True)])


def test_an_image_is_taken_for_the_word_if_no_anchor_fits_it_much_better() -> None:
    images = _images((0.2, 0.1, 0.5), (0.5, 0.1, 0.45), (0.5, 0.1, 0.3), (0.1, 0.6, 0.2), (0.5, 0.4, 0.1))
    found = judge_vectors(images, OWN, ANCHORS, SETTINGS, "ab")
    assert (found.images, found.agreeing, found.rival, found.rival_images) == (5, 2, "mug", 2)
    assert found.margin == pytest.approx((0.3 - 0.05 - 0.2 - 0.4 - 0.4) / 5, abs=1e-6)
    assert found.is_doubtful and found.key == "ab"
    strict = judge_vectors(images, OWN, ANCHORS, replace(SETTINGS, near_cosine=0.0), "ab")
    assert (strict.agreeing, strict.rival, strict.rival_images) == (1, "mug", 3)


def test_any_phrase_of_a_category_may_fit() -> None:
    phrases = torch.stack([F.normalize(torch.tensor([0.0, 0.0, -1.0, 0.0]), dim=0), OWN[0]])
    found = judge_vectors(_images((0.2, 0.1, 0.5)), phrases, ANCHORS, SETTINGS, "ab")
    assert (found.agreeing, found.rival, found.rival_images, found.is_doubtful) == (1, "", 0, False)


def test_a_word_with_which_nothing_can_be_compared_is_not_judged(preset: Preset, models: LoadedModels) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    only_itself = BuildingParts(replace(preset, anchors=AnchorSettings(("boat",))), models)
    assert judge_images(only_itself, [image], ["Boat"], "ab") is None
    too_long = BuildingParts(replace(preset, anchors=AnchorSettings(("mug",))), models)
    assert judge_images(too_long, [image], ["boat " * 60], "ab") is None
    judged = judge_images(too_long, [image] * 5, ["boat"], "ab")  # more images than a batch has
    assert judged is not None and judged.images == 5


def test_clip_knows_drawn_things_from_each_other() -> None:
    """Scenes as the world draws them, so that nothing depends on what the generator has learned."""
    parts = BuildingParts(load_preset("tinyworld"), LoadedModels())
    scenes = [render(sample_scene(number, "thresholds"), 64) for number in range(60)]
    ball = THINGS.index("ball")
    with_ball = [each.image for each in scenes if (each.label_map == ball).mean() > 0.05]
    assert len(with_ball) >= 2
    known = judge_images(parts, with_ball, ["ball"], "ab")
    unknown = judge_images(parts, with_ball, ["crab"], "ab")
    assert known is not None and unknown is not None
    assert known.margin > unknown.margin + 0.2 and unknown.is_doubtful and not known.is_doubtful


@pytest.fixture
def judging(preset: Preset) -> Preset:
    return replace(preset, anchors=AnchorSettings(("mug", "clock"), doubtful_below=1.0))


def test_a_set_is_judged_when_it_is_built_and_the_card_says_so(judging: Preset, tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    engine = Engine(judging, bank)
    assert engine.judgement("boat") is None and engine.judge("boat") is None
    engine.build("boat")
    found = engine.judgement("boat")
    assert found is not None and found.images == judging.generation.images
    assert bank.card(engine.category_key("boat")).judgement == found
    assert Engine(judging, Bank(tmp_path)).judge("boat") == found


def test_a_set_from_before_is_judged_from_its_stored_images_and_nothing_is_drawn(
    preset: Preset, judging: Preset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = Engine(preset, Bank(tmp_path))
    before.build("boat")
    key = before.category_key("boat")
    assert before.judge("boat") is None and before.judgement("boat") is None  # no anchors, so not judged
    arrays, card = (tmp_path / f"{key}.safetensors").read_bytes(), (tmp_path / f"{key}.json").read_text()
    assert "judgement" not in card
    after = Engine(judging, Bank(tmp_path))
    assert after.judgement("boat") is None
    found = after.judge("boat")
    assert found is not None and after.judgement("boat") == found
    assert len(after._models._loaded) == 1  # CLIP alone
    assert (tmp_path / f"{key}.safetensors").read_bytes() == arrays
    warned = [record.getMessage() for record in caplog.records if "is doubtful" in record.getMessage()]
    assert len(warned) == found.is_doubtful
    other = Engine(replace(judging, anchors=AnchorSettings(("mug", "clock", "fish"))), Bank(tmp_path))
    assert other.judgement("boat") is None  # judged with other anchors
    assert other.judge("boat") is not None


def test_without_stored_images_or_without_clip_a_word_is_not_judged(
    preset: Preset, judging: Preset, tmp_path: Path
) -> None:
    engine = Engine(preset, Bank(tmp_path))
    engine.build("boat")
    keys = engine.support_store.keys()
    for key in keys:
        engine.support_store.remove(key)
    assert Engine(judging, Bank(tmp_path)).judge("boat") is None
    extractors = replace(judging.extractors, use=("dino",))
    blind = replace(
        judging,
        models=replace(judging.models, clip=None),
        extractors=extractors,
        prefilter=replace(judging.prefilter, enabled=False),
    )
    without_clip = Engine(blind, Bank(tmp_path))
    without_clip.build("boat")
    assert without_clip.judge("boat") is None and without_clip.judgement("boat") is None


def test_a_set_that_could_not_be_judged_is_built_all_the_same(
    judging: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(*_: object) -> None:
        raise WeightsError("CLIP is not there yet.")

    engine = Engine(judging, Bank(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr("ovdiff.building.category_builder.judge_images", missing)
        engine.build("boat")
    assert "'boat' is built, and not judged yet: CLIP is not there yet." in caplog.text
    assert engine.has("boat") and engine.judgement("boat") is None
    assert engine.judge("boat") is not None
