from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.engines import SegmentationEngine, load_any_preset
from ovdiff.engines.building import HasKinds
from ovdiff.engines.encodings import HasEncodings, ScoresPlaces
from ovdiff.engines.segmenting import LoadsModels, SharesModels
from ovdiff.errors import ImageError
from ovdiff.odise.engine import OdiseEngine, make_engine
from ovdiff.odise.naming import branch_logits, fuse, fusion_weights, null_probability
from ovdiff.odise.outputs import enlarged, semantic_scores
from ovdiff.odise.parts import OdiseParts
from ovdiff.vocabulary import Category, Vocabulary

WORDS = Vocabulary([Category("motor", ("Automobile", "car")), Category("sky"), Category("fish", ("fish", "trout"))])


@pytest.fixture(scope="module")
def scene(windows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(windows[0][:50])


def test_an_engine_is_what_the_door_says(odise_engine: OdiseEngine) -> None:
    for protocol in (SegmentationEngine, HasEncodings, HasKinds, LoadsModels, ScoresPlaces, SharesModels):
        assert isinstance(odise_engine, protocol)


def test_a_segmentation_is_the_stages_one_after_another(
    odise_engine: OdiseEngine, odise_parts: OdiseParts, scene: NDArray[np.uint8]
) -> None:
    encoded, (head, card) = odise_engine.encode(scene), odise_parts.head
    preset = odise_engine.preset
    with torch.inference_mode():
        taps = odise_parts.encoder.encode(scene[None], head.captioner)
        masks = head.masks(taps, (64, 64))[-1]
        assert torch.allclose(encoded.logits, masks.logits[0], atol=1e-5)
        labels = odise_engine_labels()
        texts = odise_parts.label_texts(labels, preset.classifier.templates)
        scores, null = (each[0] for each in head.names(masks.embeddings, texts.embeddings))
        diffusion = branch_logits(scores, texts)
        regions = odise_parts.clip.embed_regions(scene[None], masks.logits > 0, 64, "half")[0]
        seen = odise_parts.label_texts(labels, preset.clip_branch.templates)
        clip = branch_logits(33.0 * regions @ seen.embeddings.T, seen)
        weights = fusion_weights(labels, card.words(), 0.3, 0.7, stuff=True)
        assert weights.tolist() == pytest.approx([0.3, 0.3, 0.7])
        named = fuse(diffusion, null_probability(diffusion, null), clip, weights, 3)
        expected = semantic_scores(named, enlarged(masks.logits[0], scene.shape[:2]))
    found = odise_engine.label(encoded, WORDS)
    assert found.label_map.shape == scene.shape[:2]
    assert np.array_equal(found.label_map, expected.argmax(dim=0).numpy() + 1)
    assert np.allclose(found.scores, expected.amax(dim=0).numpy(), atol=1e-4)


def odise_engine_labels() -> list:  # type: ignore[type-arg]
    from ovdiff.odise.naming import Label

    return [
        Label("motor", ("Automobile", "car"), False),
        Label("sky", ("sky",), True),
        Label("fish", ("fish", "trout"), False),
    ]


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), [[1]], np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_image_is_refused(odise_engine: OdiseEngine, image: NDArray[np.uint8]) -> None:
    with pytest.raises(ImageError):
        odise_engine.encode(image)


def test_an_engine_is_made_without_weights_and_refuses_a_device_that_is_not_there(tmp_path: object) -> None:
    preset = load_any_preset("odise")
    engine = make_engine(preset, Bank(tmp_path), "cpu")  # type: ignore[arg-type]
    assert engine.preset is preset
    assert engine.has(Category("boat"))


def test_background_wins_where_no_label_is_sure(odise_engine: OdiseEngine, scene: NDArray[np.uint8]) -> None:
    preset = replace(odise_engine.preset, outputs=replace(odise_engine.preset.outputs, background=1.0))
    assert not odise_engine.beside(preset, None).segment(scene, WORDS).label_map.any()  # type: ignore[arg-type]


def test_the_scores_of_a_place_are_those_that_label_it(odise_engine: OdiseEngine, scene: NDArray[np.uint8]) -> None:
    encoded = odise_engine.encode(scene)
    found, (height, width) = odise_engine.label(encoded, WORDS), scene.shape[:2]
    for x, y in ((0, 0), (width - 1, height - 1), (width // 2, 7)):
        told = odise_engine.place_scores(encoded, WORDS, (x, y))
        assert told.least == odise_engine.preset.outputs.background
        assert len(told.scores) == 3
        assert max(told.scores) == pytest.approx(float(found.scores[y, x]), abs=1e-4)
        assert int(np.argmax(told.scores)) + 1 == found.label_map[y, x]
    for outside in ((width, 0), (0, height), (-1, 0)):
        with pytest.raises(ImageError, match="lies outside the image"):
            odise_engine.place_scores(encoded, WORDS, outside)
