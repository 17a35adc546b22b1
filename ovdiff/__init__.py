"""OVDiff: open-vocabulary segmentation from generated support images (arXiv 2306.09316).

In one call, which builds missing prototypes and keeps the models for the next call:

>>> import ovdiff
>>> result = ovdiff.segment("scene.png", ["boat", "water"], preset="tinyworld")    # doctest: +SKIP
>>> result.masks["boat"]                                                           # doctest: +SKIP

Or with an engine of your own, which builds and segments in separate calls:

>>> engine = ovdiff.Engine(ovdiff.load_preset("tinyworld"), ovdiff.Bank("bank"))   # doctest: +SKIP
>>> engine.build("boat")                                                           # doctest: +SKIP
>>> image = ovdiff.read_image("scene.png")                                         # doctest: +SKIP
>>> engine.segment(image, ovdiff.Vocabulary(["boat"])).label_map                   # doctest: +SKIP

Importing the package loads neither torch nor any model. The first call, or the first :class:`Engine`, loads them. Both
need libraries that an extra of the distribution brings; without these they raise a :class:`MissingExtraError`.
"""

from typing import TYPE_CHECKING, Any

from ovdiff.api import NamedSegmentation, segment, unload_models
from ovdiff.bank import Bank
from ovdiff.errors import MissingExtraError, OVDiffError
from ovdiff.extras import naming_the_extra
from ovdiff.images import read_image
from ovdiff.presets import Preset, load_preset
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

if TYPE_CHECKING:
    from ovdiff.engine import Engine

__all__ = [
    "Bank",
    "Category",
    "Engine",
    "MissingExtraError",
    "NamedSegmentation",
    "OVDiffError",
    "Preset",
    "Segmentation",
    "Vocabulary",
    "load_preset",
    "read_image",
    "segment",
    "unload_models",
]


def __getattr__(name: str) -> Any:
    """Import the engine, and with it torch, only when it is asked for."""
    if name == "Engine":
        with naming_the_extra("ovdiff.Engine"):
            from ovdiff.engine import Engine

        return Engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
