"""`ovdiff prototypes show`: a sheet of the support images of a category's prototypes. Loads no model.

A word may have several prototype sets of one preset, because labels give it other prompts. The set in use is shown: the
set that a project's label config asks for, or the set of the word by itself, which `--categories WORD` uses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from backend.command.console import say
from backend.command.files import check_png_path, write_png
from backend.command.refusals import cannot
from backend.command.stored_sets import StoredSet, find_sets
from backend.command.support_sheet import draw_support_sheet, shown_images
from backend.command.table import table
from backend.errors import UsageError
from converters.console import answer
from ovdiff.bank import Bank
from ovdiff.bank.support import SupportSet
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.building import HasSupportSets
from ovdiff.engines.curating import Curates
from ovdiff.vocabulary import Category

_CAPTION_CHARACTERS = 22  # more would run into the next caption


def show_prototypes(
    bank: Bank,
    which: str,
    engine: SegmentationEngine,
    out: Path | None,
    projects: Mapping[str, Sequence[Category]] | None = None,
) -> None:
    """Write a sheet of a set's support images, attribution, foreground and background, and print its path.

    If the category has several sets of the engine's preset, they are listed first, with what uses each.

    Args:
        bank: the bank that holds the set.
        which: the category or the key of the set.
        engine: an engine with the preset that the set was made with.
        out: the PNG file to write; None means CATEGORY.support.png in the current folder.
        projects: the categories of the label config of each project that the service knows.

    Raises:
        UsageError: there is no such set, it was made with another preset, several sets are in use, or `out` is not the
            name of a PNG file.
        BankError: the support images of the set were not kept.
        RequestError: the sheet cannot be written.
    """
    if not isinstance(engine, HasSupportSets):
        raise cannot(engine, "keeps no support images, so there is nothing to show")
    check_png_path("--out", out)
    made = _made_by(engine, bank, find_sets(bank, which))
    asking = _projects_by_key(engine, projects or {})
    if len(made) > 1:
        rows = [(item.short_key, "; ".join(item.prompts), _used_by(item, asking, engine)) for item in made]
        say(table([("key", "prompts", "in use by"), *rows]))
    item = _in_use(made, asking, engine)
    support = engine.support_set(_category(item))
    sheet = draw_support_sheet(support, _title(item, support), _captions(support))
    path = out or Path(f"{_file_name(item.category)}.support.png")
    write_png(sheet, path)
    answer(
        {
            "sheet": path,
            **{name: getattr(item, name) for name in ("key", "category", "prompts", "word", "judgement")},
            "images": len(support.images),
            "images_with_foreground": support.with_foreground(),
            "refused_images": support.refused,
            "rejected_images": len(support.rejected),
        }
    )
    say(f"sheet: {path}" + (f" of {item.short_key}" if len(made) > 1 else ""))


def _made_by(engine: SegmentationEngine, bank: Bank, found: Sequence[StoredSet]) -> list[StoredSet]:
    """Return the sets that the engine's preset made; the support images of a set are found only with its own preset.

    A set that was made before the category's curation was changed stands for the one that is not built yet.
    """
    made: list[StoredSet] = []
    before: list[StoredSet] = []
    for item in found:
        if item.error:
            raise UsageError(f"{item.short_key}: {item.error}")
        if engine.category_key(_category(item)) == item.key:
            made.append(item)
        elif isinstance(engine, Curates) and engine.curator.is_ours(bank.card(item.key)):
            before.append(item)
    made += {item.prompts: item for item in before if item.prompts not in {each.prompts for each in made}}.values()
    if not made:
        raise UsageError(
            f"{', '.join(item.label for item in found)}: made with another preset than this one; name that with "
            f"--preset."
        )
    return made


def _projects_by_key(engine: SegmentationEngine, projects: Mapping[str, Sequence[Category]]) -> dict[str, list[str]]:
    """Return the projects whose label config asks for a set, by the key of the set."""
    asking: dict[str, list[str]] = {}
    for project, categories in projects.items():
        for category in categories:
            asking.setdefault(engine.category_key(category), []).append(f"project {project}")
    return asking


def _in_use(made: Sequence[StoredSet], asking: Mapping[str, Sequence[str]], engine: SegmentationEngine) -> StoredSet:
    """Return the only set, or the only one that projects use, or if none is used the one of the word by itself."""
    if len(made) == 1:
        return made[0]
    used = [item for item in made if item.key in asking] or [item for item in made if _is_plain(item, engine)]
    if len(used) != 1:
        raise UsageError(
            f"{made[0].category!r} has {len(made)} sets, and {len(used) or 'none'} of them are in use: give the key of "
            f"one, {' or '.join(item.short_key for item in made)}."
        )
    return used[0]


def _used_by(item: StoredSet, asking: Mapping[str, Sequence[str]], engine: SegmentationEngine) -> str:
    alone = [f'--categories "{item.category}"'] if _is_plain(item, engine) else []
    return ", ".join([*asking.get(item.key, ()), *alone]) or "nothing that is known here"


def _is_plain(item: StoredSet, engine: SegmentationEngine) -> bool:
    """Return whether a set is the one of its word by itself."""
    return engine.category_key(Category(item.category)) == item.key


def _category(item: StoredSet) -> Category:
    return Category(item.category, item.prompts)


def _title(item: StoredSet, support: SupportSet) -> str:
    count = f"{len(support.images)} images, {support.with_foreground()} with a foreground, {support.refused} refused"
    if support.rejected:
        count += f", {len(support.rejected)} rejected"
    prompts = [f"prompt {number}: {text}" for text, number in _prompt_numbers(support).items()]
    word = item.word if item.judgement is None else f"{item.word}: {item.judgement}"
    return "\n".join([f"{item.category}, {item.short_key}: {count}", f"the word is {word}", *prompts])


def _captions(support: SupportSet) -> list[str]:
    """Return the caption of each image: its number, and the number of its prompt and its seed, or who changed it."""
    prompts, left_out = _prompt_numbers(support), {id(item) for item in support.rejected}
    captions = []
    for item in shown_images(support):
        if id(item) in left_out:
            what = f"rejected\n{support.reasons.get(item.number, '')}"
        elif item.exemplar:
            what = f"exemplar\n{item.exemplar}"
        else:
            what = f"prompt {prompts[item.prompt]}, seed\n{item.seed}"
        captions.append("\n".join(line[:_CAPTION_CHARACTERS] for line in f"{item.number}: {what}".split("\n")))
    return captions


def _prompt_numbers(support: SupportSet) -> dict[str, int]:
    return {
        text: number
        for number, text in enumerate(
            dict.fromkeys(item.prompt for item in support.images if not item.exemplar), start=1
        )
    }


def _file_name(category: str) -> str:
    return re.sub(r"[^\w-]+", "_", category).strip("_") or "category"
