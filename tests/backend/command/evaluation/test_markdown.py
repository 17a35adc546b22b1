"""An evaluation as Markdown."""

from dataclasses import replace

from backend.command.evaluation.examples import Example
from backend.command.evaluation.markdown import result_to_markdown
from ovdiff.evaluation.result import Result


def test_every_table_is_there(result: Result, examples: tuple[Example, ...]) -> None:
    text = result_to_markdown(result, examples)
    assert text.startswith("# fake on squares\n\nThe figures are of 12 of 13 images.")
    for line in (
        "| mIoU | 0.9",
        "| red | ",
        "| all | 100.0 % (100.0 to 100.0) |",
        "| red | background | ",
        "| 0.7 to 0.8 | ",
        "| segment | ",
        "| square-12 | It is &lt;b&gt;damaged&lt;/b&gt;. |",
        "| preset | fake (engine fake) |",
        "| red | thing | red |",
        f"| worst | {examples[0].name} | {examples[0].miou:.3f} | The largest wrong region is ",
    ):
        assert f"\n{line}" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


def test_names_are_escaped(result: Result) -> None:
    nasty = replace(result, dataset={**result.dataset, "name": "<b>|x", "notes": ["half | done"]})
    text = result_to_markdown(nasty)
    assert "<b>" not in text and "&lt;b&gt;\\|x" in text and "half \\| done" in text


def test_a_run_without_a_mistake_says_so(result: Result) -> None:
    right = [[9, 0, 0, 0], [0, 3, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    text = result_to_markdown(replace(result, failed=(), figures={**result.figures, "confusion": right}))
    assert "No pixel has another label than it should." in text and "could not be evaluated" not in text
