from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ovdiff.errors import VocabularyError, WeightsError
from ovdiff.odise.naming import Label
from ovdiff.odise.parts import OdiseParts
from ovdiff.odise.preset import OdisePreset
from ovdiff.presets.model_settings import ModelSettings

LABELS = [Label("car", ("car", "blue automobile"), False), Label("sky", ("sky",), True)]


def test_a_synonym_s_vector_is_the_mean_over_the_templates(odise_parts: OdiseParts) -> None:
    found = odise_parts.label_texts(LABELS, ("a photo of a {category}", "{category}!"))
    assert found.labels == 2
    assert found.owners.tolist() == [0, 0, 1]
    for row, synonym in zip(found.embeddings, ("car", "blue automobile", "sky"), strict=True):
        each = odise_parts.clip.embed_texts([f"a photo of a {synonym}", f"{synonym}!"])
        mean = (each[0] + each[1]) / 2  # type: ignore[operator]
        assert torch.allclose(row, mean / mean.norm(), atol=1e-5)


def test_a_text_that_is_too_long_is_named(odise_parts: OdiseParts) -> None:
    long = " ".join(["umbrella"] * 200)
    with pytest.raises(VocabularyError, match=r"umbrella' is longer than the text encoder reads\. Give a shorter"):
        odise_parts.label_texts([Label("long", (long,), False)], ("a {category}",))


def test_a_head_fits_the_frozen_models(odise_parts: OdiseParts, odise_preset: OdisePreset) -> None:
    head, card = odise_parts.head
    assert not head.training
    assert not any(parameter.requires_grad for parameter in head.parameters())
    assert [projection.reduce[0].in_channels for projection in head.masks.pyramid.taps] == (
        odise_parts.encoder.taps.channels
    )
    assert head.names.null.shape == (odise_parts.text_channels,)
    assert card.words() == {"car", "automobile", "sky"}
    assert odise_parts.head[0] is head


def test_a_head_that_cannot_be_downloaded_is_said(odise_preset: OdisePreset, odise_parts: OdiseParts) -> None:
    models = replace(odise_preset.models, head=ModelSettings(source="someone/head"))
    parts = OdiseParts(replace(odise_preset, models=models), odise_parts.models)
    with pytest.raises(
        WeightsError, match=r"models\.head\.source is 'someone/head', which is no folder\. Train a head"
    ):
        _ = parts.head


def test_a_missing_folder_is_said(odise_preset: OdisePreset, odise_parts: OdiseParts, tmp_path: Path) -> None:
    models = replace(odise_preset.models, head=ModelSettings(source=str(tmp_path / "absent")))
    parts = OdiseParts(replace(odise_preset, models=models), odise_parts.models)
    with pytest.raises(WeightsError, match=r"absent' does not exist"):
        _ = parts.head
