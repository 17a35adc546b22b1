"""Every number of the method is a named, documented field of a table; here the tables become a preset.

The tables of the building half are in `building_settings`, those of the segmenting half in `segmenting_settings`, where
models lie in `model_settings`, and the fields of single extractors and proposal sources in `part_settings`. Data only;
never imports torch.

The defaults are those of the paper (P) or of its released code (R). The specification's sections are A.1, A.2 and so
on. A field marked *online* matters only when an image is segmented, so a change of it never invalidates stored
prototypes; every other field is part of their content address.
"""

# ruff: noqa: RUF009 - setting() is dataclasses.field with documentation; it returns a field, not a default

from dataclasses import MISSING, dataclass, field
from typing import Literal

from ovdiff.presets.building_settings import (
    AttributionSettings,
    ExtractorSettings,
    GenerationSettings,
    ProposalSettings,
    PrototypeSettings,
    SafetySettings,
    SupportSettings,
)
from ovdiff.presets.fields import setting
from ovdiff.presets.model_settings import PresetModels
from ovdiff.presets.segmenting_settings import (
    AnchorSettings,
    InstanceSettings,
    LearningSettings,
    LessonSettings,
    MatchingSettings,
    PartCheckSettings,
    PrefilterSettings,
    RefineSettings,
    ScoreSettings,
    StuffFilterSettings,
    WindowSettings,
)


@dataclass(frozen=True)
class CacheSettings:
    """The results that are kept between calls."""

    features_mib: int = setting(
        256,
        "keeps the features of recent images, so that they are not encoded again after a vocabulary edit",
        unit="MiB",
        minimum=0,
    )
    texts: int = setting(50_000, "keeps CLIP's embeddings of captions", unit="entries", minimum=0)
    disk_mib: int = setting(
        0,
        "keeps the encodings of images in the bank's folder, for later runs and other processes; the least recently "
        "used ones are deleted, 0 keeps none. P's features of one image take half a GB, so a disk holds few of them",
        unit="MiB",
        minimum=0,
        later=True,
    )


@dataclass(frozen=True)
class MemorySettings:
    """How much of the device's memory may be used; batches become smaller so that they fit."""

    build_gib: float = setting(12.0, "the memory of a consumer GPU", unit="GiB, weights included", minimum=0.1)
    segment_gib: float = setting(
        6.0, "leaves room for a second model on that GPU", unit="GiB, weights included", minimum=0.1
    )


@dataclass(frozen=True)
class PresetTables:
    """Every table of a preset, unchecked. :class:`ovdiff.presets.Preset` adds the check that the values make sense."""

    name: str = setting(MISSING, "the preset's own name", online=True, changes_no_mask=True)
    models: PresetModels = setting(MISSING, "where the weights of each model are, and in which dtype it computes")
    engine: Literal["ovdiff"] = setting("ovdiff", "the engine that this preset is for; see ovdiff.engines", online=True)
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    attribution: AttributionSettings = field(default_factory=AttributionSettings)
    proposals: ProposalSettings = field(default_factory=ProposalSettings)
    support: SupportSettings = field(default_factory=SupportSettings)
    extractors: ExtractorSettings = field(default_factory=ExtractorSettings)
    prototypes: PrototypeSettings = field(default_factory=PrototypeSettings)
    prefilter: PrefilterSettings = field(default_factory=PrefilterSettings, metadata={"online": True})
    stuff_filter: StuffFilterSettings = field(default_factory=StuffFilterSettings, metadata={"online": True})
    anchors: AnchorSettings = field(default_factory=AnchorSettings, metadata={"online": True, "later": True})
    part_check: PartCheckSettings = field(default_factory=PartCheckSettings, metadata={"online": True, "later": True})
    windows: WindowSettings = field(default_factory=WindowSettings, metadata={"online": True})
    matching: MatchingSettings = field(default_factory=MatchingSettings, metadata={"online": True})
    refine: RefineSettings = field(default_factory=RefineSettings, metadata={"online": True})
    instances: InstanceSettings = field(default_factory=InstanceSettings, metadata={"online": True, "later": True})
    scores: ScoreSettings = field(default_factory=ScoreSettings, metadata={"online": True, "later": True})
    learning: LearningSettings = field(default_factory=LearningSettings, metadata={"online": True, "later": True})
    lessons: LessonSettings = field(default_factory=LessonSettings, metadata={"online": True, "later": True})
    memory: MemorySettings = field(default_factory=MemorySettings, metadata={"online": True, "changes_no_mask": True})
    cache: CacheSettings = field(default_factory=CacheSettings, metadata={"online": True, "changes_no_mask": True})

    def active_extractors(self) -> tuple[str, ...]:
        """Return the extractors that vote in Eq. 4."""
        return self.matching.extractors or self.extractors.use
