"""Which libraries a file brings in when it is imported, found without importing it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FIRST_DEFINITION = re.compile(r"^(?:@|def |async def |class )", re.MULTILINE)


@cache
def imported_libraries(path: Path) -> frozenset[str]:
    """Return the top-level names of what a file imports, directly or through files of this project.

    Imports inside functions and those for type checkers alone are left out: they do not run with the file.
    """
    found: set[str] = set()
    seen: set[str] = set()
    waiting = {str(path)}
    while waiting:
        file = waiting.pop()
        seen.add(file)
        libraries, files = _imported(file)
        found |= libraries
        waiting |= files - seen
    return frozenset(found)


@cache
def _imported(file: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the top-level names of what a file itself imports, and the files of this project among it.

    Files are strings here: some hundred files reach some hundred others each, and paths take long to compare.
    """
    names = _imported_names(Path(file))
    return (
        frozenset(name.partition(".")[0] for name in names),
        frozenset(str(own) for name in names for own in _own_files(name)),
    )


def _imported_names(file: Path) -> set[str]:
    """Return the dotted names that a file's top level imports; of `from a import b` both `a` and `a.b`."""
    names = set()
    for statement in _imports(_statements(file.read_text("utf-8"))):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif statement.module and not statement.level:
            names |= {statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)}
    return names


def _statements(source: str) -> list[ast.stmt]:
    """Return a file's statements down to its first definition: ruff refuses imports below it, and the rest is long."""
    try:
        return ast.parse(_FIRST_DEFINITION.split(source, maxsplit=1)[0]).body
    except SyntaxError:  # it was in a text
        return ast.parse(source).body


def _imports(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        elif isinstance(statement, ast.Try | ast.With) or (isinstance(statement, ast.If) and not _for_types(statement)):
            yield from _imports(statement.body)


def _for_types(statement: ast.If) -> bool:
    return "TYPE_CHECKING" in ast.unparse(statement.test)


@cache
def _own_files(name: str) -> tuple[Path, ...]:
    """Return the files of this project that importing a dotted name runs: the module's and its packages'."""
    parts = name.split(".")
    prefixes = [ROOT.joinpath(*parts[:length]) for length in range(1, len(parts) + 1)]
    found = [file for prefix in prefixes for file in (prefix.with_suffix(".py"), prefix / "__init__.py")]
    return tuple(file for file in found if file.is_file())
