"""Batches, redraws and resuming, with a generator that is quick and remembers what it was asked for.

That images which share a batch are those that are drawn alone is tested in `generation/test_diffusion.py`.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ovdiff.bank.support_store import DrawnBatch, Shelf
from ovdiff.building.drawing import Order, categories_together, draw_images, draw_together
from ovdiff.building.generation.diffusion import DrawingBatch, image_seed
from ovdiff.building.parts import BuildingParts
from ovdiff.errors import DeviceMemoryError, SupportError, VocabularyError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from tests.fakes.generator import FakeGenerator

STEPS = 2


class _Safety:
    """Refuses the drawings (number, attempt) that it is told to."""

    def __init__(self, *bad: tuple[int, int]) -> None:
        self.bad = bad

    def refused(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.array([(int(image[0, 0, 0]), int(image[0, 0, 1])) in self.bad for image in images])


def _parts(
    preset: Preset, generator: FakeGenerator, safety: _Safety | None = None, batch_size: int = 2, device: str = "cpu"
) -> BuildingParts:
    generation = replace(preset.generation, images=6, steps=STEPS, batch_size=batch_size)
    parts = BuildingParts(
        replace(preset, generation=generation, safety=replace(preset.safety, max_redraws=2)), LoadedModels(device)
    )
    vars(parts).update(generator=generator, safety=safety)
    return parts


def _draw(parts: BuildingParts, phrases: list[str], shelf: Shelf | None = None) -> tuple[DrawnBatch, ...]:
    return draw_images(parts, phrases, shelf, lambda _: None)


def _shown(batches: tuple[DrawnBatch, ...]) -> dict[int, list[int]]:
    """Return each image's pixel: number, attempt, company."""
    return {item.number: item.image[0, 0].tolist() for batch in batches for item in batch.images}


def test_phrases_share_the_images_and_are_batched(preset: Preset) -> None:
    generator = FakeGenerator()
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
    generator = FakeGenerator()
    with pytest.raises(VocabularyError, match="7 prompts"):
        _draw(_parts(preset, generator), list("abcdefg"))
    assert not generator.asked


def test_a_refused_image_is_drawn_anew_with_its_next_seed(preset: Preset) -> None:
    generator = FakeGenerator()
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
    batches = _draw(_parts(preset, FakeGenerator(), safety), ["boat"])
    assert sorted(_shown(batches)) == [0, 1, 2, 4, 5]
    assert (batches[1].left_out, batches[1].refused) == ((3,), 3)


def test_when_all_are_refused_the_error_says_so(preset: Preset) -> None:
    everything = _Safety(*((number, attempt) for number in range(6) for attempt in range(3)))
    with pytest.raises(SupportError, match=r"Every image generated for 'boat' was refused as unsafe, 18 in all"):
        _draw(_parts(preset, FakeGenerator(), everything), ["boat"])


@pytest.mark.parametrize("batch_size", [1, 2, 4, 6])
def test_the_batch_size_decides_no_image(preset: Preset, batch_size: int) -> None:
    safety = _Safety((1, 0), (2, 0), (2, 1), (5, 0), (5, 1), (5, 2))
    batches = _draw(_parts(preset, FakeGenerator(), safety, batch_size), ["boat"])
    assert {number: pixel[1] for number, pixel in _shown(batches).items()} == {0: 0, 1: 1, 2: 2, 3: 0, 4: 0}
    assert sum(batch.refused for batch in batches) == 6


@pytest.mark.parametrize("finished", [0, 1, 2, 3])
def test_after_an_interruption_every_image_has_the_same_company(preset: Preset, tmp_path: Path, finished: int) -> None:
    safety = _Safety((1, 0), (2, 0), (3, 0), (3, 1), (3, 2))
    shelf = Shelf(tmp_path / "set", "0" * 16)
    unbroken = _draw(_parts(preset, FakeGenerator(), safety), ["boat"], Shelf(tmp_path / "unbroken", "0" * 16))
    for batch in unbroken[:finished]:
        shelf.keep(batch)
    generator = FakeGenerator()
    resumed = _draw(_parts(preset, generator, safety), ["boat"], shelf)
    assert _shown(resumed) == _shown(unbroken)
    assert not {n for batch in unbroken[:finished] for n in batch.numbers} & {
        n for batch in generator.asked for n in batch.numbers
    }
    assert _shown(shelf.batches()) == _shown(unbroken)


def test_a_damaged_batch_is_drawn_with_the_company_it_had(preset: Preset, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "set", "0" * 16)
    unbroken = _draw(_parts(preset, FakeGenerator()), ["boat"], shelf)
    (shelf.folder / "batch-0002" / "0003.png").write_bytes(b"")
    generator = FakeGenerator()
    assert _shown(_draw(_parts(preset, generator), ["boat"], shelf)) == _shown(unbroken)
    assert generator.asked == [DrawingBatch("boat", (2, 3))]


def test_what_is_all_there_loads_no_model(preset: Preset, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "set", "0" * 16)
    _draw(_parts(preset, FakeGenerator()), ["boat"], shelf)
    parts = _parts(preset, FakeGenerator())
    del vars(parts)["generator"]
    assert len(_shown(_draw(parts, ["boat"], shelf))) == 6
    assert "generator" not in vars(parts)


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_drawn_twice(preset: Preset, tmp_path: Path) -> None:
    generator, shelf = FakeGenerator(room=2), Shelf(tmp_path / "set", "0" * 16)
    _draw(_parts(preset, generator, batch_size=6), ["boat"], shelf)
    assert [batch.numbers for batch in generator.asked if len(batch.numbers) <= 2] == [(0,), (1, 2), (3,), (4, 5)]
    assert sorted(_shown(shelf.batches())) == list(range(6))


def test_progress_never_falls_and_ends_at_one(preset: Preset, tmp_path: Path) -> None:
    told: list[float] = []
    parts = _parts(preset, FakeGenerator(room=2), _Safety((1, 0), (2, 0)), batch_size=4)
    draw_images(parts, ["boat"], Shelf(tmp_path / "set", "0" * 16), told.append)
    assert told == sorted(told) and told[-1] == 1.0 and told[0] > 0


def test_no_refused_image_is_stored(preset: Preset, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "set", "0" * 16)
    _draw(_parts(preset, FakeGenerator(), _Safety((1, 0), (4, 0), (4, 1), (4, 2))), ["boat"], shelf)
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
    generator = FakeGenerator()
    _draw(_parts(small, generator, batch_size=6), ["boat"])
    assert [len(batch.numbers) for batch in generator.asked] == [3, 3]
    large = replace(preset, generation=replace(preset.generation, mib_per_image=600))
    with pytest.raises(DeviceMemoryError, match="no room for sampling a support image: it takes 600 MiB"):
        _draw(_parts(large, generator), ["boat"])


def test_memory_is_left_out_of_the_batch_where_a_person_says_so(
    preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mib_per_image = 0` did so before there was `mib_per_sample`, which `fast` gives."""
    monkeypatch.setattr("ovdiff.models.memory.memory_of", lambda _: _Memory())
    free = replace(preset, generation=replace(preset.generation, mib_per_image=0, mib_per_sample=70))
    generator = FakeGenerator()
    _draw(_parts(free, generator, batch_size=6), ["boat"])
    assert [len(batch.numbers) for batch in generator.asked] == [6]
    sampled = replace(preset, generation=replace(preset.generation, mib_per_image=100, mib_per_sample=40))
    generator = FakeGenerator()
    _draw(_parts(sampled, generator, batch_size=6), ["boat"])
    assert [len(batch.numbers) for batch in generator.asked] == [4, 2]


SHARED = "cpu+shared_batches"


def _orders(folder: Path, *phrases: str, told: list[str] | None = None) -> list[Order]:
    def teller(phrase: str) -> Callable[[float], None]:
        return lambda done: None if told is None else told.append(f"{phrase} {done:.2f}")

    return [Order([phrase], Shelf(folder / phrase, "0" * 16), teller(phrase)) for phrase in phrases]


def test_phrases_share_batches_where_the_device_says_so(preset: Preset) -> None:
    generator = FakeGenerator()
    found = _draw(_parts(preset, generator, batch_size=4, device=SHARED), ["boat", "ship"])
    assert generator.together == [[("boat", (0, 2, 4)), ("ship", (1,))]] and generator.asked == [
        DrawingBatch("ship", (3, 5))
    ]
    assert [sorted(batch.numbers) for batch in found] == [[0, 2, 4], [1], [3, 5]]
    assert [batch.prompt[-4:] for batch in found] == ["boat", "ship", "ship"]


def test_categories_that_are_drawn_together_share_batches_and_each_is_found_on_its_shelf(
    preset: Preset, tmp_path: Path
) -> None:
    generator, told = FakeGenerator(), list[str]()
    parts = _parts(preset, generator, _Safety((1, 0), (5, 0), (5, 1), (5, 2)), batch_size=4, device=SHARED)
    draw_together(parts, _orders(tmp_path, "boat", "ship", told=told))
    assert generator.together == [
        [("boat", tuple(range(6))), ("ship", (0, 1))],
        [("boat", (1, 5)), ("ship", (1,))],  # drawn anew together, too
    ]
    for phrase in ("boat", "ship"):
        shelf = Shelf(tmp_path / phrase, "0" * 16)
        kept = shelf.batches()
        assert {number: pixel[1] for number, pixel in _shown(kept).items()} == {0: 0, 1: 1, 2: 0, 3: 0, 4: 0}
        assert [batch.refused for batch in kept if batch.refused] and {n for b in kept for n in b.left_out} == {5}
        mine = [float(line.split()[1]) for line in told if line.startswith(phrase)]
        assert mine == sorted(mine) and mine[-1] == 1.0
        later = FakeGenerator()
        assert _shown(_draw(_parts(preset, later, device=SHARED), [phrase], shelf)) == _shown(kept)
        assert not later.asked and not later.together


def test_together_as_many_are_drawn_as_the_preset_wants_for_each(preset: Preset, tmp_path: Path) -> None:
    generator = FakeGenerator()
    parts = _parts(preset, generator, batch_size=3, device=SHARED)
    draw_together(parts, _orders(tmp_path, "boat", "ship", "fish"))
    first, second = tuple(range(6)), tuple(range(3))
    assert generator.together == [[("boat", first), ("ship", second)], [("ship", (3, 4, 5)), ("fish", first)]]


def test_a_shared_batch_that_does_not_fit_is_halved_and_nothing_is_drawn_twice(preset: Preset, tmp_path: Path) -> None:
    generator = FakeGenerator(room=5)
    draw_together(_parts(preset, generator, batch_size=6, device=SHARED), _orders(tmp_path, "boat", "ship"))
    for phrase in ("boat", "ship"):
        assert sorted(_shown(Shelf(tmp_path / phrase, "0" * 16).batches())) == list(range(6))
    assert [sum(len(numbers) for _, numbers in batch) for batch in generator.together] == [12]
    assert [(batch.phrase, batch.numbers) for batch in generator.asked] == [
        ("boat", tuple(range(6))), ("boat", (0, 1, 2)), ("boat", (3, 4, 5)),
        ("ship", tuple(range(6))), ("ship", (0, 1, 2)), ("ship", (3, 4, 5)),
    ]  # fmt: skip


def test_who_is_stopped_between_two_shared_batches_goes_on_there(preset: Preset, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(done: float) -> None:
        if done > 0.5:
            raise StopError

    orders = _orders(tmp_path, "boat", "ship", "fish")
    generator = FakeGenerator()
    parts = _parts(preset, generator, batch_size=3, device=SHARED)
    with pytest.raises(StopError):
        draw_together(parts, [*orders[:1], Order(["ship"], orders[1].shelf, stop), *orders[2:]])
    assert len(generator.together) == 2
    resumed = FakeGenerator()
    draw_together(_parts(preset, resumed, batch_size=3, device=SHARED), orders)
    assert resumed.together == [[("ship", (3, 4, 5)), ("fish", (0, 1, 2))]]


def test_a_category_that_cannot_be_drawn_keeps_no_other_one_back(preset: Preset, tmp_path: Path) -> None:
    generator = FakeGenerator()
    parts = _parts(preset, generator, batch_size=6, device=SHARED)
    long = Order(["very " * 5 + "long"], Shelf(tmp_path / "long", "0" * 16), lambda _: None)
    many = Order(list("abcdefg"), Shelf(tmp_path / "many", "0" * 16), lambda _: None)
    draw_together(parts, [long, *_orders(tmp_path, "boat"), many, *_orders(tmp_path, "ship")])
    assert [[phrase for phrase, _ in batch] for batch in generator.together] == [["boat", "ship"]]
    draw_together(parts, [long, *_orders(tmp_path, "fish")])  # A single one is left to its own build.
    assert len(generator.together) == 1 and not generator.asked


def test_categories_of_few_images_are_drawn_together_and_those_of_many_are_not(preset: Preset) -> None:
    parts = _parts(preset, FakeGenerator(), device=SHARED)
    assert categories_together(parts) == 5  # of six images
    assert categories_together(_parts(preset, FakeGenerator())) == 1
    many = replace(preset, generation=replace(preset.generation, images=32))
    assert categories_together(BuildingParts(many, LoadedModels(SHARED))) == 1
