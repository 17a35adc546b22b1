"""The name under which Label Studio stores predictions.

Label Studio asks for a task again exactly if it has no prediction of the version that /setup answered. Therefore the
name holds a hash of everything that decides a prediction: the categories and where they are drawn, the preset, the
weights, the output settings, and the prototypes that were ready. So a task that was predicted while some prototypes
were missing is asked for again once they are ready. Labels that only change their order, colour or hotkey lead to the
same name, because they lead to the same masks. A changed threshold leads to another name: each task is answered again,
from its segmentation where that is still remembered. Attributes that nobody reads are in the hash too, so that no name
is the beginning of another one: Label Studio finds predictions by any part of their name.

Of all that /setup answers, Label Studio 1.23.2 shows a person this name alone, once a prediction has it: whole in the
project's settings, and its first eight and last six characters on the prediction's tab in the editor. So it also names
the attributes of the label config that nobody reads, and ends with a word that is whole on the tab, ovdiff-0...typo?):

    ovdiff-0.5.0+1a2b3c4d5e (not read: prompt=, treshold=, typo?)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

from backend import __version__
from backend.serving.vocabulary import Labelling
from ovdiff.vocabulary import Category

PREFIX = "ovdiff-"
HASH_DIGITS = 10
MOST_NAMES = 3  # of attributes
NAME_CHARACTERS = 20

_OWN = re.compile(rf"{PREFIX}\d[^+\s]*\+[0-9a-f]{{{HASH_DIGITS}}}(?: \(not read: .*\))?", re.DOTALL)


def model_version(
    labelling: Labelling, *, ready: Mapping[Category, str], engine_fingerprint: str, output_fingerprint: str
) -> str:
    """Return `ovdiff-<version>+<hash>`, and behind it the attributes of the label config that nobody reads.

    Args:
        labelling: the categories, and the controls into which they are drawn.
        ready: the categories that have prototypes, each with the content address of its prototypes.
        engine_fingerprint: a hash of the models' weights and the hyper-parameters.
        output_fingerprint: a hash of the settings by which masks become regions.
    """
    prototypes = sorted((category.name, ready.get(category)) for category in labelling.categories)
    parts = [labelling.fingerprint(), engine_fingerprint, output_fingerprint, prototypes]
    not_read = _not_read(labelling)
    digest = hashlib.sha256(json.dumps([*parts, not_read] if not_read else parts).encode()).hexdigest()
    return f"{PREFIX}{__version__}+{digest[:HASH_DIGITS]}{not_read}"


def is_own(version: str) -> bool:
    """Return whether a prediction's model version has the form of `model_version`, in any release of this package."""
    return _OWN.fullmatch(version) is not None


def _not_read(labelling: Labelling) -> str:
    names = list(dict.fromkeys(f"{unread.name[:NAME_CHARACTERS]}=" for unread in labelling.unread))
    if not names:
        return ""
    more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return f" (not read: {', '.join([*names[:MOST_NAMES], *more, 'typo?'])})"
