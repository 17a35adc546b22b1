"""What nobody plans for, through the engine: odd images and words, damaged heads."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovdiff.bank import Bank
from ovdiff.errors import WeightsError
from ovdiff.odise.engine import OdiseEngine
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.presets.model_settings import ModelSettings
from ovdiff.vocabulary import Category, Vocabulary

WORDS = Vocabulary(["car", "sky", "fish"])


@pytest.fixture
def scene(windows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return windows[0]


@pytest.fixture(params=["whole", "sliding"])
def cutting(request: pytest.FixtureRequest, odise_preset: OdisePreset, odise_parts: OdiseParts) -> OdiseEngine:
    taps = replace(odise_preset.taps, windows=request.param)
    return OdiseEngine(replace(odise_preset, taps=taps), models=odise_parts.models)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1), (2, 3)])
def test_images_of_any_size_are_segmented(cutting: OdiseEngine, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = cutting.segment(image, WORDS)
    assert found.label_map.shape == size
    assert np.isfinite(found.scores).all()
    assert {0, 1, 2, 3} >= set(np.unique(found.label_map))
    whole = cutting.with_instances(image, found, WORDS)
    assert whole.instance_map is not None and whole.instance_map.shape == size


def test_an_array_that_looks_at_another_backwards_is_an_image(
    odise_engine: OdiseEngine, scene: NDArray[np.uint8]
) -> None:
    turned = odise_engine.segment(scene[::-1], WORDS)
    assert np.array_equal(turned.label_map, odise_engine.segment(scene[::-1].copy(), WORDS).label_map)
    assert not np.array_equal(turned.margins, odise_engine.segment(scene, WORDS).margins)


@pytest.mark.parametrize("value", [0, 255])
def test_an_image_of_one_colour_is_segmented(cutting: OdiseEngine, value: int) -> None:
    found = cutting.segment(np.full((70, 90, 3), value, np.uint8), WORDS)
    assert np.isfinite(found.scores).all()
    assert np.isfinite(found.margins).all()


def test_synonyms_of_one_another_are_told_apart_by_their_order_alone(
    odise_engine: OdiseEngine, scene: NDArray[np.uint8]
) -> None:
    twins = Vocabulary([Category("car", ("car", "automobile")), Category("automobile", ("automobile", "car"))])
    encoded = odise_engine.encode(scene)
    named = odise_engine.named(encoded, twins)
    assert torch.equal(named.names[:, 0], named.names[:, 1])
    assert torch.allclose(named.names.sum(dim=1) + named.void, torch.ones(len(named.void)), atol=1e-5)
    found = odise_engine.label(encoded, twins)
    assert set(np.unique(found.label_map)) <= {0, 1}
    assert not found.margins.any()


def test_two_hundred_categories_are_embedded_at_once(
    odise_engine: OdiseEngine, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = Vocabulary([f"{colour} {number}" for colour in ("red", "blue") for number in range(100)])
    texts, calls = odise_engine._parts.texts, []
    embed = texts._clip.embed_texts
    monkeypatch.setattr(texts._clip, "embed_texts", lambda wanted: calls.append(len(wanted)) or embed(wanted))
    encoded = odise_engine.encode(scene)
    found = odise_engine.label(encoded, many)
    assert [count for count in calls if count] == [400]  # two templates; CLIP's branch has one of them
    named = odise_engine.named(encoded, many)
    assert [count for count in calls if count] == [400]
    assert named.names.shape == (12, 200)
    assert torch.allclose(named.names.sum(dim=1) + named.void, torch.ones(12), atol=1e-5)
    assert found.label_map.max() <= 200


def test_the_same_image_has_the_same_bytes(
    odise_preset: OdisePreset, odise_parts: OdiseParts, scene: NDArray[np.uint8]
) -> None:
    found = [OdiseEngine(odise_preset, models=odise_parts.models).segment(scene, WORDS) for _ in range(2)]
    for name in ("label_map", "scores", "margins"):
        assert getattr(found[0], name).tobytes() == getattr(found[1], name).tobytes()


def test_words_that_nobody_asked_for_win_as_background(
    odise_preset: OdisePreset, odise_engine: OdiseEngine, scene: NDArray[np.uint8]
) -> None:
    """The head was trained for "car" (also "automobile") and "sky"."""
    guarded = odise_engine.beside(replace(odise_preset, fusion=replace(odise_preset.fusion, others="training")), None)  # type: ignore[arg-type]

    def void(engine: OdiseEngine, *words: Category | str) -> torch.Tensor:
        named = engine.named(engine.encode(scene), Vocabulary(words))
        assert torch.allclose(named.names.sum(dim=1) + named.void, torch.ones(12), atol=1e-5)
        return named.void

    assert (void(guarded, "fish") > void(odise_engine, "fish")).all()
    both = (Category("motor", ("Automobile",)), "sky")  # a synonym counts, without regard to case
    assert torch.equal(void(guarded, *both), void(odise_engine, *both))


def test_an_engine_beside_another_shares_its_models(
    odise_preset: OdisePreset, odise_engine: OdiseEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovdiff.models import loaded

    changed = replace(odise_preset, fusion=replace(odise_preset.fusion, alpha=1.0, beta=1.0))
    beside = odise_engine.beside(changed, Bank(tmp_path))
    monkeypatch.setattr(loaded, "load_diffusion", None)  # whoever loads again, fails
    monkeypatch.setattr(loaded, "load_transformer", None)
    beside.load_models()
    assert beside.preset is changed
    assert beside.fingerprint() != odise_engine.fingerprint()
    assert beside.encoding_key() == odise_engine.encoding_key()


@pytest.fixture
def own_head(odise_preset: OdisePreset, odise_parts: OdiseParts, tmp_path: Path) -> OdisePreset:
    """The preset with a copy of the head that a test may damage."""
    shutil.copytree(odise_preset.models.head.source, tmp_path / "head")
    models = replace(odise_preset.models, head=ModelSettings(source=str(tmp_path / "head")))
    return replace(odise_preset, models=models)


@pytest.mark.parametrize("file", ["head.safetensors", "head.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "other bytes"])
def test_a_damaged_head_is_said_before_a_mask_is_made(
    own_head: OdisePreset, odise_parts: OdiseParts, scene: NDArray[np.uint8], file: str, damage: str
) -> None:
    path = Path(own_head.models.head.source) / file
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"\xff\x00" + data[2:])
    engine = OdiseEngine(own_head, models=odise_parts.models)
    with pytest.raises(WeightsError, match=file):
        engine.load_models()
    with pytest.raises(WeightsError, match=file):
        engine.segment(scene, WORDS)


def test_a_head_that_is_not_there_is_said(own_head: OdisePreset, odise_parts: OdiseParts) -> None:
    folder = Path(own_head.models.head.source)
    shutil.rmtree(folder)
    with pytest.raises(WeightsError, match=r"head' does not exist"):
        OdiseEngine(own_head, models=odise_parts.models).load_models()
    folder.mkdir()
    with pytest.raises(WeightsError, match=r"holds no files of a model"):
        OdiseEngine(own_head, models=odise_parts.models).encoding_key()


def test_a_head_of_another_architecture_is_said(own_head: OdisePreset, odise_parts: OdiseParts) -> None:
    other = replace(own_head, taps=replace(own_head.taps, unet=own_head.taps.unet[:3]))
    with pytest.raises(WeightsError, match=r"has taps\.unet = .*; preset 'random' has"):
        OdiseEngine(other, models=odise_parts.models).load_models()


def test_weights_that_are_not_finite_are_said(
    own_head: OdisePreset, odise_parts: OdiseParts, scene: NDArray[np.uint8]
) -> None:
    from safetensors.torch import load_file, save_file

    path = Path(own_head.models.head.source) / "head.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.startswith("masks.pyramid"))
    weights[name] = torch.full_like(weights[name], torch.nan)
    save_file(weights, path)
    with pytest.raises(WeightsError, match="not finite"):
        OdiseEngine(own_head, models=odise_parts.models).segment(scene, WORDS)


@pytest.mark.parametrize("edited", ["a weight", "a label"])
def test_the_version_follows_an_edited_head(own_head: OdisePreset, odise_parts: OdiseParts, edited: str) -> None:
    from safetensors.torch import load_file, save_file

    def version() -> tuple[str, str, str]:
        engine = OdiseEngine(own_head, models=odise_parts.models)
        return engine.fingerprint(), engine.encoding_key(), engine.category_key(Category("car"))

    before, folder = version(), Path(own_head.models.head.source)
    assert version() == before
    if edited == "a weight":
        weights = load_file(folder / "head.safetensors")
        weights["names.null"][0] += 1
        save_file(weights, folder / "head.safetensors")
    else:
        card = (folder / "head.json").read_text("utf-8")
        (folder / "head.json").write_text(card.replace('"automobile"', '"motor-car"'), "utf-8")
    assert not set(version()) & set(before)


def test_a_category_s_key_follows_its_name_words_and_kind(odise_engine: OdiseEngine) -> None:
    categories = [
        Category("car"),
        Category("car", ("auto",)),
        Category("car", kind="stuff"),
        Category("motor", ("car",)),
    ]
    assert len({odise_engine.category_key(each) for each in categories}) == 4
    assert odise_engine.category_key(Category("car")) == odise_engine.category_key(Category("car"))
