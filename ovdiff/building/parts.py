"""The working parts of the left half, each made when first used: generator, safety check, proposals, extractors."""

from functools import cached_property

from ovdiff.building.generation.diffusion import SupportGenerator
from ovdiff.building.generation.safety import SafetyCheck, make_safety_check
from ovdiff.building.proposals import Proposer, Thresholder, make_source
from ovdiff.extractors import Extractors
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset


class BuildingParts:
    """What makes prototypes of a category. Each use of a model happens inside ``with parts.models.lock``."""

    def __init__(self, preset: Preset, models: LoadedModels, extractors: Extractors | None = None) -> None:
        """Load nothing yet; extractors may be shared with the other half, as the models are."""
        self.preset, self.models = preset, models
        self.extractors = extractors or Extractors(preset, models)

    @cached_property
    def generator(self) -> SupportGenerator:
        """Makes support images."""
        pipeline = self.models.diffusion(self.preset.models.generator)
        return SupportGenerator(pipeline, self.preset.generation, self.preset.attribution)

    @cached_property
    def safety(self) -> SafetyCheck | None:
        """Finds support images that nobody should see; ``None`` where the preset checks nothing."""
        return make_safety_check(self.preset, self.models)

    @cached_property
    def source(self) -> Proposer | Thresholder:
        """Finds where the foreground of a support image may be."""
        return make_source(self.preset, self.models)
