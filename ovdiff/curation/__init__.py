"""Curations: what people changed of the support set of a category, as data beside the bank. Never imports torch."""
