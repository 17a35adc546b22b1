import pytest

from ovdiff.errors import PresetError
from ovdiff.presets.model_settings import (
    CheckpointSettings,
    ClipModelSettings,
    DiffusionModelSettings,
    ModelSettings,
    PresetModels,
)

GENERATOR = DiffusionModelSettings("a/generator")


def test_given_models_are_named_in_the_schemas_order_and_added_ones_last() -> None:
    mine = ModelSettings("my/model")
    models = PresetModels(
        GENERATOR, dino=ModelSettings("a/dino"), clip=ClipModelSettings("a/clip"), added=(("my", mine),)
    )
    assert list(models.all_given()) == ["generator", "clip", "dino", "my"]
    assert models.given("my", ModelSettings) is mine
    assert models.given("generator", ModelSettings) is GENERATOR


def test_a_model_that_is_not_given_is_asked_for() -> None:
    with pytest.raises(PresetError, match=r"no models.dino; add a \[models.dino\] table with a source"):
        PresetModels(GENERATOR).given("dino", ModelSettings)


def test_a_model_of_another_kind_is_refused() -> None:
    models = PresetModels(GENERATOR, cutler=CheckpointSettings("a.pth"))
    with pytest.raises(PresetError, match=r"models\.cutler is CheckpointSettings; expected ModelSettings"):
        models.given("cutler", ModelSettings)


def test_equal_settings_are_one_key() -> None:
    """Loaded models are kept by their settings, so that equal entries are loaded once."""
    assert len({GENERATOR, DiffusionModelSettings("a/generator"), DiffusionModelSettings("another")}) == 2
