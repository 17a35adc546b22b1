import argparse
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ovdiff.models.loaded import LoadedModels
from ovdiff.odise.head_file import read_card
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.training.drawn import WORDS, CaptionNouns, drawn_view, keys_of, preset_of, train_head
from ovdiff.odise.training.examples import NAMELESS
from ovdiff.tinyworld.world import STUFF, render, sample_scene, segments_of


def options(tmp_path: Path, **changes: object) -> argparse.Namespace:
    given = {"runs": tmp_path, "out": tmp_path / "head", "seed": 0, "captioner_steps": 1, "steps": 1, "views": 16}
    return argparse.Namespace(**{**given, "without": (), "without_taps": (), "captions": False, **changes})


def test_taps_are_left_out_by_their_name_or_their_field() -> None:
    taps = preset_of(options(Path("unused"), without_taps=("vae_decoder", "up_blocks.3.resnets.1"))).taps
    whole = preset_of(options(Path("unused"))).taps
    assert taps.vae_decoder == () and taps.vae_encoder == whole.vae_encoder and taps.unet == whole.unet[:3]


@pytest.fixture(scope="module")
def preset() -> OdisePreset:
    return preset_of(options(Path("unused")))


def test_true_segments_are_things_apart_and_stuff_together() -> None:
    drawn = [render(sample_scene(number, "thresholds", 3), 64) for number in range(30)]
    rendering = next(each for each in drawn if len({thing.name for thing in each.scene.things}) == 2)
    ids, names = segments_of(rendering)
    assert len(names) > len(set(names))  # two things of one kind are two segments
    assert sum(name in STUFF for name in names) == len({name for name in names if name in STUFF})
    for number, name in enumerate(names, 1):
        assert (rendering.mask(name)[ids == number]).all() and (ids == number).any()
    assert (ids[rendering.mask("floor") | rendering.mask("mountain")] == 0).all()


def test_a_view_is_always_the_same(preset: OdisePreset) -> None:
    first, again, other = (drawn_view(number, WORDS, preset) for number in (3, 3, 4))
    assert (first.windows == again.windows).all() and first.captions == again.captions
    assert not np.array_equal(first.windows, other.windows)


def test_a_word_that_is_left_out_is_no_label_and_becomes_a_nameless_object(preset: OdisePreset) -> None:
    nameless = replace(preset, loss=replace(preset.loss, void="nameless"))
    labels = [word for word in WORDS if word != "ball"]
    seen = 0
    for number in range(60):
        whole, lacking, named = (
            drawn_view(number, *how) for how in ((WORDS, preset), (labels, preset), (labels, nameless))
        )
        if WORDS.index("ball") in whole.names:
            assert len(lacking.names) < len(whole.names) and NAMELESS not in lacking.names
            seen += NAMELESS in named.names
    assert seen >= 2


def test_words_are_drawn_from_what_was_said(preset: OdisePreset) -> None:
    parts = OdiseParts(preset, LoadedModels())
    words = CaptionNouns(parts, ("car",), preset)
    captions = [["a photo of a red ball and a car with sky"], ["a photo of a tree with sky"], ["a car"]]
    drawn = words(captions, np.random.default_rng(0))
    vectors = {name: words._vectors[name] for name in ("ball", "sky", "tree")}
    said = [
        {name for name, each in vectors.items() for row in view if bool((row == each).all())}
        for view in drawn.embeddings
    ]
    assert said[0] == {"ball", "sky"} and said[1] == {"tree", "sky"} and said[2] == {"sky"}
    assert "car" not in words._vectors
    assert drawn.excused[:, 2].tolist() == [True, True, True]  # the sky is in all three


def test_a_head_is_trained_in_two_rounds_and_written_with_its_card(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    train_head(options(tmp_path, without=("ball", "snow")))
    card = read_card(tmp_path / "head")
    assert "ball" not in card.words() and "sky" in card.words()
    assert card.training["steps"] == 1 and card.training["without"] == ["ball", "snow"]
    assert card.architecture["captioner.condition"] == "learned"
    assert len(list(tmp_path.rglob("*-first.pt"))) == len(list(tmp_path.rglob("*-second.pt"))) == 1


def test_a_head_learns_from_captions(tmp_path: Path) -> None:
    train_head(options(tmp_path, captions=True, captioner_steps=0))
    assert read_card(tmp_path / "head").architecture["classifier.void"] == "objectness"


def test_features_and_rounds_are_used_again_only_where_nothing_that_makes_them_differs(
    tmp_path: Path, preset: OdisePreset
) -> None:
    asked, changed = options(tmp_path), replace
    first = keys_of(asked, preset)
    assert keys_of(options(tmp_path), preset) == first
    models = changed(preset.models, clip=changed(preset.models.clip, source="elsewhere/clip"))
    of_views = [
        (asked, changed(preset, captioner=changed(preset.captioner, gate=preset.captioner.gate / 2))),
        (asked, changed(preset, training=changed(preset.training, mask_px=preset.training.mask_px * 2))),
        (asked, changed(preset, loss=changed(preset.loss, nameless_area=0.3))),
        (asked, changed(preset, models=models)),
        (options(tmp_path, views=17), preset),
        (options(tmp_path, without=("ball",)), preset),
    ]
    of_rounds = [
        (asked, changed(preset, classifier=changed(preset.classifier, void="objectness"))),
        (asked, changed(preset, training=changed(preset.training, learning_rate=0.5))),
        (options(tmp_path, seed=1), preset),
        (options(tmp_path, captions=True), preset),
        (options(tmp_path, captioner_steps=2), preset),
    ]
    for other in of_views:
        assert not set(keys_of(*other)) & set(first), other
    for other in of_rounds:
        assert [a == b for a, b in zip(keys_of(*other), first, strict=True)] == [True, False, False], other
    longer = keys_of(options(tmp_path, steps=2), preset)
    assert longer[:2] == first[:2] and longer[2] != first[2]  # The first round serves both.
