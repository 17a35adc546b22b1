"""What the rows of an ablation share, so that it is computed once: support images, prototypes, encodings of images.

The bank shares support images and prototypes by their keys. Encodings are shared here: rows whose presets encode an
image alike, but for the extractors that vote, make a group. An image is encoded once for a group, with every extractor
that votes in any of its rows, and each row is given the part that it would have encoded alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ovdiff.bank import Bank
from ovdiff.bank.recipe import Recipes
from ovdiff.bank.support_store import DrawnBatch, SupportStore
from ovdiff.engines import EnginePreset, SegmentationEngine, make_engine
from ovdiff.engines.building import HasAnchors
from ovdiff.engines.encodings import HasEncodings
from ovdiff.engines.segmenting import SharesModels
from ovdiff.errors import PresetError
from ovdiff.evaluation.rows import Row, Variant, changed
from ovdiff.presets import Preset
from ovdiff.presets.needs import looks_at_images
from ovdiff.presets.preset import preset_to_mapping
from ovdiff.vocabulary import Category, Vocabulary


@dataclass(frozen=True)
class Job:
    """A row with a seed.

    Attributes:
        row: the row.
        seed: the seed of the support images; ``None`` if the preset draws none.
        preset: the row's preset with the seed.
        folder: where its figures are, as `ovdiff evaluate` writes them.
    """

    row: Row
    seed: int | None
    preset: EnginePreset
    folder: Path

    @property
    def name(self) -> str:
        """The row and the seed, for messages."""
        return self.row.name if self.seed is None else f"{self.row.name}, seed {self.seed}"


@dataclass(frozen=True)
class Group:
    """Jobs that share the encodings of images.

    Attributes:
        encoder: the preset whose engine encodes for all of them; ``None`` if their engine has no encodings.
        jobs: the jobs.
    """

    encoder: EnginePreset | None
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Engines:
    """Makes engines on one bank that share their models.

    Attributes:
        first: the engine of the preset as it is.
        bank: the bank.
        device: the device's name.
    """

    first: SegmentationEngine
    bank: Bank
    device: str

    def of(self, preset: EnginePreset) -> SegmentationEngine:
        """Return the engine of a preset, on the models that are loaded already."""
        if isinstance(self.first, SharesModels):
            return self.first.beside(preset, self.bank)
        return make_engine(preset, self.bank, self.device)


def jobs_of(found: Iterable[Variant], seeds: Sequence[int], out: Path) -> tuple[Job, ...]:
    """Return the jobs of rows: one for each seed, or one if the preset draws nothing. Rows that equal others have none.

    Args:
        found: the rows.
        seeds: the seeds of the support images.
        out: the folder of the ablation.
    """
    jobs = []
    for each in found:
        folder = out / "rows" / each.row.name
        if each.same_as:
            continue
        if "seed" not in preset_to_mapping(each.preset).get("generation", {}):
            jobs.append(Job(each.row, None, each.preset, folder))
            continue
        for seed in seeds:
            preset = changed(each.preset, {"generation": {"seed": seed}}, each.preset.name)
            jobs.append(Job(each.row, seed, preset, folder / f"seed-{seed}"))
    return tuple(jobs)


def groups_of(jobs: Sequence[Job], engines: Engines) -> tuple[Group, ...]:
    """Return the jobs in groups that share encodings, in the order of their first jobs.

    Raises:
        OVDiffError: a model's files are missing.
    """
    by_key: dict[str, list[Job]] = {}
    for job in jobs:
        engine = engines.of(_widest(job.preset))
        key = engine.encoding_key() if isinstance(engine, HasEncodings) else ""
        by_key.setdefault(key, []).append(job)
    return tuple(Group(_encoder(members) if key else None, tuple(members)) for key, members in by_key.items())


def own_part(encoded: Any, preset: EnginePreset) -> Any:
    """Return the part of a group's encoding that a preset would have encoded alone."""
    if not isinstance(preset, Preset):
        return encoded
    features = {name: encoded.features[name] for name in preset.active_extractors()}
    embedding = encoded.embedding if looks_at_images(preset) else None
    return replace(encoded, features=features, embedding=embedding)


def words_of(engine: SegmentationEngine, vocabulary: Vocabulary) -> tuple[Category, ...]:
    """Return the words whose prototypes a row needs: the vocabulary's, and the anchors'."""
    anchors = engine.anchors() if isinstance(engine, HasAnchors) else ()
    return tuple(dict.fromkeys((*vocabulary.categories, *anchors)))


def share_support(preset: EnginePreset, others: Iterable[EnginePreset], category: Category, bank: Bank) -> int:
    """Give a category the support images that a preset with more of them has drawn, and return how many.

    An image's seed and phrase follow from its number alone (`ovdiff.building.drawing`), so the first images of a larger
    set are those of a smaller one; in another batch they differ in the last bits, as with another batch size. Masks are
    made anew, because multi-Otsu reads all maps of a category.

    Args:
        preset: the preset that needs images.
        others: presets whose images may do.
        category: the category.
        bank: the bank beside which images are kept.
    """
    if not isinstance(preset, Preset):
        return 0
    store, wanted = SupportStore(bank.folder / "support"), preset.generation.images
    own = store.shelf(Recipes(preset).support(category).key, "")
    settled = {number for batch in own.batches() for number in batch.numbers}
    for other in others:
        if not isinstance(other, Preset) or not _draws_more(other, preset):
            continue
        larger = store.shelf(Recipes(other).support(category).key, "").batches()
        if settled or not {number for batch in larger for number in batch.numbers} >= set(range(wanted)):
            continue
        parts = [part for batch in larger if (part := _first(batch, wanted)) is not None]
        for part in parts:
            own.keep(part)
        return wanted
    return 0


def missing_images(preset: EnginePreset, category: Category, bank: Bank) -> int:
    """Return how many of a category's support images are still to be drawn."""
    if not isinstance(preset, Preset):
        return 0
    key = Recipes(preset).support(category).key
    batches = SupportStore(bank.folder / "support").shelf(key, "").batches()
    settled = {number for batch in batches for number in batch.numbers}
    return preset.generation.images - len(settled)


def image_family(preset: EnginePreset) -> str:
    """Return what presets have in common that draw the same images, but for their number; "" if it draws none."""
    if not isinstance(preset, Preset):
        return ""
    return str({**_drawing(preset), "images": 0})


def _draws_more(one: Preset, other: Preset) -> bool:
    larger = one.generation.images > other.generation.images
    return larger and image_family(one) == image_family(other)


def _drawing(preset: Preset) -> Mapping[str, Any]:
    fields = preset_to_mapping(preset)
    return {
        **fields["generation"],
        "attribution": fields["attribution"],
        "safety": fields["safety"],
        "model": fields["models"]["generator"],
    }


def _first(batch: DrawnBatch, count: int) -> DrawnBatch | None:
    """Return the images of a batch whose numbers are below a count; ``None`` if there is no such number."""
    images = tuple(item for item in batch.images if item.number < count)
    left_out = tuple(number for number in batch.left_out if number < count)
    if len(images) == len(batch.images) and len(left_out) == len(batch.left_out):
        return batch
    refused = sum(item.attempt for item in images)
    return replace(batch, images=images, left_out=left_out, refused=refused) if images or left_out else None


def _widest(preset: EnginePreset) -> EnginePreset:
    """Return a preset with every extractor voting and CLIP looking at the image, as far as it has them."""
    if not isinstance(preset, Preset):
        return preset
    try:
        return changed(preset, {"matching": {"extractors": []}, "prefilter": {"enabled": True}}, preset.name)
    except PresetError:  # the preset has no CLIP
        return changed(preset, {"matching": {"extractors": []}}, preset.name)


def _encoder(jobs: Sequence[Job]) -> EnginePreset:
    """Return the preset that encodes what every job of a group needs, and no more."""
    first = jobs[0].preset
    presets = [job.preset for job in jobs if isinstance(job.preset, Preset)]
    if not isinstance(first, Preset) or len(presets) < len(jobs):
        return first
    voting = {name for preset in presets for name in preset.active_extractors()}
    voters = [name for name in first.extractors.use if name in voting]
    looks = any(looks_at_images(preset) for preset in presets)
    changes = {
        "matching": {"extractors": voters},
        "prefilter": {"enabled": looks},
        "part_check": {"enabled": False},
    }
    return changed(first, changes, first.name)


Report = Callable[[str, float], None]
"""Called with what is being done, and how much of the whole was just finished."""
