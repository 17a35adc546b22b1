"""The bank: prototype sets and support images on disk, and the recipes from which their names are made.

The building half of the method writes prototype sets here, and the segmenting half reads them.
"""

from ovdiff.bank.files import Bank

__all__ = ["Bank"]
