"""The words by which a dataset's categories are asked for: the papers' own, and lists of a person's choice.

A category keeps the dataset's name. What an engine draws or reads are its prompts, and they decide much of a figure:
richer names alone raised a method's VOC20 from 78.0 to 83.0 (A.14). So a result holds the prompts.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from converters.files.class_lists import ListedClass
from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import Dataset
from ovdiff.vocabulary import Category, Kind, Vocabulary

_KINDS: dict[str, Kind] = {"thing": "thing", "stuff": "stuff"}
_NUMBERED = re.compile(r"\s*([0-9]+):")
_NO_CLASS = "invalid_class_id"

RENAMED = {
    "aeroplane": "airplane",
    "diningtable": "table",
    "pottedplant": "potted plant",
    "tvmonitor": "monitor",
    "tank": "liquid tank",
    "blind": "window blinds",
    "hood": "cooker hood",
    "ashcan": "wastebin",
    "case": "shop case",
    "keyboard": "computer keyboard",
    "apparel": "clothing",
}
"""The prompts that OVDiff's released code gives to names, on any dataset (A.1)."""


def ovdiff_categories(classes: Iterable[ListedClass], *, with_kinds: bool = False) -> tuple[Category, ...]:
    """Return classes as categories with OVDiff's prompts, or else with the dataset's own phrases.

    Args:
        classes: rows of a table.
        with_kinds: whether a category says if it is a thing or stuff. If not, the preset decides, as in A.9.
    """
    return tuple(
        Category(
            each.name,
            (RENAMED[each.name],) if each.name in RENAMED else each.phrases,
            _KINDS.get(each.kind) if with_kinds else None,
        )
        for each in classes
    )


def with_names(dataset: Dataset, choice: str) -> Dataset:
    """Return a dataset whose categories are asked for by other words. Their names and their order stay.

    Args:
        dataset: an opened dataset.
        choice: "paper", the words that the papers use; "plain", the dataset's own names as they are, as mmseg and TCL
            use them; or the path of a text file with a line for each category, in the order of their labels: words with
            commas in between. The lists of OpenSeg that ODISE and FC-CLIP report on are such files, for example
            ``ade20k_150_with_prompt_eng.txt``: what stands before a colon is left out, and so are their rows 0 and
            ``invalid_class_id``.

    Raises:
        DatasetError: the file cannot be read, or has another number of lines than the dataset has categories.
    """
    if choice == "paper":
        return dataset
    categories = dataset.vocabulary.categories
    if choice == "plain":
        return replace(dataset, vocabulary=Vocabulary(replace(each, prompts=()) for each in categories))
    lists = _read_lists(Path(choice))
    if len(lists) != len(categories):
        raise DatasetError(
            f"{dataset.name}: the list of names {choice!r} has {len(lists)} lines, and the dataset has "
            f"{len(categories)} categories. Give a line for each of them, in the order of their labels."
        )
    renamed = (replace(each, prompts=prompts) for each, prompts in zip(categories, lists, strict=True))
    return replace(dataset, vocabulary=Vocabulary(renamed))


def _read_lists(path: Path) -> list[tuple[str, ...]]:
    """Return the words of each line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"The list of names {str(path)!r} cannot be read: {error}. Write paper, plain, or the path of a text file."
        ) from error
    found = []
    for line in filter(str.strip, lines):
        numbered = _NUMBERED.match(line)
        words = line[numbered.end() :] if numbered else line
        if numbered and (int(numbered[1]) == 0 or words.strip() == _NO_CLASS):
            continue
        found.append(tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip())))
    return found
