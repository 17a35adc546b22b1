"""The working parts of a preset, each made when first used, and the one lock that guards them."""

from functools import cached_property

from ovdiff.extractors import EXTRACTORS, Extractor
from ovdiff.fair_lock import FairLock
from ovdiff.generation.diffusion import SupportGenerator
from ovdiff.generation.safety import SafetyCheck, make_safety_check
from ovdiff.models import Models
from ovdiff.prefilter import ClipTexts
from ovdiff.presets import Preset, given
from ovdiff.presets.schema import ExtractorName
from ovdiff.proposals import PROPOSERS, Proposer


class Parts:
    """Generator, proposer, extractors and CLIP of one preset.

    Models keep state while they run (hooks, processors), so each use happens inside ``with parts.lock``.
    """

    def __init__(self, preset: Preset, device: str) -> None:
        """Load nothing yet."""
        self.preset = preset
        self.models = Models(device)
        self.lock = FairLock()
        self._extractors: dict[ExtractorName, Extractor] = {}

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
    def proposer(self) -> Proposer:
        """Finds class-agnostic masks; only for a proposal source that is a proposer."""
        return PROPOSERS[self.preset.proposals.source](self.preset, self.models)

    @cached_property
    def texts(self) -> ClipTexts:
        """Embeds captions for the prefilter."""
        return ClipTexts(self.models.clip(given(self.preset, "clip")), self.preset.cache.texts)

    def extractor(self, name: ExtractorName) -> Extractor:
        """Return an extractor by its name."""
        if name not in self._extractors:
            self._extractors[name] = EXTRACTORS[name](self.preset, self.models)
        return self._extractors[name]
