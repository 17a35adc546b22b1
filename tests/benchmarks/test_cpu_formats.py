import pytest
import torch
from torch import nn

from benchmarks.cpu_formats import OPENVINO, THREADS, _by_turns, in_format, masks_table, seconds_table


@pytest.mark.parametrize(("form", "most"), [("float32", 0.0), ("float16", 0.002), ("bfloat16", 0.02), ("int8", 0.05)])
def test_a_model_computes_nearly_the_same_in_every_format(form: str, most: float) -> None:
    torch.manual_seed(0)
    model, rows = nn.Sequential(nn.Linear(32, 32), nn.Sequential(nn.Linear(32, 32))), torch.randn(4, 32)
    with torch.inference_mode():
        before = model(rows)
        changed = in_format(model, form)
        after = changed(rows if form == "int8" else rows.to(getattr(torch, form))).float()
    off = (after - before).norm() / before.norm()
    assert (0 < off < most) if most else off == 0


def test_layers_of_int8_still_say_a_dtype() -> None:
    layer = in_format(nn.Sequential(nn.Linear(8, 4, bias=False)), "int8")[0]  # type: ignore[index]
    assert isinstance(layer, nn.Linear) and layer.weight.dtype == torch.float32 and layer.bias is None
    with torch.inference_mode():
        assert layer(torch.ones(2, 3, 8)).shape == (2, 3, 4)


def test_formats_run_by_turns_on_so_many_threads_and_are_compared_with_the_first() -> None:
    ran: list[tuple[str, int]] = []

    def run(name: str, tokens: list[float]) -> torch.Tensor:
        ran.append((name, torch.get_num_threads()))
        return torch.tensor([tokens])

    before = torch.get_num_threads()
    rows = _by_turns({"a": lambda: run("a", [1.0, 0.0]), "b": lambda: run("b", [1.0, 1.0])}, 2, rounds=2)
    assert ran == [("a", 2), ("b", 2)] * 2 and torch.get_num_threads() == before
    assert [round(row["cosine"], 4) for row in rows] == [1.0, 0.7071]
    assert all(row["processor_s"] >= 0 and row["wall_s"] >= 0 for row in rows)


def test_the_tables_say_what_was_measured() -> None:
    form = next(iter(OPENVINO))
    rows = [
        {
            "encoder": "E",
            "format": form,
            "threads": threads,
            "processor_s": 1.0 + threads,
            "wall_s": 9.0,
            "cosine": 0.99,
        }
        for threads in THREADS
    ]
    said = {"rows": rows, "machine": "M", "load_average": 9.5, "rounds": 3}
    text = seconds_table({"seconds": said})
    assert f"| E, {form} | 2.00 | 3.00 | 0.9900 |" in text and "load average of the two cores was 9.5" in text
    row = {"format": "int8", "same": 0.98765, "least_same": 0.9, "miou": 0.8612}
    text = masks_table({"masks": {"rows": [row], "scenes": 60, "seed": 42}})
    assert "| int8 | 98.77% | 90.00% | 0.861 |" in text
