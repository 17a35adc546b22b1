"""The working parts of the right half, each made when first used: extractors, and CLIP for the prefilter."""

from functools import cached_property

from ovdiff.extractors import Extractors
from ovdiff.models.clip import Clip
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.texts import ClipTexts
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ClipModelSettings


class SegmentingParts:
    """What encodes an image. Each use of a model happens inside ``with parts.models.lock``."""

    def __init__(self, preset: Preset, models: LoadedModels, extractors: Extractors | None = None) -> None:
        """Load nothing yet; extractors may be shared with the other half, as the models are."""
        self.preset, self.models = preset, models
        self.extractors = extractors or Extractors(preset, models)

    @property
    def clip(self) -> Clip:
        """Embeds whole images for the prefilter."""
        return self.models.clip(self.preset.models.given("clip", ClipModelSettings))

    @cached_property
    def texts(self) -> ClipTexts:
        """Embeds captions for the prefilter."""
        return ClipTexts(self.clip, self.preset.cache.texts)
