"""A table of checks: the wanted value, the value that was found, and whether the check passed."""

from dataclasses import dataclass, field

_HEADER = ("", "check", "wanted", "found")


@dataclass(frozen=True)
class Row:
    """One check; ``wanted`` and ``found`` are texts for a person."""

    check: str
    wanted: str
    found: str
    passed: bool


@dataclass
class Report:
    """Collects the rows of the table in the order of the checks."""

    rows: list[Row] = field(default_factory=list)

    def add(self, check: str, wanted: object, found: object, passed: bool | None = None) -> None:
        """Add a row. If ``passed`` is None, the check passed if ``found`` equals ``wanted``."""
        self.rows.append(Row(check, str(wanted), str(found), wanted == found if passed is None else passed))

    @property
    def failures(self) -> list[Row]:
        """The rows that did not pass."""
        return [row for row in self.rows if not row.passed]

    def table(self) -> str:
        """Return all rows as aligned text."""
        cells = [("ok" if row.passed else "FAILED", row.check, row.wanted, row.found) for row in self.rows]
        widths = [max(len(line[column]) for line in (_HEADER, *cells)) for column in range(len(_HEADER))]
        rule = tuple("-" * width for width in widths)
        return "\n".join(_aligned(line, widths) for line in (_HEADER, rule, *cells))


def _aligned(line: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
