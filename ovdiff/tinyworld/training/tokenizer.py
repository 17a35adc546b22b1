"""Make the byte-level CLIP tokenizer: each of the world's words is one token, any other word is split."""

import json
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from ovdiff.tinyworld.captions import WORDS

MAX_LENGTH = 48
_END = "</w>"
_SPECIAL = ("<|startoftext|>", "<|endoftext|>")


def build() -> CLIPTokenizer:
    """Return the tokenizer. It is the same each time, and made in under a second."""
    trained = Tokenizer(models.BPE(end_of_word_suffix=_END))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=5000, end_of_word_suffix=_END, show_progress=False)
    trained.train_from_iterator(sorted(WORDS), trainer)
    with tempfile.TemporaryDirectory() as folder:
        trained.model.save(folder)
        lines = (Path(folder) / "merges.txt").read_text().splitlines()
    merges = [(left, right) for left, right in (line.split(" ") for line in lines if not line.startswith("#"))]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + _END for letter in alphabet), *(a + b for a, b in merges), *_SPECIAL]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_LENGTH)


if __name__ == "__main__":
    tokenizer = build()
    print(json.dumps({word: tokenizer.tokenize(word) for word in (*WORDS, "zebra", "a", "ß")}))  # noqa: T201
