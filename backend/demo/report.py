"""A table of checks: the wanted value, the value that was found, and whether the check passed."""

from dataclasses import dataclass, field

_HEADER = ("", "check", "wanted", "found")
_STATES = {True: "ok", False: "FAILED", None: "left out"}


@dataclass(frozen=True)
class Row:
    """One check; ``wanted`` and ``found`` are texts for a person.

    ``passed`` is None if the check was left out; then ``found`` says why.
    """

    check: str
    wanted: str
    found: str
    passed: bool | None


@dataclass
class Report:
    """Collects the rows of the table in the order of the checks."""

    rows: list[Row] = field(default_factory=list)

    def add(self, check: str, wanted: object, found: object, passed: bool | None = None) -> None:
        """Add a row. If ``passed`` is None, the check passed if ``found`` equals ``wanted``."""
        self.rows.append(Row(check, str(wanted), str(found), wanted == found if passed is None else passed))

    def leave_out(self, check: str, why: str) -> None:
        """Add the row of a check that is not made, and say why."""
        self.rows.append(Row(check, "", why, None))

    @property
    def failures(self) -> list[Row]:
        """The rows that did not pass."""
        return [row for row in self.rows if row.passed is False]

    @property
    def left_out(self) -> list[Row]:
        """The rows of the checks that were not made."""
        return [row for row in self.rows if row.passed is None]

    def summary(self) -> str:
        """Return in a sentence or two how many checks failed, and how many were left out."""
        left = len(self.left_out)
        told = f"{len(self.failures)} of {len(self.rows) - left} checks failed."
        return told + (f" {left} more do not fit this engine and were left out; the table says why." if left else "")

    def table(self) -> str:
        """Return all rows as aligned text."""
        cells = [(_STATES[row.passed], row.check, row.wanted, row.found) for row in self.rows]
        widths = [max(len(line[column]) for line in (_HEADER, *cells)) for column in range(len(_HEADER))]
        rule = tuple("-" * width for width in widths)
        return "\n".join(_aligned(line, widths) for line in (_HEADER, rule, *cells))


def _aligned(line: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
