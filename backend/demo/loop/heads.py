"""Heads of the second engine: trained from an export by ``ovdiff odise train``, and what they predict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.demo.console import Console
from backend.demo.errors import DemoError
from backend.demo.loop.commands import wait_for
from backend.demo.processes import Child, ProcessGroups
from converters.metrics.panoptic_quality import SegmentMap
from ovdiff.bank import Bank
from ovdiff.engines import SegmentationEngine, load_any_preset, make_engine
from ovdiff.engines.segmenting import FindsInstances
from ovdiff.errors import WeightsError
from ovdiff.models.weights import locate
from ovdiff.odise.head_file import read_card
from ovdiff.odise.preset import OdisePreset
from ovdiff.vocabulary import Category, Vocabulary

PRESET = "odise_tinyworld"
VIEWS = 2
"""How many views of an image a head learns from; few, because each is encoded anew for each training."""
STEPS_ANEW, STEPS_ON = 160, 80
"""Steps of a head that begins from nothing, and of one that begins from another head."""
BATCH = 8


@dataclass(frozen=True)
class Start:
    """What a head begins from.

    Attributes:
        name: what the table calls the heads that begin so.
        folder: a head; None for a head from nothing.
        words: the words that this head was trained for.
    """

    name: str
    folder: Path | None
    words: frozenset[str] = frozenset()

    @property
    def steps(self) -> int:
        """How many steps a training takes."""
        return STEPS_ANEW if self.folder is None else STEPS_ON

    def given(self, labels: Sequence[str]) -> str:
        """Say what the heads have been given besides the corrected tasks of the project."""
        if self.folder is None:
            return "nothing"
        lacking = [label for label in labels if label.casefold() not in self.words]
        what = "all of the project's words" if not lacking else f"all of the project's words but {_listed(lacking)}"
        return f"a head that was trained on other drawn scenes with masks of {what}"


def starts(folders: Sequence[Path], labels: Sequence[str]) -> list[Start]:
    """Return the starts of heads: from nothing, from the embedded head, and from each of the folders.

    Raises:
        DemoError: a folder holds no head.
    """
    preset = load_any_preset(PRESET)
    if not isinstance(preset, OdisePreset):
        raise DemoError(f"The preset {PRESET!r} is of the engine {preset.engine!r}.")
    found = [Start("head from nothing", None)]
    for folder in (locate(preset.models.head), *folders):
        try:
            words = read_card(Path(folder or "")).words()
        except WeightsError as error:
            raise DemoError(f"There is no head to begin from: {error}") from error
        lacking = [label for label in labels if label.casefold() not in words]
        name = f"head from {Path(folder or '').name}" if folder in folders else "head from the embedded one"
        found.append(Start(f"{name}, without {len(lacking)} words" if lacking else name, Path(folder or ""), words))
    return found


def write_preset(path: Path, head: Path, *, begun_from: Path | None) -> None:
    """Write a preset file for a head, which trains quickly: its captioner learns nothing.

    Args:
        path: the file.
        head: the folder of the head, which need not be there.
        begun_from: the head from which this one begins; its architecture decides about the captioner.
    """
    condition = "null" if begun_from is None else read_card(begun_from).architecture["captioner.condition"]
    lines = [f"base = {_string(PRESET)}", f"name = {_string(path.stem)}", "[models.head]"]
    lines += [f"source = {_string(str(head.absolute()))}", "[captioner]", f"condition = {_string(condition)}"]
    lines += ["[training]", "captioner_rate = 0.0", f"views = {VIEWS}", f"batch = {BATCH}"]
    lines += ["checkpoint_every = 1000", "validate_every = 1000"]
    path.write_text("\n".join(lines) + "\n")


def train(
    ovdiff: str,
    given: Sequence[Start],
    export: Path,
    config: Path,
    folder: Path,
    environment: Mapping[str, str],
    console: Console,
) -> list[Path]:
    """Train a head of each start, two at a time, and return their preset files.

    Args:
        ovdiff: the command.
        given: what the heads begin from.
        export: the corrected tasks.
        config: their label config.
        folder: where the heads are written.
        environment: of the command; it says where images are fetched.
        console: shows which head is trained.

    Raises:
        ServerError: a training failed; the message ends with the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    presets = []
    with ProcessGroups() as groups:
        running: list[Child] = []
        for number, start in enumerate(given):
            head = folder / f"head-{number}"
            presets.append(head.with_suffix(".toml"))
            write_preset(presets[-1], head, begun_from=start.folder)
            command: list[str | Path] = [
                ovdiff,
                "odise",
                "train",
                "--labels",
                export,
                "--label-config",
                config,
                "--out",
                head,
            ]
            command += ["--preset", presets[-1], "--steps", str(start.steps), "--validate", "0"]
            command += ["--from", start.folder.absolute()] if start.folder else []
            if len(running) == 2:
                wait_for(running.pop(0))
            console.progress(f"a {start.name} learns from {folder.name} corrected tasks")
            running.append(groups.start(f"`ovdiff odise train` ({start.name})", command, environment, _log_of(head)))
        for child in running:
            wait_for(child)
    return presets


def _log_of(head: Path) -> Path:
    return head.with_suffix(".log")


def predict(preset: str | Path, images: Sequence[NDArray[np.uint8]], labels: Sequence[str]) -> list[SegmentMap]:
    """Return the segments that a preset's engine finds in images (H, W, 3) uint8; each image runs its models.

    Raises:
        DemoError: the engine does not tell objects apart.
        OVDiffError: a model cannot be loaded.
    """
    engine: SegmentationEngine = make_engine(load_any_preset(preset), Bank(Path("unused-bank")), "cpu")
    if not isinstance(engine, FindsInstances):
        raise DemoError(f"The engine of {preset} does not tell objects apart.")
    vocabulary, found = Vocabulary(tuple(map(Category, labels))), []
    for image in images:
        segmentation = engine.with_instances(image, engine.segment(image, vocabulary), vocabulary)
        ids, categories = np.zeros(segmentation.label_map.shape, dtype=np.int32), []
        for each in segmentation.objects():
            categories.append(each.index + 1)
            ids[each.mask] = len(categories)
        found.append(SegmentMap(ids, tuple(categories)))
    return found


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
