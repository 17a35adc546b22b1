"""CLIP features (A.11): the keys of the second-to-last block, or the tokens in the space of CLIP's texts."""

from torch import Tensor

from ovdiff.extractors.extractor import Purpose
from ovdiff.extractors.sizes import purpose_size_hw
from ovdiff.models.clip import Clip
from ovdiff.models.keys import check_block
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.pixels import Images
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ClipModelSettings
from ovdiff.presets.part_settings import ClipFeatureSettings


def make_extractor(preset: Preset, models: LoadedModels) -> "ClipExtractor":
    """Make the extractor of a preset."""
    return ClipExtractor(models.clip(preset.models.given("clip", ClipModelSettings)), preset.extractors.clip)


class ClipExtractor:
    """Extracts keys or tokens of CLIP's image encoder. For keys, later blocks are not run."""

    takes_tensors = True

    def __init__(self, clip: Clip, settings: ClipFeatureSettings) -> None:
        """Use a CLIP model.

        Raises:
            PresetError: its image encoder has no such block.
        """
        check_block("extractors.clip.layer", settings.layer, clip.blocks)
        self._clip, self._settings = clip, settings

    def extract(self, images: Images, purpose: Purpose) -> Tensor:
        """Return features (B, D, h, w) float32 of images (B, H, W, 3) uint8; support images are stretched."""
        settings = self._settings
        size_hw = purpose_size_hw(images.shape[1:3], settings, purpose, self._clip.patch_px)
        if settings.feature == "tokens":
            return self._clip.tokens(images, size_hw, settings.statistics, settings.resampling)
        return self._clip.keys(images, size_hw, settings.layer, settings.statistics, settings.resampling)
