"""Matching beside a model that loads; what it computes is tested through the engine and against slow references."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from ovdiff.bank import Bank
from ovdiff.building.prototypes import cluster
from ovdiff.engine import Engine
from ovdiff.presets import Preset
from ovdiff.presets.building_settings import PrototypeSettings
from ovdiff.segmenting.encoding import EncodedImage
from ovdiff.segmenting.matching import ScoreMaps, label_pixels
from ovdiff.vocabulary import Vocabulary


@pytest.fixture
def other_default_dtype() -> Iterator[None]:
    """As it is for the whole process while a library loads a model in bfloat16, where `match` is called unlocked."""
    torch.set_default_dtype(torch.bfloat16)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def engine(preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    refined = replace(preset, refine=replace(preset.refine, pamr=True, pamr_iterations=1))
    engine = Engine(refined, Bank(tmp_path_factory.mktemp("bank")))
    for name in ("boat", "water"):
        engine.build(name)
    return engine


@pytest.mark.parametrize("background", ["prototypes", "threshold", "none"])
def test_masks_do_not_depend_on_the_process_s_default_dtype(
    engine: Engine, background: str, image: np.ndarray, request: pytest.FixtureRequest
) -> None:
    preset = replace(engine.preset, matching=replace(engine.preset.matching, background=background))  # type: ignore[arg-type]
    chosen = Engine(preset, engine.bank, models=engine._models)
    encoded, vocabulary = chosen.encode(image), Vocabulary(["boat", "water"])
    expected = chosen.label(encoded, vocabulary)
    request.getfixturevalue("other_default_dtype")
    found = chosen.label(encoded, vocabulary)
    for name in ("label_map", "scores", "margins"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("labels", [(0, 1, 2, 3, 4), (1, 2, 3, 4)])
def test_where_anchors_win_there_is_background(preset: Preset, labels: tuple[int, ...]) -> None:
    scores = torch.rand((len(labels), 6, 6), generator=torch.Generator().manual_seed(0))
    encoded = EncodedImage((6, 6), np.zeros((6, 6, 3), dtype=np.uint8), {}, None)
    found = label_pixels(encoded, ScoreMaps(scores, labels), 2, preset)
    best = np.asarray(labels)[scores.argmax(dim=0).numpy()]
    np.testing.assert_array_equal(found.label_map, np.where(best > 2, 0, best))
    assert set(np.unique(found.label_map)) == {0, 1, 2}
    np.testing.assert_allclose(found.scores, scores.amax(dim=0).numpy())


def test_nor_do_the_parts_of_a_category(request: pytest.FixtureRequest) -> None:
    features = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    settings = PrototypeSettings(parts=4, clustering="torch")
    expected = cluster(features, settings)
    request.getfixturevalue("other_default_dtype")
    np.testing.assert_array_equal(cluster(features, settings), expected)
