"""What the engine says of a category, without a model: whether the bank has it, and whether somebody builds it now.

An error is an answer too, because the worker of `backend.serving.preparing.precompute` must go on. A question may wait
for the disk or a storage, so nobody who asks holds a lock.

Tested by tests/backend/serving/preparing/test_precompute.py.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from backend.serving.preparing.failures import unexpected
from ovdiff.engines.building import SharesBuilding
from ovdiff.engines.contract import Builder
from ovdiff.errors import OVDiffError
from ovdiff.vocabulary import Category

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What the bank said of a category: the key of its prototypes and whether it has them, or why it cannot say."""

    key: str = ""
    has: bool = False
    error: str = ""


def ask(builder: Builder, category: Category) -> Answer:
    """Ask the bank, which notices sets that were removed or damaged by their files' dates."""
    try:
        return Answer(builder.category_key(category), builder.has(category))
    except (OVDiffError, OSError) as error:  # a model or the bank is not there or not readable
        return Answer(error=str(error))
    except Exception as error:  # An engine may come from another package; the worker must outlive its mistakes.
        logger.exception("Asking for the category %r failed unexpectedly.", category.name)
        return Answer(error=unexpected(error))


def is_built_elsewhere(builder: Builder, category: Category) -> bool:
    """Say whether another service on the same bank builds a category, so that this one had better build others."""
    try:
        return isinstance(builder, SharesBuilding) and builder.being_built(category) is not None
    except (OVDiffError, OSError):  # The build will say so.
        return False
