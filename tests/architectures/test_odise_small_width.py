"""The `odise` preset on the published topologies at an eighth of the width, loaded from folders, run whole.

SD 1.5 and CLIP ViT-L/14-336 have random weights, saved as the hub has them; the head is one that `write_head` wrote.
Sides are an eighth too (windows of 64 px, a short side of 128 px); the taps, layers and queries are the preset's.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks import architectures as real
from ovdiff.engines import load_any_preset
from ovdiff.models.loaded import LoadedModels
from ovdiff.odise.encoding import cut
from ovdiff.odise.engine import OdiseEngine
from ovdiff.odise.head_file import HeadCard, architecture, write_head
from ovdiff.odise.naming import Label
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.presets.model_settings import ClipModelSettings, DiffusionModelSettings, ModelSettings
from ovdiff.vocabulary import Category, Vocabulary
from tests.ovdiff.models.test_clip import to_open_clip

SHRINK = 8
WORDS = Vocabulary([Category("cat", kind="thing"), Category("sky", kind="stuff"), Category("wine glass")])
pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frozen models, CLIP for both libraries with the same weights."""
    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("odise")
    real.build_diffusion(real.SD_15, shrink=SHRINK).save_pretrained(made / "sd15")
    clip = real.build_clip(shrink=SHRINK, config=real.CLIP_L14_336)
    clip.save_pretrained(made / "transformers")
    real.build_tokenizer().save_pretrained(made / "transformers")
    fused = real.build_open_clip(shrink=SHRINK, config=real.OPEN_CLIP_L14_336)
    fused.load_state_dict(to_open_clip(clip), strict=False)
    real.save_open_clip(fused, made / "open_clip", SHRINK, real.OPEN_CLIP_L14_336)
    return made


@pytest.fixture(scope="module")
def preset(folder: Path) -> OdisePreset:
    published = load_any_preset("odise")
    assert isinstance(published, OdisePreset)
    generator, names = published.mask_generator, published.classifier
    chosen = replace(
        published,
        models=replace(
            published.models,
            diffusion=DiffusionModelSettings(source=str(folder / "sd15")),
            clip=ClipModelSettings(source=str(folder / "transformers")),
            head=ModelSettings(source=str(folder / "head")),
        ),
        taps=replace(published.taps, input_px=64, window_px=64, short_side_px=128, max_long_side_px=320),
        mask_generator=replace(
            generator,
            **{
                name: getattr(generator, name) // SHRINK
                for name in ("bottleneck", "level_channels", "hidden", "mask_channels", "encoder_ffn", "decoder_ffn")
            },
            norm_groups=16,
            heads=4,
        ),
        classifier=replace(names, embedding=names.embedding // SHRINK),
    )
    torch.manual_seed(1)
    labels = (Label("cat", ("cat", "kitten"), False), Label("sky", ("sky",), True))
    card = HeadCard(labels, architecture(chosen), {})
    write_head(folder / "head", OdiseParts(chosen, LoadedModels()).new_head().state_dict(), card)
    return chosen


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def engine(preset: OdisePreset) -> OdiseEngine:
    return OdiseEngine(preset)


def test_an_image_is_encoded_labelled_and_divided_into_segments(
    engine: OdiseEngine, preset: OdisePreset, photograph: NDArray[np.uint8]
) -> None:
    windows, grid = cut(photograph, preset.taps)
    assert len(windows) == 6 and grid.size_hw == (128, 171)  # The third column is padded.
    encoded = engine.encode(photograph)
    assert encoded.logits.shape == (100, 32, 43) and encoded.embeddings.shape == (100, 32)
    assert encoded.regions is not None and encoded.regions.shape == (100, 96)
    assert all(part.isfinite().all() for part in (encoded.logits, encoded.embeddings, encoded.regions))
    found, segments = engine.label(encoded, WORDS), engine.panoptic(encoded, WORDS)
    assert found.label_map.shape == segments.ids.shape == (90, 120)
    assert np.isfinite(found.scores).all() and np.isfinite(found.margins).all()
    assert set(np.unique(found.label_map)) <= {0, 1, 2, 3} and int(segments.ids.max()) == len(segments.segments)


def test_both_libraries_of_clip_give_the_same_masks_and_names(
    engine: OdiseEngine, preset: OdisePreset, folder: Path, photograph: NDArray[np.uint8]
) -> None:
    clip = ClipModelSettings(source=str(folder / "open_clip"), library="open_clip")
    other = OdiseEngine(replace(preset, models=replace(preset.models, clip=clip)))
    expected, found = engine.encode(photograph), other.encode(photograph)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-2, atol=1e-3)
    assert found.regions is not None and expected.regions is not None
    torch.testing.assert_close(found.regions, expected.regions, rtol=0, atol=1e-3)
    theirs, ours = (each.label(encoded, WORDS) for each, encoded in ((engine, expected), (other, found)))
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3)
