"""Every switch of the paper's ablations (A.15) changes what it should, and nothing else.

The method is run stage by stage on small models with random weights; a switch is told by the stages whose
output differs from the preset's own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ovdiff.bank import Bank
from ovdiff.bank.prototypes import KINDS
from ovdiff.bank.recipe import Recipes
from ovdiff.building.parts import BuildingParts
from ovdiff.building.steps import make_prototype_set, make_support_set
from ovdiff.engine import Engine
from ovdiff.errors import PresetError
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import Preset
from ovdiff.vocabulary import Category, Vocabulary

Stages = Mapping[str, np.ndarray]
Changes = dict[str, dict[str, Any]]

SPACES = ("stable_diffusion", "dino", "clip")
VOCABULARY = Vocabulary(tuple(Category(name) for name in ("boat", "water", "red fish", "clock", "mug")))


def _switch(preset: Preset, changes: Changes) -> Preset:
    """Return the preset with fields changed; "extractors.clip" names a section inside a section."""
    for path, fields in changes.items():
        section, _, inner = path.partition(".")
        old = getattr(preset, section)
        new = replace(old, **{inner: replace(getattr(old, inner), **fields)}) if inner else replace(old, **fields)
        preset = replace(preset, **{section: new})
    return preset


def _name(value: object) -> str | None:
    """Name a test after its switch."""
    if not isinstance(value, dict):
        return ""
    return ",".join(f"{path}.{field}={new}" for path, fields in value.items() for field, new in fields.items())


def _changed(before: Stages, after: Stages) -> set[str]:
    """Name the stages that differ, those that only one of both has among them."""
    return {
        name
        for name in before.keys() | after.keys()
        if name not in before or name not in after or not np.array_equal(before[name], after[name])
    }


def _key(preset: Preset) -> str:
    return Recipes(preset).prototypes(Category("boat")).key


def _build(preset: Preset, models: LoadedModels) -> Stages:
    """Build one category; all arrays on the way."""
    parts = BuildingParts(preset, models)
    support = make_support_set(parts, ["boat"], lambda *_: None)
    spaces = make_prototype_set(parts, support, lambda *_: None).spaces
    stages = {
        "images": np.stack([item.image for item in support.images]),
        "attributions": np.stack([item.attribution for item in support.images]),
        "masks": np.stack([(item.foreground, item.background) for item in support.images]),
    }
    for name, space in spaces.items():
        for kind in KINDS:
            sides = (space.foreground.of_kinds((kind,)), space.background.of_kinds((kind,)))
            stages[f"{name}.{kind}"] = np.concatenate([side.vectors for side in sides])
    return stages


def _prototypes(spaces: Iterable[str] = SPACES, kinds: Iterable[str] = KINDS) -> set[str]:
    return {f"{space}.{kind}" for space in spaces for kind in kinds}


@pytest.fixture(scope="module")
def built(preset: Preset, models: LoadedModels) -> Stages:
    return _build(preset, models)


EVERYTHING = {"images", "attributions", "masks", *_prototypes()}
FROM_MASKS = {"masks", *_prototypes()}
OFFLINE: list[tuple[Changes, set[str]]] = [
    ({"generation": {"seed": 43}}, EVERYTHING),
    ({"generation": {"images": 4}}, EVERYTHING),  # N
    ({"generation": {"steps": 3}}, EVERYTHING),
    ({"generation": {"guidance": 5.0}}, EVERYTHING),
    ({"generation": {"negative_prompt": "text"}}, EVERYTHING),
    ({"attribution": {"layers": ()}}, EVERYTHING - {"images"}),
    ({"proposals": {"source": "fixed"}}, FROM_MASKS),
    ({"proposals": {"source": "multi_otsu"}}, FROM_MASKS),
    ({"proposals": {"source": "maskcut"}, "proposals.maskcut": {"input_px": 64}}, FROM_MASKS),
    ({"extractors": {"use": ("clip",)}}, _prototypes(("stable_diffusion", "dino"))),
    ({"extractors.stable_diffusion": {"timestep": 500}}, _prototypes(("stable_diffusion",))),  # t
    ({"extractors.stable_diffusion": {"layers": ("up_blocks.2",)}}, _prototypes(("stable_diffusion",))),
    ({"extractors.stable_diffusion": {"posterior": "sample"}}, _prototypes(("stable_diffusion",))),
    ({"extractors.stable_diffusion": {"normalise_layers": True}}, _prototypes(("stable_diffusion",))),
    ({"extractors.stable_diffusion": {"noise_seed": 1}}, _prototypes(("stable_diffusion",))),
    ({"extractors.clip": {"layer": -1}}, _prototypes(("clip",))),
    ({"extractors.clip": {"statistics": "clip"}}, _prototypes(("clip",))),
    ({"extractors.dino": {"feature": "tokens"}}, _prototypes(("dino",))),
    ({"prototypes": {"parts": 3}}, _prototypes(kinds=("part",))),  # K
    ({"prototypes": {"mask_coverage": 0.5}}, _prototypes()),
]


@pytest.mark.parametrize(("changes", "expected"), OFFLINE, ids=_name)
def test_switches_of_building(
    changes: Changes, expected: set[str], preset: Preset, models: LoadedModels, built: Stages
) -> None:
    chosen = _switch(preset, changes)
    assert _changed(built, _build(chosen, models)) == expected
    assert _key(chosen) != _key(preset)


@pytest.mark.parametrize("changes", [{"prototypes": {"clustering": "torch"}}, {"prototypes": {"kmeans_seed": 3}}])
def test_another_start_of_k_means_changes_parts_at_most(
    changes: Changes, preset: Preset, models: LoadedModels, built: Stages
) -> None:
    chosen = _switch(preset, changes)
    assert _changed(built, _build(chosen, models)) <= _prototypes(kinds=("part",))
    assert _key(chosen) != _key(preset)


@pytest.fixture(scope="module")
def online(preset: Preset) -> Preset:
    """The preset with thresholds at which the stuff filter drops some of these features' prototypes, and not all."""
    thresholds = {"stable_diffusion": 0.95, "dino": 0.9, "clip": 0.75}
    return _switch(preset, {f"extractors.{name}": {"stuff_similarity": value} for name, value in thresholds.items()})


@pytest.fixture(scope="module")
def bank(preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    bank = Bank(tmp_path_factory.mktemp("bank"))
    for category in VOCABULARY.categories:
        Engine(preset, bank).build(category)
    return bank


def _segment(preset: Preset, models: LoadedModels, bank: Bank, image: np.ndarray) -> Stages:
    """Segment an image; all arrays on the way."""
    engine = Engine(preset, bank, models=models)
    encoded, found = engine.encode(image), engine.segment(image, VOCABULARY)
    stages = {
        f"table of {name}": table.vectors.numpy() for name, table in engine._segmenter.tables.of(VOCABULARY).items()
    }
    for name, batches in encoded.features.items():
        stages[f"features of {name}"] = np.concatenate([batch.features.numpy().ravel() for batch in batches])
    if encoded.embedding is not None:
        stages["embedding"] = encoded.embedding.numpy()
    stages["candidates"] = np.array(engine._segmenter.candidates(encoded, VOCABULARY))
    return {**stages, "scores": found.scores, "margins": found.margins, "labels": found.label_map}


@pytest.fixture(scope="module")
def segmented(online: Preset, models: LoadedModels, bank: Bank, scene: np.ndarray) -> Stages:
    return _segment(online, models, bank, scene)


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 25, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)


FEATURES = {f"features of {name}" for name in SPACES}
TABLES = {f"table of {name}" for name in SPACES}
OUTPUT = {"scores", "margins", "labels"}
SD_AND_DINO = {f"{what} of {name}" for what in ("features", "table") for name in ("stable_diffusion", "dino")}
ONLINE: list[tuple[Changes, set[str]]] = [
    ({"matching": {"background": "threshold"}}, TABLES | OUTPUT),
    ({"matching": {"background": "none"}}, TABLES | OUTPUT),
    ({"matching": {"kinds": ("class",)}}, TABLES | OUTPUT),
    ({"matching": {"extractors": ("clip",)}}, SD_AND_DINO | OUTPUT),
    ({"prefilter": {"enabled": False}}, {"embedding", "candidates"} | OUTPUT),
    ({"prefilter": {"subsets": False}}, {"candidates"} | OUTPUT),
    ({"prefilter": {"subsets": False, "max_categories": 1}}, {"candidates"} | OUTPUT),
    ({"stuff_filter": {"enabled": False}}, TABLES | OUTPUT),
    ({"stuff_filter": {"extra_stuff": ("boat",)}}, TABLES | {"candidates"} | OUTPUT),
    ({"extractors.clip": {"stuff_similarity": 0.99}}, {"table of clip"} | OUTPUT),
    ({"windows": {"crops_px": ()}}, FEATURES | OUTPUT),  # no sliding window
    ({"windows": {"whole_image": False}}, FEATURES | OUTPUT),
    ({"extractors.dino": {"window_px": 96}}, {"features of dino"} | OUTPUT),
    ({"prefilter": {"resampling": "bilinear"}}, {"embedding"}),
    ({"prefilter": {"stretch_px": 48}}, {"embedding"}),
    ({"refine": {"pamr": True, "pamr_iterations": 2}}, OUTPUT),
    ({"refine": {"min_part_px": 200}}, {"labels"}),
    ({"cache": {"features_mib": 0}}, set()),
    ({"memory": {"segment_gib": 1.0}}, set()),
]


@pytest.mark.parametrize(("changes", "expected"), ONLINE, ids=_name)
def test_switches_of_segmenting(
    changes: Changes,
    expected: set[str],
    online: Preset,
    models: LoadedModels,
    bank: Bank,
    scene: np.ndarray,
    segmented: Stages,
) -> None:
    chosen = _switch(online, changes)
    found = _changed(segmented, _segment(chosen, models, bank, scene))
    assert found - OUTPUT == expected - OUTPUT
    assert ("scores" in found) == ("scores" in expected)
    assert expected or not found
    assert _key(chosen) == _key(online)


def test_the_threshold_is_a_switch_of_its_own(
    online: Preset, models: LoadedModels, bank: Bank, scene: np.ndarray
) -> None:
    low, high = (
        _segment(
            _switch(online, {"matching": {"background": "threshold", "background_threshold": value}}),
            *(models, bank, scene),
        )
        for value in (0.1, 0.999)
    )
    assert _changed(low, high) == OUTPUT
    assert (low["labels"] == 0).sum() < (high["labels"] == 0).sum()


def test_top_k_bounds_the_things(online: Preset, models: LoadedModels, bank: Bank, scene: np.ndarray) -> None:
    for count in (1, 2):
        limited = _switch(online, {"prefilter": {"subsets": False, "max_categories": count}})
        candidates = _segment(limited, models, bank, scene)["candidates"]
        assert 1 in candidates  # water, which is stuff
        assert len(candidates) <= count + 1


def test_small_parts_have_nowhere_to_go_without_a_background(online: Preset) -> None:
    with pytest.raises(PresetError, match=r"min_part_px is 5.*matching\.background is 'none'"):
        _switch(online, {"refine": {"min_part_px": 5}, "matching": {"background": "none"}})
