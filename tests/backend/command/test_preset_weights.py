from pathlib import Path

import pytest

from backend.command import preset_weights
from backend.command.preset_weights import check_preset, fetch_preset
from backend.errors import RequestError, UsageError
from ovdiff.errors import WeightsError
from ovdiff.models.files import ModelFiles
from ovdiff.presets import load_preset


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path | None]]:
    """The sources that were fetched, each with the folder that was asked for, from a hub that has everything."""
    asked: list[tuple[str, Path | None]] = []

    def fetch(entry: ModelFiles, terms: str, folder: Path | None) -> Path:
        assert terms
        asked.append((entry.settings.source, folder))
        return folder or Path("cache")

    monkeypatch.setattr(preset_weights, "fetch", fetch)
    monkeypatch.setattr(preset_weights, "require_reachable", lambda *_: None)
    return asked


def test_what_is_missing_is_listed_with_files_and_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RequestError, match=r"5 of 5 sources are missing, about 3555 MB.*`ovdiff presets fetch fast`"):
        check_preset("fast")
    said = capsys.readouterr().out
    rows = {line.split()[0]: line for line in said.splitlines() if line.endswith("missing")}
    assert list(rows) == ["generator", "generator.adapter", "clip", "dino", "dinov2"]
    assert rows["clip"].split()[1:] == ["timm/vit_base_patch16_clip_224.openai", "@", "977e3dd0ec55", "598", "missing"]
    assert "\nclip needs:\n    open_clip_config.json\n    open_clip_model.safetensors\n" in said


def test_what_is_here_is_said_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    check_preset("tinyworld")
    said = capsys.readouterr().out
    assert said.endswith("all weights are here\n")
    assert "weights/stable_diffusion" in said


def test_nothing_is_fetched_where_nothing_can_be_reached() -> None:
    with pytest.raises(WeightsError, match=r"HF_HUB_OFFLINE is set.*Missing: generator: .*dinov2: "):
        fetch_preset("fast", None)


def test_every_source_is_fetched_after_its_terms(
    fetched: list[tuple[str, Path | None]], capsys: pytest.CaptureFixture[str]
) -> None:
    fetch_preset("paper", None)
    assert [folder for _, folder in fetched] == [None] * 5
    said = capsys.readouterr().out
    assert "5/5 safety_checker: " in said
    assert "cutler_cascade_final.pth (1 file, about 287 MB): NON-COMMERCIAL: not for commercial use\n" in said


@pytest.mark.parametrize("folder", ["weights", "/nowhere/weights"])
def test_a_folder_gets_a_preset_that_reads_from_it(
    folder: str, fetched: list[tuple[str, Path | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[Path, bytes] = {}
    monkeypatch.setattr(preset_weights, "write_whole", lambda path, data: written.update({path: data}))
    fetch_preset("fast", Path(folder))
    ((path, data),) = written.items()
    assert path == Path(folder) / "fast.toml"
    (tmp_path / "mine.toml").write_bytes(data)
    local, fast = load_preset("mine.toml"), load_preset("fast")
    assert local.models.generator.source == "./stable-diffusion-v1-5--stable-diffusion-v1-5"
    assert local.models.generator.adapter and local.models.generator.adapter.source.startswith("./")
    assert local.models.clip and local.models.clip.library == "open_clip"
    assert local.generation == fast.generation
    assert len(fetched) == 5


def test_the_folder_of_the_weights_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its preset found the weights only where it had been made: on the machine without a network they were missing."""
    fetched = tmp_path / "weights" / "clip"
    monkeypatch.setattr(preset_weights, "require_reachable", lambda *_: None)
    monkeypatch.setattr(preset_weights, "_fetched", lambda *_: [("clip", fetched.relative_to(tmp_path))])
    fetched.mkdir(parents=True)
    (tmp_path / "mine.toml").write_text('base = "fast"\nname = "mine"\n')
    fetch_preset("mine.toml", Path("weights"))
    for name in ("mine.toml", "weights"):
        (tmp_path / "away").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "away" / name)
    clip = load_preset("away/weights/mine.toml").models.clip
    assert clip is not None and clip.source == "./away/weights/clip"
    assert load_preset(tmp_path / "away" / "weights" / "mine.toml").models.clip != clip  # by its whole path


def test_weights_and_base_are_found_behind_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of weights is often a link to a large disk, and `..` leads up from where that is."""
    large = tmp_path / "mnt" / "large" / "disk"
    (large / "clip").mkdir(parents=True)
    (tmp_path / "weights").symlink_to(large)
    monkeypatch.setattr(preset_weights, "require_reachable", lambda *_: None)
    monkeypatch.setattr(preset_weights, "_fetched", lambda *_: [("clip", large / "clip")])
    (tmp_path / "mine.toml").write_text('base = "fast"\nname = "mine"\n')
    fetch_preset("mine.toml", Path("weights"))
    clip = load_preset("weights/mine.toml").models.clip
    assert clip is not None and Path(clip.source).samefile(large / "clip")


def test_the_preset_of_the_weights_replaces_none_that_it_is_made_from(
    tmp_path: Path, fetched: list[tuple[str, Path | None]]
) -> None:
    """It became its own base, and what the file had said was lost."""
    path = tmp_path / "weights" / "mine.toml"
    path.parent.mkdir()
    path.write_text('base = "fast"\nname = "mine"\n')
    with pytest.raises(
        UsageError, match=r"--to would replace 'weights/mine\.toml', which the preset 'weights/mine\.toml"
    ):
        fetch_preset("weights/mine.toml", Path("weights"))
    assert not fetched and path.read_text().startswith('base = "fast"')


def test_a_preset_that_needs_nothing_fetches_nothing(
    fetched: list[tuple[str, Path | None]], capsys: pytest.CaptureFixture[str]
) -> None:
    fetch_preset("tinyworld", None)
    assert fetched == []
    assert capsys.readouterr().out.count("here already") == 4


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(UsageError, match="--to is 'taken', a file; expected a folder"):
        fetch_preset("fast", Path("taken"))


def test_the_embedded_head_of_the_second_engine_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    check_preset("odise_tinyworld")
    assert "all weights are here" in capsys.readouterr().out


def test_a_missing_head_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RequestError, match="Weights of 3 of 3 sources are missing, about 3845 MB"):
        check_preset("odise")
    said = capsys.readouterr().out
    assert "./odise_label_coco_50e has no head. Train one by `ovdiff odise train --out FOLDER`" in said
    assert "`ovdiff odise convert` (NON-COMMERCIAL)" in said and "tokenizer/vocab.json" in said
