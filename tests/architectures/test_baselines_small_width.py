"""Each baseline's preset on its published topology at an eighth of the width, read from files as the hub has them.

The embedded world has no GroupViT, CLIPSeg or SAM, so nothing else runs their whole presets.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from benchmarks import architectures as real
from ovdiff import Bank
from ovdiff.baselines.engine import BaselineEngine
from ovdiff.engines import load_any_preset, make_engine
from ovdiff.errors import WeightsError
from ovdiff.models.licences import weights_licences
from ovdiff.presets.files import baseline_names
from ovdiff.vocabulary import Category, Vocabulary

pytestmark = pytest.mark.usefixtures("offline")
SHRINK = 8
BUILD: dict[str, Callable[..., Any]] = {
    "clip": real.build_clip,
    "groupvit": real.build_groupvit,
    "clipseg": real.build_clipseg,
}
WORDS = Vocabulary([Category("cat", prompts=("cat", "kitten")), "sky", "wall"])
REAL = [name for name in baseline_names() if not name.endswith("_tinyworld")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    made = tmp_path_factory.mktemp("baselines")
    for name, build in BUILD.items():
        build(shrink=SHRINK).save_pretrained(made / name)
        real.build_tokenizer().save_pretrained(made / name)
    return made


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def _preset(name: str, folder: Path) -> Any:
    preset: Any = load_any_preset(name)
    ((model, settings),) = vars(preset.models).items()
    chosen = replace(settings, source=str(folder / model), revision="")
    texts = replace(preset.texts, templates=preset.texts.templates[:2])  # 80 templates of 29 words take 20 s
    windows = preset.windows if preset.windows.crops_px else replace(preset.windows, short_side_px=224)  # to save time
    return replace(preset, models=replace(preset.models, **{model: chosen}), texts=texts, windows=windows)


@pytest.mark.parametrize("name", REAL)
def test_a_preset_runs_whole(name: str, folder: Path, photograph: NDArray[np.uint8], tmp_path: Path) -> None:
    engine = make_engine(_preset(name, folder), Bank(tmp_path), "cpu")
    assert isinstance(engine, BaselineEngine)
    found = engine.segment(photograph, WORDS)
    assert found.label_map.shape == (90, 120) and set(np.unique(found.label_map)) <= {0, 1, 2, 3}
    assert np.isfinite(found.scores).all() and np.isfinite(found.margins).all()


@pytest.mark.parametrize("name", ["groupvit", "clipseg"])
def test_weights_of_another_architecture_are_refused(
    name: str, folder: Path, photograph: NDArray[np.uint8], tmp_path: Path
) -> None:
    preset = _preset(name, folder)
    other = replace(getattr(preset.models, name), source=str(folder / "clip"))
    engine = make_engine(replace(preset, models=replace(preset.models, **{name: other})), Bank(tmp_path), "cpu")
    with pytest.raises(WeightsError, match=r"clip' (lacks|has|does not load)"):
        engine.segment(photograph, WORDS)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("groupvit", "vision_model.encoder.stages.1.downsample.assign.q_proj.weight"),
        ("clipseg", "decoder.transposed_convolution.4.weight"),
    ],
)
def test_files_hold_the_published_names(name: str, weights: str, folder: Path) -> None:
    with safe_open(folder / name / "model.safetensors", "pt") as file:
        assert weights in file.keys()  # noqa: SIM118 - the file's object is no dict


def test_presets_pin_what_they_load_and_their_licences_are_known() -> None:
    forbidding = set()
    for name in REAL:
        ((_, settings),) = vars(load_any_preset(name).models).items()  # type: ignore[attr-defined]
        assert settings.revision
        (licence,) = weights_licences(load_any_preset(name))
        assert licence.licence != "unknown"
        forbidding |= {name} if licence.non_commercial else set()
    assert forbidding == {"groupvit"}
