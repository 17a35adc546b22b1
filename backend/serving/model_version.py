"""The name under which Label Studio stores predictions.

Label Studio asks for a task again exactly if it has no prediction of the version that /setup answered. So the
name holds a hash of all that decides how a prediction looks: the categories and where they are drawn, the
preset, the weights, the output settings, and the prototypes that were ready. A task predicted while some were
not is thereby asked for again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from backend import __version__
from backend.serving.vocabulary import Labelling
from ovdiff.vocabulary import Category

HASH_DIGITS = 10


def model_version(
    labelling: Labelling, *, ready: Mapping[Category, str], engine_fingerprint: str, output_fingerprint: str
) -> str:
    """Return `ovdiff-<version>+<hash>`.

    Args:
        labelling: the categories and where they are drawn.
        ready: the content address of the prototypes of each category that has some.
        engine_fingerprint: models' weights and hyper-parameters.
        output_fingerprint: how masks become regions.
    """
    prototypes = [ready.get(category) for category in labelling.categories]
    parts = [labelling.fingerprint(), engine_fingerprint, output_fingerprint, prototypes]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return f"ovdiff-{__version__}+{digest[:HASH_DIGITS]}"


def failed_version(version: str) -> str:
    """Return the version of an item that holds an error instead of a prediction.

    It differs from what /setup answers, so Label Studio asks for the task again; it shows in the editor as a
    prediction without regions whose name says why.
    """
    return f"{version}.failed"
