"""Pages that the code writes: the commands' help, the presets, the settings, the notebook, the reference."""

import argparse
import base64
import contextlib
import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

HELP_COLUMNS = 90
PACKAGES = ("ovdiff", "converters", "backend")


def command_line() -> str:
    """Return the help of every command, as argparse prints it at 90 columns."""
    from backend.command.cli import _parser

    return "\n".join(f"## {name}\n\n```text\n{text}\n```\n" for name, text in _helps(_parser()))


def _helps(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    parser.formatter_class = partial(argparse.HelpFormatter, width=HELP_COLUMNS)  # type: ignore[assignment]
    yield parser.prog, parser.format_help().strip()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _helps(command)


def presets() -> str:
    """Return each preset as `ovdiff presets show` prints it: every field with its value, unit and reason."""
    from backend.command.presets import show_preset
    from ovdiff.presets import preset_names

    shown = []
    for name in preset_names():
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            show_preset(name)
        shown.append(f"## {name}\n\n```toml\n{printed.getvalue().strip()}\n```\n")
    return "\n".join(shown)


def settings() -> str:
    """Return the table of settings."""
    from backend.settings import settings_table

    return settings_table() + "\n"


def notebook(path: Path, pictures: dict[str, bytes]) -> str:
    """Return a notebook as Markdown; its pictures are added to `pictures` by their file names.

    It is read as JSON, so that the site needs none of the notebook's packages.
    """
    parts = []
    for number, cell in enumerate(json.loads(path.read_text("utf-8"))["cells"]):
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/jpeg" in data:
                name = f"{path.stem}-{number}.jpg"
                pictures[name] = base64.b64decode("".join(data["image/jpeg"]))
                parts.append(f"![What this cell shows]({name})")
            elif "text" in output:
                parts.append(f"```text\n{''.join(output['text']).rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def reference(root: Path) -> dict[str, str]:
    """Return the reference: a page a folder of modules, from the page's path to its Markdown."""
    folders = sorted({file.parent for package in PACKAGES for file in (root / package).rglob("*.py")})
    return {f"reference/{_dotted(folder, root)}.md": _folder_page(folder, root) for folder in folders}


def _folder_page(folder: Path, root: Path) -> str:
    """Return a page of a folder's own docstring, then of its modules with all that is in them.

    What a package offers under its own name too is shown once, where it is written.
    """
    package = _dotted(folder, root)
    files = [file for file in sorted(folder.glob("*.py")) if not file.stem.startswith("__")]
    own = f"::: {package}\n    options:\n      members: false\n      show_root_heading: false\n"
    return "\n".join([f"# {package}\n", own, *(f"::: {_dotted(file, root)}\n" for file in files)])


def _dotted(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts)
