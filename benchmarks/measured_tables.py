"""The tables of the documentation that were measured, made anew from the JSON files of benchmarks/results.

    python -m benchmarks.measured_tables            # writes the tables into the pages
    python -m benchmarks.measured_tables --check    # writes nothing; says which pages are out of date

A page holds a table between two comments, ``<!-- measured: NAME -->`` and ``<!-- end of measured -->``. What stands
between them is replaced by the table of that name in TABLES. A test fails where a page says something else than its
JSON file; `make measure` makes the files and then the tables, but for a few files that other commands make (ELSEWHERE).
"""

import argparse
import difflib
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backend.demo.loop.table import table as demo_loop_table
from backend.demo.steps import table as demo_table
from benchmarks.absent_words import miou_table, words_table
from benchmarks.baselines import table as baselines_table
from benchmarks.calibration import bins_table, errors_table
from benchmarks.cluster_simulation import table as simulation_table
from benchmarks.cpu_formats import masks_table as cpu_masks_table
from benchmarks.cpu_formats import seconds_table as cpu_formats_table
from benchmarks.evaluation_cost import table as evaluation_cost_table
from benchmarks.forecasts import table as forecasts_table
from benchmarks.instances import cost_table
from benchmarks.instances import table as instances_table
from benchmarks.learning_curve import costs as lesson_costs
from benchmarks.learning_curve import orders_table
from benchmarks.learning_curve import table as curve_table
from benchmarks.novelties import table as novelties_table
from benchmarks.odise_cost import images_table as odise_images
from benchmarks.odise_cost import stages_table as odise_stages
from benchmarks.odise_cost import steps_table as odise_steps
from benchmarks.odise_quality import OPEN, closed_table, taps_table
from benchmarks.odise_quality import table as odise_table
from benchmarks.odise_quality import words_table as odise_words
from benchmarks.one_cpu import stages_table as cpu_stages_table
from benchmarks.one_cpu import windows_table as cpu_windows_table
from benchmarks.one_cpu import workers_table as cpu_workers_table
from benchmarks.prototype_margins import likeness_table, margins_table
from benchmarks.ray_scaling import table as ray_table
from benchmarks.scale_plans import caching_table, plans_table
from benchmarks.startup import table as startup_table
from benchmarks.stored_predictions import table as stored_table
from benchmarks.tinyworld_quality import table as quality_table
from benchmarks.tinyworld_support import table as support_table
from ovdiff.evaluation.ablation_table import json_to_table, markdown
from ovdiff.evaluation.rows import families

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (
    "README.md",
    "docs/ablation.md",
    "docs/baselines.md",
    "docs/evaluation.md",
    "docs/lessons.md",
    "docs/lint.md",
    "docs/measurements.md",
    "docs/odise.md",
    "docs/one-cpu.md",
    "docs/ray.md",
    "docs/scale.md",
    "ovdiff/tinyworld/README.md",
)

Table = Callable[[Any], str]


def asked(results: Any) -> str:
    """Say in a sentence which scenes were asked for how many vocabularies."""
    said = results["protocol"]
    crowded = f"{said['scenes']} crowded scenes from {said['first']}"
    usual_scenes = said.get("usual", said["scenes"])
    usual = f" and {usual_scenes} usual scenes from {said.get('usual_first', 0)}" if usual_scenes else ""
    random = f"{said['vocabularies']} random vocabularies of each size and scene"
    return f"*Measured on {crowded}{usual} of the split `{said['split']}`, with {random}.*"


def taught(results: Any) -> str:
    """Return the table of the learning curve, with the costs and the protocol."""
    rows, said = results["rows"], results["protocol"]
    where = f"{said['scenes']} crowded scenes from {said['first']} of the split `{said['split']}`"
    protocol = (
        f"*Measured on {where}. Lessons come from other scenes, from {said['taught_first']}, and from others for each "
        f"seed. `gain` is the difference to no lesson, `least gain` that of the seed with the least, and `cost` the "
        f"time to label an image, as a multiple of that without lessons.*"
    )
    return f"{curve_table(rows)}\n\n{lesson_costs(rows)}\n\n{protocol}"


def ablated(*families: str) -> Table:
    """Return what makes the table of some families of an ablation's rows."""
    return lambda results: markdown(json_to_table(results), families).strip()


WORST = """![The worst answers: scene, truth, what was painted](failures.png)

*The worst answers with the first seed, one for each scene: the image, its truth, and what was painted. How bad an
answer is: the share of the scene that absent words took, and of each present word the share that is missing or
wrong.*"""

DIAGRAMS = """![Reliability diagrams: share of right regions by score](reliability.png)

*The bars are the shares of right regions, darker where there are more regions; the red strokes are the mean scores.
Where scores keep their promise the strokes lie on the bars' upper edges.*"""

TABLES: Mapping[str, tuple[str, Table]] = {
    "evaluation cost": ("evaluation_cost.json", evaluation_cost_table),
    "absent words": ("absent_words.json", lambda results: f"{words_table(results['rows'])}\n\n{asked(results)}"),
    "miou": ("absent_words.json", lambda results: miou_table(results["rows"])),
    "worst answers": ("absent_words.json", lambda _results: WORST),
    "baselines": ("baselines.json", baselines_table),
    "calibration": ("calibration.json", lambda results: f"{errors_table(results['rows'])}\n\n{asked(results)}"),
    "reliability diagrams": ("calibration.json", lambda _results: DIAGRAMS),
    "bins of scores": ("calibration.json", lambda results: bins_table(results["bins"])),
    "ablation": ("ablation.json", lambda results: f"{words_table(results['rows'])}\n\n{asked(results)}"),
    "ablation, miou": ("ablation.json", lambda results: miou_table(results["rows"])),
    **{f"ablation of {family}": ("ablation_drawn.json", ablated(family)) for family in families()},
    "ablation without the part check": ("ablation_no_part_check.json", ablated("kinds", "k", "n")),
    "margins of things": ("prototype_margins.json", lambda results: margins_table(results["seeds"], "things")),
    "margins of stuff": ("prototype_margins.json", lambda results: margins_table(results["seeds"], "stuff")),
    "likeness of prototypes": ("prototype_margins.json", lambda results: likeness_table(results["seeds"])),
    "instances": ("instances.json", lambda results: instances_table(results["seeds"])),
    "instances, true labels": ("instances.json", lambda results: instances_table(results["on the true label maps"])),
    "instances, cost": ("instances.json", cost_table),
    "demo": ("demo.json", demo_table),
    "demo loop": ("demo-loop.json", demo_loop_table),
    "forecasts": ("forecasts.json", forecasts_table),
    "novelties": ("novelties.json", novelties_table),
    "learning curve": ("learning_curve.json", taught),
    "order of tasks": ("learning_curve.json", lambda results: orders_table(results["rows"], results["chosen"])),
    "stored predictions": ("stored_predictions.json", stored_table),
    "support": ("tinyworld_support.json", lambda results: support_table(results["shares"])),
    "odise": ("odise.json", lambda results: closed_table(results["rows"])),
    "odise taps": ("odise.json", lambda results: taps_table(results["rows"])),
    "odise unseen": ("odise.json", lambda results: odise_table(results["rows"], OPEN)),
    "odise words": ("odise.json", lambda results: odise_words(results["rows"])),
    "odise cost": ("odise_cost.json", odise_stages),
    "odise images": ("odise_cost.json", odise_images),
    "odise steps": ("odise_cost.json", odise_steps),
    "start-up": ("startup.json", startup_table),
    "one cpu, stages": ("one_cpu.json", cpu_stages_table),
    "one cpu, formats": ("cpu_formats.json", cpu_formats_table),
    "one cpu, masks": ("cpu_formats.json", cpu_masks_table),
    "one cpu, windows": ("one_cpu.json", cpu_windows_table),
    "one cpu, workers": ("one_cpu.json", cpu_workers_table),
    "ray scaling": ("ray_scaling.json", ray_table),
    "scale, plans": ("scale_plans.json", plans_table),
    "scale, caching": ("scale_plans.json", caching_table),
    "scale, simulation": ("cluster_simulation.json", simulation_table),
    "quality": ("tinyworld_quality.json", quality_table),
}
"""A table's name, as pages write it: the file of its figures, and what makes Markdown of them.

A picture has a name, too, because the command that writes the file draws it."""

ELSEWHERE = {
    "demo-loop.json": "make demo-loop",
    "demo.json": "make demo DEMO_FLAGS='--steps benchmarks/results/demo.json'",
    "novelties.json": "python -m benchmarks.novelties",
    "odise.json": "python -m benchmarks.odise_quality",
    "odise_cost.json": "python -m benchmarks.odise_cost",
    "ray_scaling.json": "python -m benchmarks.ray_scaling",
    "startup.json": "python -m benchmarks.startup --before CHECKOUT",
    "stored_predictions.json": "python -m benchmarks.stored_predictions",
}
"""Files of figures that `make measure` does not make: each with the command that does."""
_MEASURED = re.compile(r"(?<=<!-- measured: )([^\n]*?)( -->\n).*?(?=<!-- end of measured -->)", re.DOTALL)


class UnknownTableError(Exception):
    """A page asks for a table that nobody makes."""


def not_measured(file: str) -> str:
    """Return what stands in the place of a table whose file of figures is missing."""
    return f"*Not measured yet with these weights: `{ELSEWHERE.get(file, 'make measure')}` does it.*"


def filled(page: str, results: Path = RESULTS, tables: Mapping[str, tuple[str, Table]] = TABLES) -> str:
    """Return a page's Markdown with every measured table made from its JSON file, or called not measured yet.

    Raises:
        UnknownTableError: the page names a table that does not exist.
    """

    def table(match: re.Match[str]) -> str:
        name, end_of_comment = match.groups()
        if name not in tables:
            raise UnknownTableError(f"There is no measured table {name!r}; there are {', '.join(tables)}.")
        file, make = tables[name]
        figures = results / file
        text = make(json.loads(figures.read_text("utf-8"))) if figures.is_file() else not_measured(file)
        return f"{name}{end_of_comment}\n{text}\n\n"

    return _MEASURED.sub(table, page)


def differences(path: Path) -> list[str]:
    """Return the lines in which a page is not what the figures say, as a unified diff; none where it agrees."""
    page = path.read_text("utf-8")
    pages = page.splitlines(), filled(page).splitlines()
    return list(difflib.unified_diff(*pages, "the page", "the figures", lineterm="", n=0))


def main(write: Callable[[str], None] = print) -> None:
    """Write the tables into the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is out of date")
    options = parser.parse_args()
    paths = [ROOT / page for page in PAGES]
    found = {path: lines for path in paths if (lines := differences(path))}
    for path, lines in found.items():
        write("\n".join([f"{path.relative_to(ROOT)}:", *lines]))
        if not options.check:
            path.write_text(filled(path.read_text("utf-8")), "utf-8")
    if options.check and found:
        sys.exit("Some tables are not what the figures say: python -m benchmarks.measured_tables")


if __name__ == "__main__":
    main()
