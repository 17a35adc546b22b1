import pytest
import torch
from torch import nn

from benchmarks.one_cpu import formats_table, in_format, stage_rows, stages_table


def test_the_stages_are_those_that_were_measured_on_one_thread() -> None:
    rows = stage_rows()
    seconds = {row["stage"]: row["seconds"] for row in rows}
    assert seconds["denoising step with attribution"] == pytest.approx(32 * 6.034, rel=0.01)
    text = stages_table({"stages": rows})
    category = sum(row["seconds"] for row in rows if row["of"] == "category")
    assert f"| a category, all |  |  | {category:.0f} |" in text
    assert text.index("denoising step") < text.index("safety check") < text.index("PAMR")


@pytest.mark.parametrize(("form", "most"), [("float32", 0.0), ("bfloat16", 0.02), ("int8", 0.05)])
def test_a_model_computes_nearly_the_same_in_every_format(form: str, most: float) -> None:
    torch.manual_seed(0)
    model, rows = nn.Sequential(nn.Linear(32, 32)), torch.randn(4, 32)
    with torch.inference_mode():
        before = model(rows)
        after = in_format(model, form)(rows.bfloat16() if form == "bfloat16" else rows).float()
    off = (after - before).norm() / before.norm()
    assert (0 < off < most) if most else off == 0


def test_the_table_says_that_the_machine_was_busy() -> None:
    row = {"format": "int8", "threads": 1, "processor_s": 1.25, "wall_s": 4.0}
    text = formats_table({"formats": {"rows": [row], "machine": "M", "load_average": 9.5}})
    assert "| int8 | 1 | 1.25 | 4.00 |" in text and "load average of the two cores was 9.5" in text
