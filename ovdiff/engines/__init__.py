"""The door for engines: what every engine can do, what only some can do, and which engines there are.

An engine turns a vocabulary and an image into a segmentation. A preset names its engine, so a preset is enough to have
one: `load_any_preset`, then `make_engine`. What only some engines can do is a Protocol of its own, by what it is about:

::

    contract     every engine         prepare categories, segment an image
    building     categories           draw several at once, share the work, judge a word, forecast
    curating     support sets         people change what a word became
    segmenting   images               several at once, objects, models that are loaded or shared
    encodings    an encoded image     look again, with other words or at one place: explain, find what is new
    learning     annotated images     become lessons; which image to annotate next
    registry     the engines' table   a preset becomes an engine

Whoever needs one asks ``isinstance(engine, Explains)``, and says what is missing where the answer is no. An engine is
imported when it is made: this package never imports torch.
"""

from ovdiff.engines.contract import EnginePreset, SegmentationEngine
from ovdiff.engines.registry import load_any_preset, make_engine

__all__ = ["EnginePreset", "SegmentationEngine", "load_any_preset", "make_engine"]
