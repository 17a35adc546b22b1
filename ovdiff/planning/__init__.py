"""What a run on many machines costs, told from measured stages by a closed formula. Never imports torch."""

from ovdiff.planning.assumptions import Assumptions, assume
from ovdiff.planning.costs import measurements
from ovdiff.planning.plan import Asked, Estimate, estimate
from ovdiff.planning.stage_seconds import usual_device

__all__ = ["Asked", "Assumptions", "Estimate", "assume", "estimate", "measurements", "usual_device"]
