import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ovdiff.errors import WeightsError
from ovdiff.odise.head import OdiseHead
from ovdiff.odise.head_file import HeadCard, architecture, load_head, read_card, write_head
from ovdiff.odise.naming import Label
from ovdiff.odise.preset import OdisePreset

LABELS = (
    Label("car", ("car", "Automobile"), False),
    Label("Zürich tram", ("tram",), False),
    Label("sky", ("sky",), True),
)


@pytest.fixture(scope="module")
def preset(odise_preset: OdisePreset) -> OdisePreset:
    return odise_preset


def new_head(preset: OdisePreset) -> OdiseHead:
    return OdiseHead(preset, [4] * 8, 6, (3, 5), 7)


@pytest.fixture
def folder(preset: OdisePreset, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    card = HeadCard(LABELS, architecture(preset), {"steps": 3, "command": "ovdiff odise train"})
    write_head(tmp_path / "a" / "head", new_head(preset).state_dict(), card)
    return tmp_path / "a" / "head"


def test_what_is_written_is_read_in_half_precision(preset: OdisePreset, folder: Path) -> None:
    torch.manual_seed(0)
    written, loaded = new_head(preset), new_head(preset)
    card = load_head(folder, loaded, preset)
    assert card.labels == LABELS
    assert card.training["steps"] == 3
    assert card.words() == {"car", "automobile", "tram", "sky"}
    for name, value in written.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float()), name
    assert {value.dtype for value in load_file(folder / "head.safetensors").values()} == {torch.float16}


def test_the_same_head_has_the_same_bytes(preset: OdisePreset, folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    write_head(tmp_path / "again", new_head(preset).state_dict(), read_card(folder))
    for name in ("head.safetensors", "head.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"labels": [{"name": "car"}], "architecture": {}, "training": {}}']
)
def test_a_damaged_card_is_said(folder: Path, text: str) -> None:
    (folder / "head.json").write_text(text, "utf-8")
    with pytest.raises(WeightsError, match=r"head\.json does not say what the head was trained for"):
        read_card(folder)


def test_a_folder_without_a_head_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"head\.json does not say.*Give a folder that `ovdiff odise train` wrote"):
        read_card(tmp_path)


def test_damaged_weights_are_said(preset: OdisePreset, folder: Path) -> None:
    file = folder / "head.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(WeightsError, match=r"head\.safetensors cannot be read"):
        load_head(folder, new_head(preset), preset)
    file.unlink()
    with pytest.raises(WeightsError, match=r"head\.safetensors cannot be read"):
        load_head(folder, new_head(preset), preset)


def test_another_architecture_is_named_by_its_field(preset: OdisePreset, folder: Path) -> None:
    other = replace(preset, mask_generator=replace(preset.mask_generator, queries=13))
    with pytest.raises(WeightsError, match=r"has mask_generator\.queries = 12; preset 'random' has 13"):
        load_head(folder, new_head(other), other)
    other = replace(preset, captioner=replace(preset.captioner, condition="null"))
    with pytest.raises(WeightsError, match=r"has captioner\.condition = 'learned'; preset 'random' has 'null'"):
        load_head(folder, new_head(other), other)


@pytest.mark.parametrize("change", ["a tensor less", "a tensor more", "another shape"])
def test_weights_that_do_not_fit_are_named(preset: OdisePreset, folder: Path, change: str) -> None:
    weights = load_file(folder / "head.safetensors")
    if change == "a tensor less":
        del weights["names.null"]
    elif change == "a tensor more":
        weights["names.more"] = torch.zeros(1)
    else:
        weights["names.null"] = torch.zeros(99)
    save_file(weights, folder / "head.safetensors")
    with pytest.raises(WeightsError, match=r"does not fit the preset 'random': tensor 'names\.(null|more)'"):
        load_head(folder, new_head(preset), preset)


def test_every_field_that_changes_the_weights_is_architecture_and_no_other(preset: OdisePreset) -> None:
    def shapes(changed: OdisePreset) -> dict[str, tuple[int, ...]]:
        return {name: tuple(value.shape) for name, value in new_head(changed).state_dict().items()}

    generator, names = preset.mask_generator, preset.classifier
    more = {
        name: replace(preset, mask_generator=replace(generator, **{name: value}))
        for name, value in {
            "bottleneck": 24, "level_channels": 64, "hidden": 64, "mask_channels": 16, "encoder_layers": 2,
            "encoder_ffn": 8, "decoder_layers": 3, "decoder_ffn": 8, "queries": 5, "dropout": 0.1,
        }.items()
    }  # fmt: skip
    more |= {
        name: replace(preset, classifier=replace(names, **{name: value}))
        for name, value in {
            "embedding": 8, "mlp_layers": 2, "projection": "none", "void": "objectness", "temperature": 0.1,
            "max_scale": 5.0, "templates": ("a {category}",),
        }.items()
    }  # fmt: skip
    more["condition"] = replace(preset, captioner=replace(preset.captioner, condition="null"))
    for name, changed in more.items():
        assert (architecture(changed) != architecture(preset)) == (shapes(changed) != shapes(preset)), name


def test_the_card_is_json_that_people_read(folder: Path) -> None:
    text = (folder / "head.json").read_text("utf-8")
    assert "Zürich tram" in text
    assert json.loads(text)["labels"][2] == {"name": "sky", "synonyms": ["sky"], "stuff": True}
