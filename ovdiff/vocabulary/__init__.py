"""The categories to look for, the vocabulary that orders them, and the decision which of them are things or stuff."""

from ovdiff.vocabulary.categories import Category, Kind, Vocabulary, as_category, with_phrase

__all__ = ["Category", "Kind", "Vocabulary", "as_category", "with_phrase"]
