"""OVDiff's engine, the whole method: its two halves joined, and what reads their result.

::

    halves    categories are built, images are encoded and labelled; on the same loaded models
    engine    the halves, with curations, lessons, explanations, forecasts and novelties
"""

from ovdiff.building.steps import Progress
from ovdiff.engine.engine import Engine, make_engine
from ovdiff.segmentation import Segmentation

__all__ = ["Engine", "Progress", "Segmentation", "make_engine"]
