"""`ovdiff compare-evaluations`: several evaluations of one dataset side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from backend.command.console import say
from backend.command.evaluation.comparison_pages import comparison_text, comparison_to_html, comparison_to_markdown
from backend.command.files import require_writable
from backend.errors import RequestError, UsageError
from converters.console import answer
from converters.files.atomic import write_whole
from ovdiff.evaluation.comparison import Comparison, compare_evaluations

_WRITERS: dict[str, Callable[[Comparison], str]] = {".html": comparison_to_html, ".md": comparison_to_markdown}


def run_comparison(folders: Sequence[Path], out: Path | None = None) -> Comparison:
    """Compare evaluations, print the comparison, and write it if that is wanted.

    Args:
        folders: the folders of the evaluations; the first is what the others are held against.
        out: the HTML or Markdown file to write.

    Raises:
        UsageError: there are fewer than two folders, or ``out`` is of another kind, or cannot be written.
        EvaluationError: the evaluations cannot be compared.
        RequestError: the file cannot be written.
    """
    if len(folders) < 2:
        raise UsageError("Compare which evaluations? Name the folders of two or more.")
    if out is not None and out.suffix.lower() not in _WRITERS:
        raise UsageError(f"--out {out}: expected a name that ends in .html or .md.")
    if out is not None:
        require_writable("--out", out)
    found = compare_evaluations(folders)
    if out is not None:
        try:
            write_whole(out, _WRITERS[out.suffix.lower()](found).encode())
        except OSError as error:
            raise RequestError(f"Cannot write {out}: {error}.") from error
    say(comparison_text(found))
    if out is not None:
        say(f"\nwritten: {out}")
    answer(found)
    return found
