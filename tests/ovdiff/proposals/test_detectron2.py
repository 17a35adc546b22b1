"""The proposer on a stand-in for detectron2; test_cutler compares it with the real one where that is installed."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tests.fakes
from ovdiff.errors import PresetError, WeightsError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.presets.part_settings import Detectron2Settings
from ovdiff.proposals import make_source
from ovdiff.proposals.detectron2 import Detectron2

CPU = torch.device("cpu")
STAND_IN = Path(tests.fakes.__path__[0]) / "detectron2_stand_in"
CONFIG = "MODEL: {META_ARCHITECTURE: GeneralizedRCNN, MASK_ON: true}\nINPUT: {FORMAT: RGB, MIN_SIZE_TEST: 16}\n"


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Importing detectron2 finds the stand-in, also where the real one is installed."""
    others = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "detectron2"}
    for name in others:
        del sys.modules[name]
    monkeypatch.syspath_prepend(STAND_IN)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "detectron2"]:
        del sys.modules[name]
    sys.modules.update(others)


@pytest.fixture
def settings(tmp_path: Path) -> Detectron2Settings:
    torch.save({"model": {"limit": torch.tensor([100.0, 200.0])}}, tmp_path / "weights.pth")
    (tmp_path / "config.yaml").write_text(CONFIG, "utf-8")
    return Detectron2Settings(str(tmp_path / "config.yaml"), str(tmp_path / "weights.pth"), min_score=0.3)


def _edit(settings: Detectron2Settings, old: str, new: str) -> None:
    Path(settings.config).write_text(CONFIG.replace(old, new), "utf-8")


def _image() -> np.ndarray:
    image = np.zeros((8, 10, 3), np.uint8)
    image[:4, :, 0] = 150  # red above, blue to the left
    image[:, :5, 2] = 250
    return image


def test_masks_are_the_model_s_in_the_image_s_frame(settings: Detectron2Settings) -> None:
    image = _image()
    masks = Detectron2(settings, CPU).propose(image)
    assert masks.dtype == np.bool_ and masks.shape == (2, 8, 10)
    np.testing.assert_array_equal(masks, [image[..., 0] > 100, image[..., 2] > 200])


def test_channels_are_in_the_order_of_the_config(settings: Detectron2Settings) -> None:
    _edit(settings, "RGB", "BGR")
    image = _image()
    masks = Detectron2(settings, CPU).propose(image)
    np.testing.assert_array_equal(masks, [image[..., 2] > 100, image[..., 0] > 200])


def test_uncertain_instances_are_no_proposals(settings: Detectron2Settings) -> None:
    assert len(Detectron2(replace(settings, min_score=0.5), CPU).propose(_image())) == 1


def test_it_is_registered(settings: Detectron2Settings, preset: Preset, models: LoadedModels) -> None:
    proposals = replace(preset.proposals, source="detectron2", detectron2=settings)
    proposer = make_source(replace(preset, proposals=proposals), models)
    assert proposer.propose(_image()).shape == (2, 8, 10)


def test_without_detectron2_the_error_says_how_to_install_it(
    settings: Detectron2Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "detectron2", None)
    with pytest.raises(PresetError, match=r"cannot be imported.*Install it with: pip install .*detectron2\.git"):
        Detectron2(settings, CPU)


def test_missing_files_are_named(settings: Detectron2Settings) -> None:
    with pytest.raises(PresetError, match=r"no file 'nowhere\.yaml', which proposals\.detectron2\.config names"):
        Detectron2(replace(settings, config="nowhere.yaml"), CPU)
    with pytest.raises(WeightsError, match=r"no file 'nowhere\.pth', which proposals\.detectron2\.weights names"):
        Detectron2(replace(settings, weights="nowhere.pth"), CPU)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("MASK_ON", "MASKS", r"makes no model of this detectron2.*Non-existent config key: MODEL\.MASKS"),
        ("GeneralizedRCNN", "MyOwn", "No object named 'MyOwn'"),
        ("{FORMAT", "{{FORMAT", "makes no model of this detectron2"),
        ("FORMAT: RGB", "FORMAT: L", "has the INPUT.FORMAT 'L'; expected 'RGB' or 'BGR'"),
    ],
)
def test_a_config_that_is_not_detectron2_s_own(settings: Detectron2Settings, old: str, new: str, message: str) -> None:
    _edit(settings, old, new)
    with pytest.raises(PresetError, match=message):
        Detectron2(settings, CPU)


def test_python_in_a_config_is_not_run(settings: Detectron2Settings, tmp_path: Path) -> None:
    _edit(settings, "RGB", f"!!python/object/apply:os.mkdir [{tmp_path / 'was_run'}]")
    with pytest.raises(PresetError, match="makes no model of this detectron2"):
        Detectron2(settings, CPU)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("MASK_ON: true", "MASK_ON: false", r"gives boxes, no masks; .*MODEL\.MASK_ON: true"),
        ("GeneralizedRCNN", "SemanticSegmentor", "gives no instances"),
    ],
)
def test_a_model_without_masks(settings: Detectron2Settings, old: str, new: str, message: str) -> None:
    _edit(settings, old, new)
    proposer = Detectron2(settings, CPU)
    with pytest.raises(PresetError, match=message):
        proposer.propose(_image())


def test_weights_of_another_model_are_refused(settings: Detectron2Settings) -> None:
    torch.save({"model": {"limits": torch.zeros(2)}}, settings.weights)
    with pytest.raises(WeightsError, match=r"1 missing, such as 'limit'; 1 unknown, such as 'limits'"):
        Detectron2(settings, CPU)
