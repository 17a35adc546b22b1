"""Batches, redraws and resuming, with a generator that is quick and remembers what it was asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovdiff.bank.support_store import DrawnBatch, Shelf
from ovdiff.building.drawing import draw_images
from ovdiff.building.generation.diffusion import DrawingBatch, Generated, image_seed
from ovdiff.building.parts import BuildingParts
from ovdiff.errors import DeviceMemoryError, SupportError, VocabularyError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset

STEPS = 2


class _Generator:
    """An image's pixels say its number, its attempt, and with how many others it was sampled."""

    def __init__(self, room: int = 99) -> None:
        self.asked: list[DrawingBatch] = []
        self.room = room

    def generate(self, batch: DrawingBatch, on_step: Callable[[], None]) -> Generated:
        self.asked.append(batch)
        on_step()
        if len(batch.numbers) > self.room:
            raise torch.OutOfMemoryError("no room")
        on_step()
        images = np.zeros((len(batch.numbers), 8, 8, 3), np.uint8)
        images[:] = [[[[number, batch.attempt, len(batch.numbers)]]] for number in batch.numbers]
        return Generated(images, images[:, :2, :2, 0].astype(np.float32))


class _Safety:
    """Refuses the drawings (number, attempt) that it is told to."""

    def __init__(self, *bad: tuple[int, int]) -> None:
        self.bad = bad

    def refused(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.array([(int(image[0, 0, 0]), int(image[0, 0, 1])) in self.bad for image in images])


def _parts(preset: Preset, generator: _Generator, safety: _Safety | None = None, batch_size: int = 2) -> BuildingParts:
    generation = replace(preset.generation, images=6, steps=STEPS, batch_size=batch_size)
    parts = BuildingParts(
        replace(preset, generation=generation, safety=replace(preset.safety, max_redraws=2)), LoadedModels()
    )
    vars(parts).update(generator=generator, safety=safety)
    return parts


def _draw(parts: BuildingParts, phrases: list[str], shelf: Shelf | None = None) -> tuple[DrawnBatch, ...]:
    return draw_images(parts, phrases, shelf, lambda _: None)


def _shown(batches: tuple[DrawnBatch, ...]) -> dict[int, list[int]]:
    """Return each image's pixel: number, attempt, company."""
    return {item.number: item.image[0, 0].tolist() for batch in batches for item in batch.images}


def test_phrases_share_the_images_and_are_batched(preset: Preset) -> None:
    generator = _Generator()
    batches = _draw(_parts(preset, generator), ["boat", "ship"])
    assert generator.asked == [
        DrawingBatch("boat", (0, 2)),
        DrawingBatch("boat", (4,)),
        DrawingBatch("ship", (1, 3)),
        DrawingBatch("ship", (5,)),
    ]
    assert [batch.prompt for batch in batches] == ["a good photo of a boat"] * 2 + ["a good photo of a ship"] * 2
    assert [item.seed for item in batches[0].images] == [image_seed(preset.generation.seed, n) for n in (0, 2)]


def test_more_phrases_than_images_are_refused_before_anything_is_drawn(preset: Preset) -> None:
    generator = _Generator()
    with pytest.raises(VocabularyError, match="7 prompts"):
        _draw(_parts(preset, generator), list("abcdefg"))
    assert not generator.asked


def test_a_refused_image_is_drawn_anew_with_its_next_seed(preset: Preset) -> None:
    generator = _Generator()
    batches = _draw(_parts(preset, generator, _Safety((1, 0), (1, 1), (4, 0))), ["boat"])
    assert _shown(batches) == {0: [0, 0, 2], 1: [1, 2, 1], 2: [2, 0, 2], 3: [3, 0, 2], 4: [4, 1, 1], 5: [5, 0, 2]}
    assert generator.asked[:3] == [
        DrawingBatch("boat", (0, 1)),
        DrawingBatch("boat", (1,), 1),
        DrawingBatch("boat", (1,), 2),
    ]
    assert [batch.refused for batch in batches] == [2, 0, 1]
    second = batches[0].images[1]
    assert (second.attempt, second.seed) == (2, image_seed(preset.generation.seed, 1, 2))


def test_one_that_is_refused_to_the_end_is_left_out_and_counted(preset: Preset) -> None:
    safety = _Safety((3, 0), (3, 1), (3, 2))
    batches = _draw(_parts(preset, _Generator(), safety), ["boat"])
    assert sorted(_shown(batches)) == [0, 1, 2, 4, 5]
    assert (batches[1].left_out, batches[1].refused) == ((3,), 3)


def test_when_all_are_refused_the_error_says_so(preset: Preset) -> None:
    everything = _Safety(*((number, attempt) for number in range(6) for attempt in range(3)))
    with pytest.raises(SupportError, match=r"Every image generated for 'boat' was refused as unsafe, 18 in all"):
        _draw(_parts(preset, _Generator(), everything), ["boat"])


@pytest.mark.parametrize("batch_size", [1, 2, 4, 6])
def test_the_batch_size_decides_no_image(preset: Preset, batch_size: int) -> None:
    safety = _Safety((1, 0), (2, 0), (2, 1), (5, 0), (5, 1), (5, 2))
    batches = _draw(_parts(preset, _Generator(), safety, batch_size), ["boat"])
    assert {number: pixel[1] for number, pixel in _shown(batches).items()} == {0: 0, 1: 1, 2: 2, 3: 0, 4: 0}
    assert sum(batch.refused for batch in batches) == 6


@pytest.mark.parametrize("finished", [0, 1, 2, 3])
def test_after_an_interruption_every_image_has_the_same_company(preset: Preset, tmp_path: Path, finished: int) -> None:
    safety = _Safety((1, 0), (2, 0), (3, 0), (3, 1), (3, 2))
    shelf = Shelf(tmp_path / "set", "0" * 16)
    unbroken = _draw(_parts(preset, _Generator(), safety), ["boat"], Shelf(tmp_path / "unbroken", "0" * 16))
    for batch in unbroken[:finished]:
        shelf.keep(batch)
    generator = _Generator()
    resumed = _draw(_parts(preset, generator, safety), ["boat"], shelf)
    assert _shown(resumed) == _shown(unbroken)
    assert not {n for batch in unbroken[:finished] for n in batch.numbers} & {
        n for batch in generator.asked for n in batch.numbers
    }
    assert _shown(shelf.batches()) == _shown(unbroken)


def test_a_damaged_batch_is_drawn_with_the_company_it_had(preset: Preset, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "set", "0" * 16)
    unbroken = _draw(_parts(preset, _Generator()), ["boat"], shelf)
    (shelf.folder / "batch-0002" / "0003.png").write_bytes(b"")
    generator = _Generator()
    assert _shown(_draw(_parts(preset, generator), ["boat"], shelf)) == _shown(unbroken)
    assert generator.asked == [DrawingBatch("boat", (2, 3))]


def test_what_is_all_there_loads_no_model(preset: Preset, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "set", "0" * 16)
    _draw(_parts(preset, _Generator()), ["boat"], shelf)
    parts = _parts(preset, _Generator())
    del vars(parts)["generator"]
    assert len(_shown(_draw(parts, ["boat"], shelf))) == 6
    assert "generator" not in vars(parts)


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_drawn_twice(preset: Preset, tmp_path: Path) -> None:
    generator, shelf = _Generator(room=2), Shelf(tmp_path / "set", "0" * 16)
    _draw(_parts(preset, generator, batch_size=6), ["boat"], shelf)
    assert [batch.numbers for batch in generator.asked if len(batch.numbers) <= 2] == [(0,), (1, 2), (3,), (4, 5)]
    assert sorted(_shown(shelf.batches())) == list(range(6))


def test_progress_never_falls_and_ends_at_one(preset: Preset, tmp_path: Path) -> None:
    told: list[float] = []
    parts = _parts(preset, _Generator(room=2), _Safety((1, 0), (2, 0)), batch_size=4)
    draw_images(parts, ["boat"], Shelf(tmp_path / "set", "0" * 16), told.append)
    assert told == sorted(told) and told[-1] == 1.0 and told[0] > 0


def test_no_refused_image_is_stored(preset: Preset, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "set", "0" * 16)
    _draw(_parts(preset, _Generator(), _Safety((1, 0), (4, 0), (4, 1), (4, 2))), ["boat"], shelf)
    assert {tuple(pixel[:2]) for pixel in _shown(shelf.batches()).values()} == {(0, 0), (1, 1), (2, 0), (3, 0), (5, 0)}
    assert len(list(shelf.folder.rglob("*.png"))) == 5


class _Memory:
    """A device on which 700 MiB are free and nothing is used."""

    def free_mib(self) -> float:
        return 700.0

    def used_mib(self) -> float:
        return 0.0


def test_batches_are_as_large_as_the_memory_allows(preset: Preset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovdiff.models.memory.memory_of", lambda _: _Memory())
    small = replace(preset, generation=replace(preset.generation, mib_per_image=60))
    generator = _Generator()
    _draw(_parts(small, generator, batch_size=6), ["boat"])
    assert [len(batch.numbers) for batch in generator.asked] == [3, 3]
    large = replace(preset, generation=replace(preset.generation, mib_per_image=600))
    with pytest.raises(DeviceMemoryError, match="no room for sampling a support image: it takes 600 MiB"):
        _draw(_parts(large, generator), ["boat"])
