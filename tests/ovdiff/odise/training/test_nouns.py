import numpy as np
import pytest
import torch

from ovdiff.odise.naming import Label, LabelTexts
from ovdiff.odise.training.grounding import grounding_loss
from ovdiff.odise.training.nouns import EmbedsWords, nouns, singular, word_drawer


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A man riding two brown horses near the old fire hydrants.", ("man", "horse", "fire hydrant")),
        ("a red ball and a small yellow car on green grass, under a cloudy sky", ("ball", "car", "grass", "sky")),
        ("Three people are sitting at a wooden table with glasses", ("person", "table", "glasses")),
        ("The clearly visible tall building stands behind parked buses", ("visible building", "bus")),
        ("A child's bed in a bedroom", ("child's bed", "bedroom")),
        ("", ()),
        ("It is beautiful !!! 3 & 4", ()),
    ],
)
def test_the_nouns_of_a_caption_by_the_rule(caption: str, expected: tuple[str, ...]) -> None:
    assert nouns(caption) == expected


def test_plurals_become_singular_and_words_that_only_look_so_stay() -> None:
    plurals = {"dogs": "dog", "ladies": "lady", "boxes": "box", "benches": "bench", "dishes": "dish", "men": "man"}
    assert {word: singular(word) for word in plurals} == plurals
    assert [singular(word) for word in ("bus", "grass", "tennis", "scissors", "gas")] == [
        "bus", "grass", "tennis", "scissors", "gas"
    ]  # fmt: skip


def embeds() -> EmbedsWords:
    """Return an embedder whose vector of a word is made of its letters; each word must be asked for once."""
    asked: list[str] = []

    def label_texts(labels: list[Label], templates: tuple[str, ...]) -> LabelTexts:
        assert templates == ("a photo of a {w}.",) and not set(asked) & {label.name for label in labels}
        asked.extend(label.name for label in labels)
        rows = torch.tensor([[float(ord(letter)) for letter in f"{label.name:4.4}"] for label in labels])
        return LabelTexts(rows, torch.arange(len(labels)), len(labels))

    return EmbedsWords(label_texts, ("a photo of a {w}.",), 4)


CAPTIONS = [
    ["a ball on the sand"],
    ["a ball on the sand and a car"],  # What the first says is true of it too.
    ["the sky"],
    ["it is here"],  # It names nothing.
]


def test_words_are_drawn_with_replacement_and_are_those_of_one_caption() -> None:
    texts = embeds()
    drawn = word_drawer(texts, 5, "ignore", torch.device("cpu"))(CAPTIONS, np.random.default_rng(0))
    known = {word: texts([word])[word] for word in ("ball", "sand", "car", "sky")}
    assert drawn.embeddings.shape == (4, 5, 4)
    for row, words in zip(drawn.embeddings[:3], (("ball", "sand"), ("ball", "sand", "car"), ("sky",)), strict=True):
        assert all(any(torch.equal(each, known[word]) for word in words) for each in row)
    again = word_drawer(texts, 5, "ignore", torch.device("cpu"))(CAPTIONS, np.random.default_rng(0))
    assert torch.equal(drawn.embeddings, again.embeddings)


def test_a_caption_that_is_also_true_of_the_other_image_is_no_negative_if_the_setting_says_so() -> None:
    ignoring, negative = (
        word_drawer(embeds(), 5, rule, torch.device("cpu"))(CAPTIONS, np.random.default_rng(0)).excused
        for rule in ("ignore", "negative")  # type: ignore[arg-type]
    )
    assert ignoring[1, 0] and not negative[1, 0]  # of image 1 also caption 0 is true
    assert not ignoring[0, 1] and not ignoring[0, 2] and not ignoring[2, 0]
    assert negative[3].all() and negative[:, 3].all() and not negative[:3, :3].any()  # who names nothing, is left out


def test_an_excused_caption_pushes_nothing_away() -> None:
    scores = torch.zeros(2, 3, 2, 1, requires_grad=True)
    excused = torch.tensor([[False, False], [True, False]])  # caption 0 is true of image 1
    grounding_loss(scores, excused).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert scores.grad[1, :, 0].abs().sum() == 0 and scores.grad[0, :, 1].abs().sum() > 0
