"""Builds what the site shows beside its hand-written pages; MkDocs calls the functions that begin with `on_`.

    make docs     # half a minute; the site is then in build/site, warnings are errors

A page says what belongs where with a line of its own:

    <!-- site: include README.md | From Python -->      a section of a file of the project
    <!-- site: include CHANGELOG.md -->                 a whole file
    <!-- site: command line -->                         one of GENERATED
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from docs.hooks.foreign import foreign_loads_of_site
from docs.hooks.generated import command_line, notebook, presets, reference, settings
from docs.hooks.sections import SectionError, replace_directives, section, slug, with_page_links

ROOT = Path(__file__).parents[2]
GENERATED = {"command line": command_line, "presets": presets, "settings": settings}
INCLUDE = re.compile(r"^<!-- site: include (\S+) \| (.+?) -->$", re.MULTILINE)
NOTEBOOK = ROOT / "examples/quickstart.ipynb"
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "ovdiff/tinyworld/README.md": "tinyworld.md",
    "examples/quickstart.ipynb": "notebook.md",
    "docs/demo.png": "demo.png",
    "docs/editor.png": "editor.png",
    "docs/page.png": "page.png",
    "docs/support-sheet.png": "support-sheet.png",
    "docs/tinyworld-support.png": "tinyworld-support.png",
}
"""Files of the project, and where the site shows them."""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the reference and of the notebook."""
    pictures: dict[str, bytes] = {}
    text = notebook(NOTEBOOK, pictures)
    shown = with_page_links(text, "examples/quickstart.ipynb", PAGES | {f"examples/{name}": name for name in pictures})
    for path, text in {"notebook.md": shown, **reference(ROOT)}.items():
        files.append(File.generated(config, path, content=text))
    for name, data in pictures.items():
        files.append(File.generated(config, name, content=data))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the pages of the reference in the navigation, package by package."""
    pages = list(reference(ROOT))
    by_package: dict[str, list[Any]] = {}
    for page in pages:
        name = posixpath.basename(page).removesuffix(".md")
        by_package.setdefault(name.partition(".")[0], []).append({name: page})
    config.nav = [*(config.nav or ()), {"Reference": [{package: listed} for package, listed in by_package.items()]}]
    return config


def on_page_markdown(markdown: str, *, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Put in what the page's directives ask for."""
    try:
        return replace_directives(markdown, _made)
    except SectionError as error:
        raise PluginError(f"{page.file.src_uri}: {error}") from error


def on_post_build(*, config: MkDocsConfig) -> None:
    """Refuse a site that loads fonts, scripts or pictures from other hosts."""
    foreign = foreign_loads_of_site(Path(config.site_dir))
    if foreign:
        raise PluginError("The site must work offline, but " + "; ".join(foreign[:5]))


def _made(words: str) -> str:
    """Return what a directive stands for."""
    if words in GENERATED:
        return GENERATED[words]()
    include = re.fullmatch(r"include (\S+)(?: \| (.+))?", words)
    if include is None:
        known = ", ".join(GENERATED)
        raise SectionError(f"{words!r} is no directive. Write 'include FILE | HEADING', or one of: {known}.")
    file, heading = include.groups()
    text = (ROOT / file).read_text("utf-8")
    part = text if heading is None else section(text, heading)
    return with_page_links(part, file, PAGES | _anchors())


def _anchors() -> dict[str, str]:
    """Return where the site shows each section, from "FILE#anchor" to its page, as the pages' directives say."""
    found = {}
    for page in sorted((ROOT / "docs").glob("*.md")):
        for file, heading in INCLUDE.findall(page.read_text("utf-8")):
            found[f"{file}#{slug(heading)}"] = page.name
    return found
