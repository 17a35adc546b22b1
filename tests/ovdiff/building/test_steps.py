from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovdiff.bank.support import SupportSet
from ovdiff.bank.support_store import DrawnImage, Shelf
from ovdiff.building.generation.diffusion import DrawingBatch
from ovdiff.building.parts import BuildingParts
from ovdiff.building.prototypes import build_prototypes, cell_mask
from ovdiff.building.steps import enlarge, find_masks, make_prototype_set, make_support_set, stored_support_set
from ovdiff.errors import DeviceMemoryError, SupportError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.proposals.threshold import multi_otsu_thresholds


@pytest.fixture(scope="module")
def parts(preset: Preset) -> BuildingParts:
    return BuildingParts(preset, LoadedModels())


@pytest.fixture(scope="module")
def support(parts: BuildingParts) -> SupportSet:
    return make_support_set(parts, ["boat", "ship"], lambda *_: None)


class _Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    def __call__(self, stage: str, fraction: float) -> None:
        self.calls.append((stage, fraction))


def test_images_are_ordered_by_number_and_not_by_batch(parts: BuildingParts, support: SupportSet) -> None:
    assert len(support.images) == 3
    second = parts.generator.generate(DrawingBatch("ship", (1,)))
    difference = support.images[1].image.astype(int) - second.images[0].astype(int)
    assert np.abs(difference).max() <= 1


def test_each_extractor_gets_its_prototypes(parts: BuildingParts, support: SupportSet) -> None:
    spaces = make_prototype_set(parts, support, lambda *_: None).spaces
    assert set(spaces) == set(parts.preset.extractors.use)
    shown = support.with_foreground()
    for space in spaces.values():
        assert len(space.foreground.vectors) == 1 + shown + parts.preset.prototypes.parts


def test_progress_only_grows_and_names_its_stages(parts: BuildingParts) -> None:
    progress = _Recorder()
    support = make_support_set(parts, ["boat"], progress)
    make_prototype_set(parts, support, progress)
    fractions = [fraction for _, fraction in progress.calls]
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] <= 1
    assert list(dict.fromkeys(stage for stage, _ in progress.calls)) == ["generating", "masking", "extracting"]


@pytest.mark.parametrize("source", ["otsu", "multi_otsu", "fixed", "maskcut"])
def test_every_source_gives_disjoint_masks(source: Any, preset: Preset, support: SupportSet) -> None:
    small = replace(preset.proposals.maskcut, input_px=64)
    parts = BuildingParts(
        replace(preset, proposals=replace(preset.proposals, source=source, maskcut=small)), LoadedModels()
    )
    attributions = np.stack([item.attribution for item in support.images])
    for foreground, background in find_masks(parts, _drawn(support), attributions):
        assert foreground.shape == background.shape == attributions.shape[1:]
        assert foreground.any() and not (foreground & background).any()


def _drawn(support: SupportSet) -> list[DrawnImage]:
    """Return the support images as they were drawn, with small recorded maps."""
    return [
        DrawnImage(number, item.seed, 0, item.image, item.attribution[::4, ::4] * 3)
        for number, item in enumerate(support.images)
    ]


@pytest.mark.parametrize("maps", ["enlarged", "recorded"])
def test_thresholds_are_found_on_the_maps_that_the_preset_names(maps: Any, preset: Preset, support: SupportSet) -> None:
    """R finds multi-Otsu's pair on the latent grid (A.4.6), on maps in [0, 1] as attribution is."""
    chosen = replace(preset.proposals, source="multi_otsu", threshold_maps=maps)
    parts = BuildingParts(replace(preset, proposals=chosen), LoadedModels())
    drawn, attributions = _drawn(support), np.stack([item.attribution for item in support.images])
    found = find_masks(parts, drawn, attributions)
    small = np.stack([item.attribution for item in drawn])
    low, high = small.min(axis=(1, 2), keepdims=True), small.max(axis=(1, 2), keepdims=True)
    read = attributions if maps == "enlarged" else ((small - low) / (high - low + 1e-6)).astype(np.float32)
    for (foreground, background), attribution, pair in zip(
        found, attributions, multi_otsu_thresholds(read, chosen), strict=True
    ):
        np.testing.assert_array_equal(foreground, attribution > pair.foreground)
        np.testing.assert_array_equal(background, attribution < pair.background)


def test_a_category_that_no_image_shows_is_an_error_that_says_so(preset: Preset) -> None:
    nothing = replace(preset.proposals, source="fixed", fixed_foreground=1.0)
    with pytest.raises(SupportError, match=r"None of the 3 images generated for 'boat' has a foreground.*'fixed'"):
        make_support_set(BuildingParts(replace(preset, proposals=nothing), LoadedModels()), ["boat"], lambda *_: None)


def test_foreground_that_reaches_no_feature_cell_is_an_error_and_not_an_empty_set(
    parts: BuildingParts, support: SupportSet
) -> None:
    specks = []
    for item in support.images:
        speck = np.zeros_like(item.foreground)
        speck[0, 0] = True  # cells are sampled at their middle
        specks.append(replace(item, foreground=speck))
    with pytest.raises(SupportError, match=r"no usable .* features of its foreground.*mask_coverage"):
        make_prototype_set(parts, SupportSet(tuple(specks)), lambda *_: None)


def test_each_image_tells_its_prompt_and_seed(support: SupportSet) -> None:
    assert tuple(item.prompt for item in support.images) == tuple(
        f"a good photo of a {phrase}" for phrase in ("boat", "ship", "boat")
    )
    assert len({item.seed for item in support.images}) == len(support.images)


def test_images_and_masks_are_kept_and_come_back_without_a_model(
    preset: Preset, support: SupportSet, parts: BuildingParts, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "set", "0" * 16)
    assert stored_support_set(shelf, preset) is None
    made = make_support_set(parts, ["boat", "ship"], lambda *_: None, shelf)
    found = stored_support_set(Shelf(tmp_path / "set", "0" * 16), preset)
    assert found is not None
    for one, other, unkept in zip(found.images, made.images, support.images, strict=True):
        for name in ("image", "attribution", "foreground", "background"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
            np.testing.assert_array_equal(getattr(one, name), getattr(unkept, name))
    assert [(item.seed, item.prompt) for item in found.images] == [(item.seed, item.prompt) for item in made.images]
    assert found.refused == made.refused
    more = replace(preset, generation=replace(preset.generation, images=4))
    assert stored_support_set(shelf, more) is None  # not all of it
    assert stored_support_set(Shelf(tmp_path / "set", "1" * 16), preset) is None  # no such masks


def test_what_is_kept_is_not_made_again(preset: Preset, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "set", "0" * 16)
    maskcut = replace(preset.proposals, source="maskcut", maskcut=replace(preset.proposals.maskcut, input_px=64))
    first = BuildingParts(replace(preset, proposals=maskcut), LoadedModels())
    make_support_set(first, ["boat"], lambda *_: None, shelf)
    again = BuildingParts(replace(preset, proposals=maskcut), LoadedModels())
    make_support_set(again, ["boat"], lambda *_: None, shelf)
    assert not {"generator", "proposer"} & set(vars(again))


def test_masks_are_kept_also_where_no_image_has_a_foreground(preset: Preset, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "set", "0" * 16)
    nothing = replace(preset, proposals=replace(preset.proposals, source="fixed", fixed_foreground=1.0))
    with pytest.raises(SupportError):
        make_support_set(BuildingParts(nothing, LoadedModels()), ["boat"], lambda *_: None, shelf)
    found = stored_support_set(shelf, nothing)
    assert found is not None and found.with_foreground() == 0  # for a person to see why


def test_maps_are_enlarged_alike_in_any_company() -> None:
    maps = list(np.random.default_rng(0).random((3, 8, 8), dtype=np.float32))
    together = enlarge(maps, 32)
    assert together.shape == (3, 32, 32) and together.dtype == np.float32
    for one, large in zip(maps, together, strict=True):
        np.testing.assert_array_equal(enlarge([one], 32)[0], large)


class _Extractor:
    """Features that say where they are: (row, column) of their cell and the image's first pixel."""

    def __init__(self, room: int = 99) -> None:
        self.room, self.batches = room, list[int]()

    def extract(self, images: NDArray[np.uint8], _purpose: str) -> Tensor:
        self.batches.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("no room")
        rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        firsts = torch.from_numpy(images[:, 0, 0, 0].astype(np.float32))
        return torch.stack([torch.stack([rows, columns, torch.full((8, 8), float(first))]) for first in firsts])


def _with_extractor(preset: Preset, extractor: _Extractor, device: str = "cpu", **model: Any) -> BuildingParts:
    changed = replace(preset, extractors=replace(preset.extractors, use=("clip",), batch_size=3))
    clip = replace(preset.models.clip, **model)  # type: ignore[type-var]
    parts = BuildingParts(replace(changed, models=replace(preset.models, clip=clip)), LoadedModels(device))
    parts.extractors._made["clip"] = extractor
    return parts


def test_only_features_under_the_masks_are_averaged(preset: Preset, support: SupportSet) -> None:
    found = make_prototype_set(_with_extractor(preset, _Extractor()), support, lambda *_: None).spaces["clip"]
    for side, vectors in (("foreground", found.foreground.vectors), ("background", found.background.vectors)):
        cells = [
            (row, column, int(item.image[0, 0, 0]))
            for item in support.images
            for row, column in np.argwhere(cell_mask(getattr(item, side), (8, 8), preset.prototypes.mask_coverage))
        ]
        np.testing.assert_allclose(vectors[0], np.mean(cells, axis=0), rtol=1e-6)


def test_batches_that_do_not_fit_are_halved_and_change_nothing(preset: Preset, support: SupportSet) -> None:
    extractor = _Extractor(room=1)
    halved = make_prototype_set(_with_extractor(preset, extractor), support, lambda *_: None)
    whole = make_prototype_set(_with_extractor(preset, _Extractor()), support, lambda *_: None)
    assert extractor.batches == [3, 1, 2, 1, 1]
    for side in ("foreground", "background"):
        one, other = getattr(halved.spaces["clip"], side), getattr(whole.spaces["clip"], side)
        np.testing.assert_array_equal(one.vectors, other.vectors)
        np.testing.assert_array_equal(one.images, other.images)


@pytest.mark.parametrize(
    ("dtype", "kept"), [("float16", np.float16), ("bfloat16", np.float32), ("float32", np.float32)]
)
def test_features_of_a_half_precision_model_are_held_in_half(
    preset: Preset, support: SupportSet, monkeypatch: pytest.MonkeyPatch, dtype: str, kept: type
) -> None:
    held: list[Any] = []
    real = build_prototypes

    def watch(foreground: Any, background: Any, *rest: Any) -> Any:
        held.extend(rows.dtype for rows in [*foreground, *background])
        return real(foreground, background, *rest)

    monkeypatch.setattr("ovdiff.building.steps.build_prototypes", watch)
    found = make_prototype_set(_with_extractor(preset, _Extractor(), dtype=dtype), support, lambda *_: None)
    assert set(held) == {np.dtype(kept)} and found.spaces["clip"].foreground.vectors.dtype == np.float32


class _Memory:
    """A device with so many MiB free."""

    def __init__(self, free: float) -> None:
        self._free = free

    def free_mib(self) -> float:
        return self._free

    def used_mib(self) -> float:
        return 0.0


def test_batches_are_as_large_as_the_memory_allows(
    preset: Preset, support: SupportSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    per_image = preset.extractors.clip.mib_per_image  # beside the 512 MiB that are held in reserve
    monkeypatch.setattr("ovdiff.models.memory.memory_of", lambda _: _Memory(512 + 2.5 * per_image))
    extractor = _Extractor()
    make_prototype_set(_with_extractor(preset, extractor), support, lambda *_: None)
    assert extractor.batches == [2, 1]
    monkeypatch.setattr("ovdiff.models.memory.memory_of", lambda _: _Memory(512 + 0.5 * per_image))
    with pytest.raises(DeviceMemoryError, match="no room for extracting clip features"):
        make_prototype_set(_with_extractor(preset, extractor), support, lambda *_: None)


@pytest.mark.parametrize(("spare", "stays"), [(0.9, False), (1.1, True)])
def test_resident_features_stay_on_the_device_until_they_are_prototypes_if_it_has_room(
    spare: float, stays: bool, preset: Preset, support: SupportSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor, dtype = _Extractor(), "float32"
    expected = make_prototype_set(_with_extractor(preset, extractor, dtype=dtype), support, lambda *_: None)
    cells = extractor.extract(np.stack([item.image for item in support.images]), "support")
    all_mib = cells.numel() * 4 / (1 << 20)
    per_image = preset.extractors.clip.mib_per_image
    memory = _Memory(512 + 3 * per_image + spare * all_mib)  # beside a batch of all three, and beside the reserve
    for module in ("models.memory", "building.steps"):
        monkeypatch.setattr(f"ovdiff.{module}.memory_of", lambda _: memory)
    held: list[bool] = []
    real = build_prototypes

    def watch(foreground: Any, background: Any, *rest: Any) -> Any:
        held.extend(isinstance(rows, Tensor) for rows in [*foreground, *background])
        return real(foreground, background, *rest)

    monkeypatch.setattr("ovdiff.building.steps.build_prototypes", watch)
    parts = _with_extractor(preset, extractor, dtype=dtype, device="cpu+resident")
    found = make_prototype_set(parts, support, lambda *_: None)
    assert set(held) == {stays}
    np.testing.assert_allclose(
        found.spaces["clip"].foreground.vectors, expected.spaces["clip"].foreground.vectors, atol=1e-5
    )
