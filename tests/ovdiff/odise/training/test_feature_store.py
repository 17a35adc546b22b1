from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ovdiff.errors import TrainingError
from ovdiff.odise.encoding import FrozenWindows, WindowEncoder
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.training.feature_store import FeatureStore, View


def view(number: int) -> View:
    random = np.random.default_rng(number)
    windows = random.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    segments = random.integers(0, 3, (16, 16), dtype=np.uint8)
    return View(windows, segments, [number, 7], [f"view {number}"], number // 2)


@pytest.fixture(scope="module")
def encoder(odise_parts: OdiseParts) -> WindowEncoder:
    return odise_parts.encoder


def silent(_: float) -> None: ...


@pytest.fixture
def store(tmp_path: Path, encoder: WindowEncoder) -> FeatureStore:
    made = FeatureStore(tmp_path / "features")
    made.fill(view, 3, encoder, silent)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_batch_is_what_the_encoder_gives_in_half_precision(store: FeatureStore, encoder: WindowEncoder) -> None:
    batch = store.batch(np.array([2, 0]))
    frozen = encoder.frozen(np.concatenate([view(2).windows, view(0).windows]))
    assert batch.unet is None
    assert torch.allclose(batch.latents.float(), frozen.latents, rtol=2e-3, atol=2e-3)
    assert torch.allclose(batch.embeddings.float(), frozen.embeddings, rtol=2e-3, atol=2e-3)
    for stored, tap in zip(batch.maps, frozen.maps, strict=True):
        assert stored.dtype == torch.float16
        assert torch.allclose(stored.float(), tap, rtol=2e-3, atol=2e-3)
    assert np.array_equal(batch.segments.numpy(), np.stack([view(2).segments, view(0).segments]))
    assert batch.names == [[2, 7], [0, 7]]
    assert batch.captions == [["view 2"], ["view 0"]] and batch.images == [1, 0]


def test_a_killed_run_goes_on_after_the_last_whole_view(
    tmp_path: Path, store: FeatureStore, encoder: WindowEncoder
) -> None:
    folder = tmp_path / "features"
    expected = FeatureStore(tmp_path / "at once")
    expected.fill(view, 5, encoder, silent)
    for name in ("maps.f16", "segments.u8"):  # bytes of a view that was not finished
        with (folder / name).open("ab") as file:
            file.write(b"\1" * 77)
    with (folder / "views.jsonl").open("a") as file:
        file.write('{"names": [3')
    asked: list[int] = []

    def counted(number: int) -> View:
        asked.append(number)
        return view(number)

    again = FeatureStore(folder)
    assert len(again) == 3
    again.fill(counted, 5, encoder, silent)
    assert asked == [3, 4]
    found, wanted = (each.batch(np.arange(5)) for each in (again, expected))
    assert found.names == wanted.names
    assert torch.equal(found.segments, wanted.segments)
    for one, other in zip([*found.maps, found.latents], [*wanted.maps, wanted.latents], strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=2e-3, atol=2e-3)


def test_a_full_store_encodes_nothing(store: FeatureStore, encoder: WindowEncoder) -> None:
    def never(_: int) -> View:
        raise AssertionError("a view was asked for")

    store.fill(never, 3, encoder, silent)
    assert len(store) == 3


@pytest.mark.parametrize("already", [0, 2])
def test_the_unet_s_taps_are_made_once_for_a_condition_and_continued(
    store: FeatureStore, encoder: WindowEncoder, odise_parts: OdiseParts, tmp_path: Path, already: int
) -> None:
    captioner = odise_parts.head[0].captioner
    told: list[float] = []
    store.fill_unet(encoder, captioner, "abc", told.append)
    file = tmp_path / "features" / "unet-abc.f16"
    whole = file.read_bytes()
    file.write_bytes(whole[: already * len(whole) // 3 + 5])  # killed within the next row
    again = FeatureStore(tmp_path / "features")
    again.fill_unet(encoder, captioner, "abc", told.append)
    batch = again.batch(np.array([1]))
    assert batch.unet is not None
    with torch.no_grad():
        expected = encoder.unet(batch.latents.float(), batch.embeddings.float(), captioner)
    for stored, tap in zip(batch.unet, expected, strict=True):
        assert torch.allclose(stored.float(), tap, rtol=4e-3, atol=4e-3)
    assert len(file.read_bytes()) == len(whole)
    assert told[-1] == 1.0


def test_the_size_is_told(store: FeatureStore, tmp_path: Path) -> None:
    assert store.size_bytes() == sum(len(data) for data in contents(tmp_path / "features").values())
    assert FeatureStore(tmp_path / "absent").size_bytes() == 0
    assert len(FeatureStore(tmp_path / "absent")) == 0


def test_files_of_others_are_never_deleted(store: FeatureStore, tmp_path: Path, encoder: WindowEncoder) -> None:
    folder = tmp_path / "features"
    (folder / "mine.u8").write_bytes(b"mine")
    FeatureStore(folder, "another key").fill(view, 1, encoder, silent)
    assert (folder / "mine.u8").read_bytes() == b"mine" and len(FeatureStore(folder, "another key")) == 1

    other = tmp_path / "other"
    other.mkdir()
    theirs = {"key.json": b'"of another program"', "shapes.json": b"{}", "maps.f16": b"12345678", "views.jsonl": b"{}"}
    for name, data in theirs.items():
        (other / name).write_bytes(data)
        with pytest.raises(TrainingError, match=r"other holds .*, which no training has written.* with --cache"):
            FeatureStore(other).fill(view, 1, encoder, silent)
    assert contents(other) == theirs and FeatureStore(other).size_bytes() == 0


def test_one_condition_s_taps_are_kept_and_the_others_make_room(
    store: FeatureStore, encoder: WindowEncoder, tmp_path: Path
) -> None:
    for key in ("abc", "def", "def"):
        store.fill_unet(encoder, None, key, silent)
        assert [path.name for path in (tmp_path / "features").glob("unet*")] == [f"unet-{key}.f16"]


def test_a_feature_that_half_precision_cannot_hold_is_refused(
    store: FeatureStore, tmp_path: Path, encoder: WindowEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = encoder.frozen
    with monkeypatch.context() as patched:

        def large(windows: NDArray[np.uint8]) -> FrozenWindows:
            found = frozen(windows)
            return found._replace(maps=[found.maps[0], found.maps[1] * 0 + 70000])

        patched.setattr(encoder, "frozen", large)
        words = r"taps.vae_encoder and taps.vae_decoder reach 70000 .*half precision ends at 65504.*table \[taps\]"
        with pytest.raises(TrainingError, match=words):
            FeatureStore(tmp_path / "large").fill(view, 1, encoder, silent)
    unet = encoder.unet
    monkeypatch.setattr(encoder, "unet", lambda *given: [each * float("nan") for each in unet(*given)])
    with pytest.raises(TrainingError, match=r"taps.unet reach nan .* Set the dtype of models.diffusion to float32"):
        store.fill_unet(encoder, None, "abc", silent)
