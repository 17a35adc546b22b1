"""How sure a share is when it was counted in few cases: Wilson's interval (1927), at 95 %.

    (p + z²/2n ± z sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n)        p = successes / n, z = 1.96

Unlike p ± z sqrt(p(1 - p)/n), it never leaves 0 to 1, and it does not claim to be certain when 5 of 5 went well.
The regions of one image resemble each other, so the true uncertainty is rather larger.
"""

import math

Interval = tuple[float, float]
"""The lower and the upper end of a share, 0 to 1."""

_Z = 1.959963984540054  # the normal distribution has 95 % between -z and z


def wilson_interval(successes: int, cases: int) -> Interval | None:
    """Return the 95 % interval of a share, None if there is no case.

    >>> tuple(round(end, 3) for end in wilson_interval(5, 5))
    (0.566, 1.0)
    """
    if not cases:
        return None
    share, z2 = successes / cases, _Z**2 / cases
    middle = share + z2 / 2
    half = _Z * math.sqrt(share * (1 - share) / cases + z2 / (4 * cases))
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def are_apart(first: Interval | None, second: Interval | None) -> bool:
    """Tell whether two intervals are known and have nothing in common."""
    if first is None or second is None:
        return False
    return first[1] < second[0] or second[1] < first[0]
