import math
from dataclasses import replace

import pytest
import torch

from ovdiff.odise.head import NameClassifier, OdiseHead, best_of_synonyms
from ovdiff.odise.preset import ClassifierSettings, OdisePreset

TEXT = 6
SETTINGS = ClassifierSettings(embedding=8)


@pytest.fixture
def classifier() -> NameClassifier:
    torch.manual_seed(0)
    return NameClassifier(TEXT, SETTINGS)


def cosine(one: list[float], other: list[float]) -> float:
    dot = math.fsum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(math.fsum(a * a for a in one)) / math.sqrt(math.fsum(b * b for b in other))


def test_scores_are_scaled_cosines_of_masks_with_projected_texts(classifier: NameClassifier) -> None:
    embeddings, names = torch.randn(2, 3, SETTINGS.embedding), torch.randn(4, TEXT)
    scores, null = classifier(embeddings, names)
    weight, bias = classifier.project.weight.tolist(), classifier.project.bias.tolist()  # type: ignore[union-attr,operator]

    def projected(text: list[float]) -> list[float]:
        return [
            math.fsum(w * x for w, x in zip(row, text, strict=True)) + b for row, b in zip(weight, bias, strict=True)
        ]

    for image in range(2):
        for query in range(3):
            mask = embeddings[image, query].tolist()
            for text in range(4):
                expected = cosine(mask, projected(names[text].tolist())) / 0.07
                assert float(scores[image, query, text]) == pytest.approx(expected, abs=1e-4)
            expected = cosine(mask, projected(classifier.null.tolist())) / 0.07
            assert float(null[image, query]) == pytest.approx(expected, abs=1e-4)


def test_the_scale_begins_at_one_over_the_temperature_and_has_a_cap(classifier: NameClassifier) -> None:
    assert float(classifier.log_scale) == pytest.approx(math.log(1 / 0.07))
    same = torch.ones(1, 1, SETTINGS.embedding)
    names = torch.linalg.lstsq(
        classifier.project.weight.detach(),  # type: ignore[union-attr,arg-type]
        (torch.ones(SETTINGS.embedding) - classifier.project.bias.detach())[:, None],  # type: ignore[union-attr,operator]
    ).solution.T
    with torch.no_grad():
        before = classifier(same, names)[0]
        classifier.log_scale.fill_(math.log(100.0))
        at_cap = classifier(same, names)[0]
        classifier.log_scale.fill_(math.log(5000.0))
        above = classifier(same, names)[0]
    assert torch.allclose(at_cap, before * 100 * 0.07, rtol=1e-4)
    assert torch.equal(above, at_cap)


def test_the_null_begins_at_the_empty_text_and_learns(classifier: NameClassifier) -> None:
    empty = torch.randn(TEXT)
    classifier.begin_null(empty)
    assert torch.equal(classifier.null, empty)
    _, null = classifier(torch.randn(1, 3, SETTINGS.embedding), torch.randn(2, TEXT))
    null.sum().backward()
    assert classifier.null.grad is not None and classifier.null.grad.any()


def test_without_projection_names_stay_in_clip_s_space() -> None:
    plain = NameClassifier(TEXT, replace(SETTINGS, projection="none", embedding=TEXT))
    names = torch.randn(4, TEXT)
    scores, _ = plain(names[None], names)
    assert torch.allclose(scores[0].diagonal(), torch.full((4,), 1 / 0.07), rtol=1e-5)
    assert "project.weight" not in plain.state_dict()


def test_best_of_synonyms_in_any_order_with_labels_that_have_none() -> None:
    torch.manual_seed(1)
    scores, owners = torch.randn(2, 3, 7), [2, 0, 2, 4, 0, 0, 4]
    found = best_of_synonyms(scores, owners, 6)
    for image in range(2):
        for query in range(3):
            for label in range(6):
                own = [float(scores[image, query, t]) for t in range(7) if owners[t] == label]
                assert float(found[image, query, label]) == (max(own) if own else -math.inf)


def test_the_gradient_of_a_label_goes_to_its_best_synonym_alone() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0]], requires_grad=True)
    best_of_synonyms(scores, [0, 0, 1], 2)[0, 0].backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize("void", ["null", "objectness"])
@pytest.mark.parametrize("condition", ["null", "learned"])
def test_a_head_has_what_its_preset_asks_for_and_no_more(odise_preset: OdisePreset, void: str, condition: str) -> None:
    preset = replace(
        odise_preset,
        classifier=replace(odise_preset.classifier, void=void),  # type: ignore[arg-type]
        captioner=replace(odise_preset.captioner, condition=condition),  # type: ignore[arg-type]
    )
    names = set(OdiseHead(preset, [4] * 8, TEXT, (3, 5), 7).state_dict())
    assert ("masks.objectness.weight" in names) == (void == "objectness")
    assert any(name.startswith("captioner.") for name in names) == (condition == "learned")
    assert {name.partition(".")[0] for name in names} - {"captioner"} == {"masks", "names"}
