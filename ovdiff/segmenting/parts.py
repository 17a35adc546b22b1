"""The models that segmenting uses, each made when it is first used: extractors, and CLIP for the prefilter."""

from functools import cached_property

from ovdiff.extractors import Extractors
from ovdiff.models.clip import Clip
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.texts import ClipTexts
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ClipModelSettings
from ovdiff.presets.needs import models_of
from ovdiff.proposals import Proposer, make_object_proposer


class SegmentingParts:
    """The models that encode an image. Each use of a model must be inside ``with parts.models.lock``."""

    def __init__(self, preset: Preset, models: LoadedModels, extractors: Extractors | None = None) -> None:
        """Load no model yet. The extractors may be shared with the building half, as the models are."""
        self.preset, self.models = preset, models
        self.extractors = extractors or Extractors(preset, models)

    def load(self) -> None:
        """Load all of them, unless they are loaded.

        Raises:
            WeightsError: a model cannot be loaded.
        """
        with self.models.lock:
            for name in self.preset.active_extractors():
                self.extractors[name]
            if "clip" in models_of(self.preset, "segmenting"):
                self.clip  # noqa: B018 — the property loads it
            self.proposer  # noqa: B018 — as above, for a preset that uses proposals

    @property
    def clip(self) -> Clip:
        """The CLIP that embeds whole images for the prefilter."""
        return self.models.clip(self.preset.models.given("clip", ClipModelSettings))

    @cached_property
    def proposer(self) -> Proposer | None:
        """Finds class-agnostic masks of an image, for its objects; ``None`` if the preset finds objects without."""
        return make_object_proposer(self.preset, self.models) if self.preset.instances.method == "proposals" else None

    @cached_property
    def texts(self) -> ClipTexts:
        """The cached text embeddings, for the captions of the prefilter."""
        return ClipTexts(self.clip, self.preset.cache.texts)
