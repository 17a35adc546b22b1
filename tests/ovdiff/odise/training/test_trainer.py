import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ovdiff.odise.encoding import WindowGrid
from ovdiff.odise.naming import Label
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset, TrainingSettings
from ovdiff.odise.training.checkpoint import Checkpoint
from ovdiff.odise.training.feature_store import FeatureStore, View
from ovdiff.odise.training.trainer import CaptionWords, Trainer, rate
from ovdiff.tinyworld.world import NAMES, render, sample_scene

LABELS = [Label(name, (name,), False) for name in NAMES]


def view(number: int) -> View:
    drawn = render(sample_scene(number), 64)
    segments = np.zeros((32, 32), np.uint8)
    segments[:16], segments[16:, :20] = 1, 2
    return View(drawn.image[None], segments, [0, 1], ["A car."], number // 2)


@pytest.fixture(scope="module")
def store(odise_parts: OdiseParts, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    made = FeatureStore(tmp_path_factory.mktemp("trainer"))
    made.fill(view, 3, odise_parts.encoder, lambda _: None)
    return made


def trainer(preset: OdisePreset, parts: OdiseParts, store: FeatureStore, checkpoint: Path) -> Trainer:
    torch.manual_seed(0)
    head = parts.new_head()
    texts = parts.label_texts(LABELS, ("a {category}",))
    return Trainer(preset, head, parts.encoder, store, WindowGrid((64, 64), 1, 1, 64), texts, None, checkpoint)


def test_a_run_that_is_continued_ends_at_the_same_numbers(
    odise_preset: OdisePreset, odise_parts: OdiseParts, store: FeatureStore, tmp_path: Path
) -> None:
    steps: list[int] = []
    at_once = trainer(odise_preset, odise_parts, store, tmp_path / "a.pt").run(4, lambda step, _: steps.append(step))
    trainer(odise_preset, odise_parts, store, tmp_path / "b.pt").run(2, lambda step, _: steps.append(step))
    torch.manual_seed(99)
    (tmp_path / "b.pt.tmp").touch()
    continued = trainer(odise_preset, odise_parts, store, tmp_path / "b.pt").run(4, lambda step, _: steps.append(step))
    assert steps == [0, 1, 2, 3, 0, 1, 2, 3]
    assert at_once.keys() == continued.keys()
    for name, value in at_once.items():
        assert torch.equal(value, continued[name]), name


def test_a_training_learns_and_every_part_of_the_head_moves(
    odise_preset: OdisePreset, odise_parts: OdiseParts, store: FeatureStore, tmp_path: Path
) -> None:
    plan = replace(odise_preset.training, steps=12, ema=0.0, batch=3, captioner_rate=5.0)
    preset = replace(odise_preset, training=plan)
    one = trainer(preset, odise_parts, store, tmp_path / "c.pt")
    before = {name: value.clone() for name, value in one.head.named_parameters()}
    losses: list[float] = []
    weights = one.run(12, lambda _, figures: losses.append(figures["loss"]))
    assert losses[-1] < 0.8 * losses[0]
    still = {name for name, value in before.items() if torch.equal(value, weights[name])}
    assert not still


@pytest.mark.parametrize("schedule", ["steps", "cosine"])
def test_the_rate_rises_and_falls_as_planned(schedule: str) -> None:
    plan = TrainingSettings(steps=1000, warmup=100, schedule=schedule)  # type: ignore[arg-type]
    assert rate(0, plan) == 0.01
    assert rate(49, plan) == 0.5
    if schedule == "steps":
        found = [rate(step, plan) for step in (100, 888, 889, 962, 963, 999)]
        assert found == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.01, 0.01])
    else:
        for step in (100, 325, 1000):
            done = (step - 100) / 900
            assert rate(step, plan) == pytest.approx(0.02 + 0.49 * (1 + math.cos(math.pi * done)))


def test_matrices_decay_vectors_do_not_and_the_captioner_has_its_own_rate(
    odise_preset: OdisePreset, odise_parts: OdiseParts, store: FeatureStore, tmp_path: Path
) -> None:
    plan = replace(odise_preset.training, captioner_rate=3.0, weight_decay=0.05)
    one = trainer(replace(odise_preset, training=plan), odise_parts, store, tmp_path / "d.pt")
    groups = one._groups()
    names = {id(parameter): name for name, parameter in one.head.named_parameters()}
    seen: set[str] = set()
    for group in groups:
        for parameter in group["params"]:  # type: ignore[attr-defined]
            name = names[id(parameter)]
            seen.add(name)
            assert group["weight_decay"] == (0.05 if parameter.dim() > 1 else 0.0), name
            assert group["factor"] == (3.0 if name.startswith("captioner.") else 1.0), name
    assert seen == set(names.values())


def test_a_mirrored_step_has_the_loss_of_mirrored_features_and_segments(
    odise_preset: OdisePreset, odise_parts: OdiseParts, store: FeatureStore, tmp_path: Path
) -> None:
    one = trainer(odise_preset, odise_parts, store, tmp_path / "e.pt")
    batch = store.batch(np.array([0, 1]))
    with torch.no_grad():
        unet = odise_parts.encoder.unet(batch.latents.float(), batch.embeddings.float(), one.head.captioner)

    def losses(mirror: bool, flipped: bool) -> dict[str, Tensor]:
        def turned(maps: list[Tensor]) -> list[Tensor]:
            return [each.flip(-1) for each in maps] if flipped else maps

        segments = batch.segments.flip(-1) if flipped else batch.segments
        seen = replace(batch, maps=turned(batch.maps), unet=turned(unet), segments=segments)
        return one.losses(seen, np.random.default_rng(0), mirror=mirror)

    mirrored, by_hand, plain = losses(True, False), losses(False, True), losses(False, False)
    for name, value in by_hand.items():
        assert float(mirrored[name]) == pytest.approx(float(value), rel=1e-4)
    assert float(plain["mask"]) != pytest.approx(float(by_hand["mask"]), rel=1e-4)


def test_the_views_of_one_image_are_no_negatives_of_one_another(
    odise_preset: OdisePreset, odise_parts: OdiseParts, store: FeatureStore, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    drawn = CaptionWords(torch.randn(3, 2, odise_parts.text_channels), torch.zeros(3, 3, dtype=torch.bool))

    def loss(images: list[int], excused: Tensor) -> float:
        one = trainer(odise_preset, odise_parts, store, tmp_path / "f.pt")
        one.words = lambda _captions, _rng: drawn._replace(excused=excused)
        batch = replace(store.batch(np.arange(3)), images=images)
        return float(one.losses(batch, np.random.default_rng(0), mirror=False)["caption"])

    assert store.images(np.arange(3)) == [0, 0, 1]
    pair = torch.zeros(3, 3, dtype=torch.bool)
    pair[0, 1] = pair[1, 0] = True
    assert loss([0, 0, 1], drawn.excused) == pytest.approx(loss([0, 1, 2], pair), rel=1e-5)
    assert loss([0, 0, 1], drawn.excused) != pytest.approx(loss([0, 1, 2], drawn.excused), rel=1e-3)


def test_a_checkpoint_is_loaded_once_however_often_a_training_stops(
    odise_preset: OdisePreset,
    odise_parts: OdiseParts,
    store: FeatureStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer(odise_preset, odise_parts, store, tmp_path / "g.pt").run(1, lambda *_: None)
    loads: list[bool] = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *given, **more: loads.append(more["mmap"]) or load(*given, **more))  # type: ignore[func-returns-value]
    one = trainer(odise_preset, odise_parts, store, tmp_path / "g.pt")
    assert one.done() == 1
    first = one.run(2, lambda *_: None)
    kept = {name: value.clone() for name, value in first.items()}
    one.run(3, lambda *_: None)
    assert loads == [False] and one.done() == 3
    assert all(torch.equal(value, first[name]) for name, value in kept.items())  # What was handed out stays.
    assert Checkpoint(tmp_path / "g.pt").steps() == 3 and loads == [False, True]
