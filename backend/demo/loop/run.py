"""From zero to trained, in one command: ``make demo-loop``, or

    OMP_NUM_THREADS=1 python -m backend.demo.loop.run --label-studio .venv-label-studio/bin/label-studio \\
        --out benchmarks/results/demo-loop.json [--head FOLDER]

A real Label Studio gets a project of crowded drawn scenes, which the first engine pre-labels with no label at all. Then
a simulated annotator corrects tasks. After 8, 16, 32 and 64 of them the export becomes lessons (``ovdiff learn``), with
which the running service predicts the other tasks anew, and heads of the second engine (``ovdiff odise train``): one
from nothing, one that begins from the embedded head, and one for each ``--head``. The remaining tasks are compared with
their truth. On two idle cores the loop takes some minutes, and three more without prototypes in ``--bank``, where `make
demo` leaves them. It works in a temporary folder; only the JSON file stays.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from backend.demo.api import StoredTask
from backend.demo.backend_server import command_environment, ovdiff_command
from backend.demo.console import Console, standard_console
from backend.demo.errors import DemoError
from backend.demo.label_studio import LabelStudio
from backend.demo.loop.annotator import annotate, true_segments
from backend.demo.loop.commands import run_command
from backend.demo.loop.heads import PRESET, Start, predict, starts, train, write_preset
from backend.demo.loop.scores import Figures, figures
from backend.demo.loop.table import table
from backend.demo.project import DemoScene, ProjectMaker, demo_labels, label_config, write_images
from backend.demo.session import Session, SessionSettings, open_session
from backend.demo.stored import read_predictions, segments_of
from converters.files.atomic import write_whole
from converters.metrics.panoptic_quality import SegmentMap
from ovdiff.bank import Bank

TITLE = "OVDiff demo: from zero to trained"
LESSONS = "lessons"
COUNTS = (0, 8, 16, 32, 64)
REMAINING = 24
FIRST_SCENE = 70_000
"""No other measurement uses the scenes from here on."""
THINGS = 3
SIZE_PX = 256
_PER_OBJECT = {"OVDIFF_PRESET": "tinyworld", "OVDIFF_REGIONS_PER": "object"}


@dataclass(frozen=True)
class Plan:
    """What the loop does.

    Attributes:
        counts: the numbers of corrected tasks, ascending, from 0.
        remaining: how many tasks are never corrected, and compared with the truth.
        heads: folders of heads to begin from, besides the embedded one.
        out: the JSON file of the results; it is written after each count.
        labels: the labels of the project.
    """

    counts: Sequence[int] = COUNTS
    remaining: int = REMAINING
    heads: Sequence[Path] = ()
    out: Path = Path("runs/demo-loop.json")
    labels: Sequence[str] = field(default_factory=demo_labels)

    @property
    def corrected(self) -> list[DemoScene]:
        """The scenes that are corrected, in this order."""
        return [DemoScene(FIRST_SCENE + number, THINGS) for number in range(max(self.counts))]

    @property
    def kept(self) -> list[DemoScene]:
        """The scenes that nobody corrects."""
        first = FIRST_SCENE + max(self.counts)
        return [DemoScene(first + number, THINGS) for number in range(self.remaining)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the loop, print the table, and return the exit status."""
    options = _parser().parse_args(arguments)
    console = standard_console()
    counts = tuple(sorted({0, *options.counts}))
    plan = Plan(counts, options.remaining, options.head, options.out)
    try:
        with tempfile.TemporaryDirectory(prefix="ovdiff-demo-loop-") as name:
            folder = Path(name)
            copy_prototypes(options.bank, folder / "backend" / "bank")
            settings = SessionSettings(options.label_studio, folder, options.cache, backend_settings=_PER_OBJECT)
            with open_session(settings, console) as session:
                results = Loop(session, plan, folder / "loop").run()
    except DemoError as error:
        console.say(f"The loop failed. {error}")
        return 1
    except KeyboardInterrupt:
        console.say(f"Stopped; nothing is left running. What was measured is in {options.out}.")
        return 130
    console.say(f"\n{table(results)}\n\nIn {options.out}, after {results['protocol']['minutes']:.0f} minutes.")
    return 0


def copy_prototypes(source: Path, folder: Path) -> int:
    """Copy the prototype sets of a bank, without its lessons, into a new bank; return how many there were."""
    found, bank = Bank(source), Bank(folder)
    keys = found.keys() if source.is_dir() else ()
    for key in keys:
        bank.save(key, found.load(key), found.card(key))
    return len(keys)


class Loop:
    """One run of the loop in a session."""

    def __init__(
        self,
        session: Session,
        plan: Plan,
        folder: Path,
        *,
        predict_with: Callable[..., list[SegmentMap]] = predict,
        train_heads: Callable[..., list[Path]] = train,
        run: Callable[..., None] = run_command,
    ) -> None:
        """Prepare a run.

        Args:
            session: the servers.
            plan: what is done.
            folder: where images, exports and heads are written.
            predict_with: gives the segments of a preset, as :func:`backend.demo.loop.heads.predict` does.
            train_heads: trains heads, as :func:`backend.demo.loop.heads.train` does.
            run: runs a command to its end, as :func:`backend.demo.loop.commands.run_command` does.
        """
        self._session, self._plan, self._folder = session, plan, folder
        self._predict, self._train, self._run = predict_with, train_heads, run
        self._maker: ProjectMaker = session.maker
        self._console: Console = self._maker.console
        self._truths = [true_segments(scene, plan.labels, SIZE_PX) for scene in plan.kept]

    def run(self) -> dict[str, Any]:
        """Make the project, correct its tasks step by step, and return the results, which are also written."""
        begun, given = time.monotonic(), starts(self._plan.heads, self._plan.labels)
        project = self._project()
        rows: dict[str, dict[str, Figures]] = {LESSONS: {}, **{start.name: {} for start in given}}
        results: dict[str, Any] = {}
        done = 0
        for count in self._plan.counts:
            self._correct(project, done, count)
            done = count
            for name, found in self._measure(project, count, given):
                rows[name][str(count)] = found
                self._console.say(f"{count} corrected, {name}: {_told(found)}")
            results = self._results(given, rows, (time.monotonic() - begun) / 60)
            self._plan.out.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._plan.out, (json.dumps(results, indent=1) + "\n").encode())
        return results

    def _project(self) -> int:
        """Make the project, and have all its tasks pre-labelled."""
        scenes = [*self._plan.corrected, *self._plan.kept]
        images = write_images(scenes, self._folder / "scenes", SIZE_PX)
        project = self._maker.ensure_project(TITLE, label_config(self._plan.labels), images)
        self._session.backend.build_anchors(self._console)
        self._maker.connect(project)
        self._session.backend.wait_for_prototypes(project, self._console)
        self._maker.predict(project)
        return project

    def _correct(self, project: int, done: int, count: int) -> None:
        tasks = self._tasks(project)
        for scene in self._plan.corrected[done:count]:
            truth = true_segments(scene, self._plan.labels, SIZE_PX)
            annotate(self._maker.api, tasks[scene.file_name], truth, self._plan.labels)
            self._console.progress(f"corrected {scene.file_name}")
        self._console.end_progress()

    def _tasks(self, project: int) -> dict[str, StoredTask]:
        return {task.file_name: task for task in self._maker.api.tasks(project)}

    def _measure(self, project: int, count: int, given: Sequence[Start]) -> list[tuple[str, Figures]]:
        """Return the figures of all ways to predict after some corrected tasks."""
        images = [scene.render(SIZE_PX).image for scene in self._plan.kept]
        folder = self._folder / str(count)
        if count:
            folder.mkdir(parents=True, exist_ok=True)
            export, config = folder / "export.json", folder / "config.xml"
            export.write_text(json.dumps(self._maker.api.export_json(project)))
            config.write_text(self._maker.api.label_config(project))
            self._command(f"learn-{count}", ["learn", str(export), "--label-config", str(config)])
        found = [(LESSONS, self._figures(self._by_lessons(project)))]
        if count:
            heads = self._train(ovdiff_command(), given, export, config, folder, self._environment(), self._console)
            trained = list(zip(given, heads, strict=True))
        else:
            trained = [(start, self._untrained(start)) for start in given if start.folder]
        for start, preset in trained:
            found.append((start.name, self._figures(self._predict(preset, images, self._plan.labels))))
        return found

    def _untrained(self, start: Start) -> Path:
        path = self._folder / f"{start.name.replace(' ', '-')}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_preset(path, start.folder or Path(), begun_from=start.folder)
        return path

    def _by_lessons(self, project: int) -> list[SegmentMap]:
        """Have the remaining tasks predicted by the service as it is now, and return what Label Studio stored."""
        tasks = self._tasks(project)
        kept = [tasks[scene.file_name] for scene in self._plan.kept]
        version = str(self._maker.api.backends(project)[0]["model_version"])
        self._maker.predict(project, kept)
        stored = read_predictions(self._maker.api, project, kept)
        return [segments_of(item.of_version(version).regions, self._plan.labels, (SIZE_PX, SIZE_PX)) for item in stored]

    def _figures(self, predicted: Sequence[SegmentMap]) -> Figures:
        return figures(self._truths, predicted, len(self._plan.labels))

    def _environment(self) -> Mapping[str, str]:
        host: LabelStudio = self._session.label_studio
        return command_environment(self._session.backend.folder, host) | _PER_OBJECT

    def _command(self, name: str, arguments: Sequence[str]) -> None:
        log = self._folder / f"{name}.log"
        self._run([ovdiff_command(), *arguments], self._environment(), log)

    def _results(
        self, given: Sequence[Start], rows: Mapping[str, Mapping[str, Figures]], minutes: float
    ) -> dict[str, Any]:
        protocol = {
            "counts": list(self._plan.counts),
            "scenes": len(self._plan.kept),
            "first_scene": self._plan.kept[0].index,
            "things": THINGS,
            "labels": len(self._plan.labels),
            "size_px": SIZE_PX,
            "preset": PRESET,
            "minutes": round(minutes, 1),
        }
        lessons = {"name": LESSONS, "given": "nothing; with no task they are the pre-labels of the first engine"}
        ways = [lessons, *({"name": start.name, "given": start.given(self._plan.labels)} for start in given)]
        figures_of = {name: {count: _rounded(each) for count, each in row.items()} for name, row in rows.items()}
        return {"protocol": protocol, "ways": ways, "rows": figures_of}


def _rounded(found: Figures) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in asdict(found).items()}


def _told(found: Figures) -> str:
    return f"mIoU {found.miou:.3f}, PQ {found.pq:.3f}, {found.touched:.2f} regions to touch a task"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="backend.demo.loop.run", description="From zero labels to a trained head.")
    parser.add_argument("--label-studio", type=Path, required=True, help="Label Studio's executable")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="Label Studio databases (%(default)s)")
    bank = Path("demo-data/backend/bank")
    parser.add_argument("--bank", type=Path, default=bank, help="prototypes that are not made anew (%(default)s)")
    parser.add_argument("--out", type=Path, default=Plan.out, help="JSON file of the results (%(default)s)")
    parser.add_argument(
        "--head", type=Path, action="append", default=[], metavar="FOLDER", help="one more head to begin from"
    )
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="numbers of corrected tasks")
    parser.add_argument("--remaining", type=int, default=REMAINING, help="tasks that nobody corrects (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
