import json
from pathlib import Path

from backend.command.odise_log import TrainingLog


def test_lines_are_kept_as_json_and_steps_done_in_vain_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "head" / "training.jsonl"
    log = TrainingLog(path, 0)
    log.add(10, {"loss": 1.2345678})
    log.add(10, {"pq": 0.5, "miou": 0.25})
    log.add(20, {"loss": 1.0})
    assert log.validated(10) and not log.validated(20)
    with path.open("a") as file:
        file.write('{"step": 30, "lo')  # killed while it wrote
    again = TrainingLog(path, 10)
    assert again.lines == [{"step": 10, "loss": 1.23457}, {"step": 10, "pq": 0.5, "miou": 0.25}]
    again.add(15, {"loss": 0.5})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [10, 10, 15]
    assert TrainingLog(path, 0).lines == [] and path.read_text() == ""
