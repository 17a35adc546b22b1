"""OVDiff: open-vocabulary segmentation from generated support images (arXiv 2306.09316).

>>> from ovdiff import Bank, Category, Engine, Vocabulary, load_preset
>>> engine = Engine(load_preset("tinyworld"), Bank(folder))            # doctest: +SKIP
>>> engine.build(Category("boat"))                                     # doctest: +SKIP
>>> engine.segment(image, Vocabulary((Category("boat"),))).label_map   # doctest: +SKIP

Importing the package loads neither torch nor any model; :class:`Engine` brings torch in when first used.
"""

from typing import TYPE_CHECKING, Any

from ovdiff.bank import Bank
from ovdiff.errors import OVDiffError
from ovdiff.presets import Preset, load_preset
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

if TYPE_CHECKING:
    from ovdiff.engine import Engine

__all__ = [
    "Bank",
    "Category",
    "Engine",
    "OVDiffError",
    "Preset",
    "Segmentation",
    "Vocabulary",
    "load_preset",
]


def __getattr__(name: str) -> Any:
    """Import the engine, and with it torch, only when it is asked for."""
    if name == "Engine":
        from ovdiff.engine import Engine

        return Engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
