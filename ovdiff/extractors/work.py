"""How many images an extractor may be given at once."""

from ovdiff.models.memory import Work
from ovdiff.presets import Preset
from ovdiff.presets.needs import feature_settings


def extraction(preset: Preset, name: str, budget_gib: float) -> Work:
    """Describe an extractor's work on one image, or on one window of an image.

    Args:
        preset: says how many images are wanted at once and how much memory one takes.
        name: names the extractor.
        budget_gib: the memory that this process may use in all: the preset's for building or for segmenting.

    Raises:
        PresetError: there is no extractor of this name.
    """
    settings = feature_settings(preset, name)
    return Work(f"extracting {name} features", preset.extractors.batch_size, settings.mib_per_image, budget_gib)
