import pytest

from ovdiff.tinyworld.training import tokenizer


@pytest.mark.parametrize("word", ["zebra", "ω", "naïve", "c-3po"])
def test_any_word_tokenises_without_loss(word: str) -> None:
    words = tokenizer.build()
    ids = words(word).input_ids[1:-1]
    assert ids
    assert words.unk_token_id not in ids
    assert words.decode(ids).replace(" ", "") == word
