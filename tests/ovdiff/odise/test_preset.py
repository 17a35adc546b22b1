from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

import pytest

from ovdiff.engines import load_any_preset
from ovdiff.errors import PresetError
from ovdiff.odise.preset import ENGINE, OdisePreset
from ovdiff.presets.text import preset_to_toml

CHANGES_NO_MASK = {
    "name",
    "taps.batch_size",
    "taps.mib_per_window",
    "taps.budget_gib",
    "mask_generator.dropout",
    "cache.images",
    "cache.texts",
}
"""Besides all fields of the loss and of the training, which are in the head's weights."""


def other_value(value: Any, kind: Any) -> Any:
    """Return another value of a field's type."""
    if isinstance(value, bool):
        return not value
    if get_args(kind) and isinstance(value, str):
        return next(choice for choice in get_args(kind) if choice != value)
    if isinstance(value, int | float):
        return 2 * value or 1  # twice, because widths and strides must fit one another
    if isinstance(value, str):
        return f"{value}x"
    return (
        tuple(2 * each for each in value)
        if value and not isinstance(value[0], str)
        else (*value, *(value[:1] or ("x",)))
    )


def changed_fields(table: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return the path of each field, and the table with another value of that field alone."""
    found, kinds = [], get_type_hints(type(table))
    for field in fields(table):
        value = getattr(table, field.name)
        if value is None or field.name == "adapter" or path + field.name == "stuff_filter.enabled":  # false is refused
            continue
        if is_dataclass(value):
            inner = changed_fields(value, f"{path}{field.name}.")
            found += [(name, replace(table, **{field.name: changed})) for name, changed in inner]
        elif field.name not in ("engine", "added"):
            found.append((f"{path}{field.name}", replace(table, **{field.name: other_value(value, kinds[field.name])})))
    return found


FIELDS = changed_fields(load_any_preset("odise"))


def test_all_fields_are_tried() -> None:
    assert len(FIELDS) > 80
    assert {path for path, _ in FIELDS} >= CHANGES_NO_MASK


@pytest.mark.parametrize(("path", "changed"), FIELDS, ids=[path for path, _ in FIELDS])
def test_the_fingerprint_follows_each_field_that_changes_a_mask_and_no_other(path: str, changed: OdisePreset) -> None:
    same = path in CHANGES_NO_MASK or path.partition(".")[0] in ("loss", "training") or path.endswith(".licence")
    assert (changed.fingerprint() == load_any_preset("odise").fingerprint()) == same  # type: ignore[attr-defined]


def test_the_published_numbers() -> None:
    preset = load_any_preset("odise")
    assert isinstance(preset, OdisePreset)
    assert preset.engine == ENGINE
    taps, generator, loss, training = preset.taps, preset.mask_generator, preset.loss, preset.training
    assert (taps.input_px, taps.timestep, taps.noise_seed, taps.strides) == (512, 0, 42, (4, 8, 16, 32))
    assert (generator.queries, generator.decoder_layers, generator.encoder_layers, generator.heads) == (100, 9, 6, 8)
    assert (generator.hidden, generator.encoder_ffn, generator.decoder_ffn, generator.bottleneck) == (
        256, 1024, 2048, 128
    )  # fmt: skip
    assert (loss.name, loss.mask, loss.dice, loss.no_object) == (2, 5, 5, 0.1)
    assert (loss.points, loss.oversample, loss.importance, loss.words) == (12544, 3, 0.75, 8)
    assert (preset.fusion.alpha, preset.fusion.beta, preset.outputs.overlap) == (0.3, 0.7, 0.8)
    assert (training.steps, training.batch, training.learning_rate, training.max_gradient) == (92188, 64, 1e-4, 0.01)


def test_a_reason_stands_at_each_field() -> None:
    text = preset_to_toml(load_any_preset("odise"))
    assert "\nalpha = 0.3 # C.3: CLIP's weight for a category of the training\n" in text
    assert "\ninput_px = 512 # px; C.1: the side of a window as the diffusion model sees it\n" in text


@pytest.mark.parametrize(
    ("table", "changes", "said"),
    [
        ("mask_generator", {"hidden": 48}, "mask_generator.hidden is 48; it must be a multiple of 32"),
        ("mask_generator", {"heads": 3}, "multiple of 3, mask_generator.heads"),
        ("mask_generator", {"bottleneck": 20}, "mask_generator.bottleneck is 20; it must be a multiple of 8"),
        ("taps", {"strides": (2, 4, 8)}, r"taps.strides is \[2, 4, 8\]; expected 4 strides"),
        ("taps", {"strides": (2, 4, 16, 8)}, "each twice the one before"),
        ("classifier", {"templates": ()}, r"classifier.templates is \[\]; each needs"),
        (
            "clip_branch",
            {"templates": ("a photo",)},
            r"\['a photo'\]; each needs \{category\}",
        ),
        ("training", {"scale": (2.0, 0.1)}, r"training.scale is \[2.0, 0.1\]"),
        ("training", {"max_gradient": 0.0}, "training.max_gradient is 0"),
        ("stuff_filter", {"enabled": False}, "stuff_filter.enabled is false, but ODISE has no background prototypes"),
    ],
)
def test_a_combination_that_no_head_can_have_is_refused(table: str, changes: dict[str, Any], said: str) -> None:
    preset = load_any_preset("odise_tinyworld")
    with pytest.raises(PresetError, match=said):
        replace(preset, **{table: replace(getattr(preset, table), **changes)})  # type: ignore[type-var]
