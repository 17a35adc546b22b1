"""The seam of the two halves: prototype sets and support images on disk, and the recipes that name them."""

from ovdiff.bank.files import Bank

__all__ = ["Bank"]
