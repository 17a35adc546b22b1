"""The parts that building uses, each made when it is first used: generator, safety check, proposals and extractors."""

from functools import cached_property

from ovdiff.building.generation.diffusion import SupportGenerator
from ovdiff.building.generation.graphs import CudaRecord
from ovdiff.building.generation.safety import SafetyCheck, make_safety_check
from ovdiff.extractors import Extractors
from ovdiff.models.anchor_texts import AnchorTexts
from ovdiff.models.clip import Clip
from ovdiff.models.loaded import LoadedModels
from ovdiff.models.texts import ClipTexts
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ClipModelSettings
from ovdiff.proposals import Proposer, Thresholder, make_source

_DECODED_AT_ONCE = 4
"""Images of 512 pixels: the decoder takes 0.4 GiB for each, and four leave room in `fast`'s budget."""


class BuildingParts:
    """The parts that make a category's prototypes. Each use of a model must be inside ``with parts.models.lock``."""

    def __init__(self, preset: Preset, models: LoadedModels, extractors: Extractors | None = None) -> None:
        """Load no model yet. The extractors may be shared with the segmenting half, as the models are."""
        self.preset, self.models = preset, models
        self.extractors = extractors or Extractors(preset, models)

    @cached_property
    def generator(self) -> SupportGenerator:
        """The generator, which draws support images."""
        pipeline = self.models.diffusion(self.preset.models.generator)
        options = self.models.options
        at_once = _DECODED_AT_ONCE if options.batched_decode else None
        make_record = CudaRecord if options.graphs else None
        return SupportGenerator(pipeline, self.preset.generation, self.preset.attribution, at_once, make_record)

    @cached_property
    def safety(self) -> SafetyCheck | None:
        """The check that finds unsafe support images; ``None`` if the preset checks none."""
        return make_safety_check(self.preset, self.models)

    @cached_property
    def source(self) -> Proposer | Thresholder:
        """Finds where the foreground of a support image may be."""
        return make_source(self.preset, self.models)

    @property
    def clip(self) -> Clip:
        """The CLIP that judges support images."""
        return self.models.clip(self.preset.models.given("clip", ClipModelSettings))

    @cached_property
    def anchor_texts(self) -> AnchorTexts:
        """The anchors with which support images are compared."""
        texts = ClipTexts(self.clip, self.preset.cache.texts)
        return AnchorTexts(texts, self.preset.anchors, self.preset.prefilter.template)
