from pathlib import Path

import pytest

from ovdiff import Bank, Engine, load_preset
from ovdiff.engines import SegmentationEngine, load_any_preset, make_engine
from ovdiff.engines.building import HasKinds, HasSupportSets
from ovdiff.engines.registry import ENGINES
from ovdiff.errors import DeviceError, PresetError
from ovdiff.presets import Preset
from tests.fakes.installing import install_here


def _preset(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def _package(folder: Path, files: dict[str, str], entry: str = "mine:MINE") -> Path:
    (folder / "mine").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "mine"\nversion = "1"\n[project.entry-points."ovdiff.engines"]\nmine = "{entry}"\n'
    )
    for name, text in files.items():
        (folder / "mine" / name).write_text(text)
    return folder


def test_the_first_engine_fits_and_has_what_is_optional(tmp_path: Path) -> None:
    engine = make_engine(load_any_preset("tinyworld"), Bank(tmp_path), "cpu")
    assert type(engine) is Engine
    assert (
        isinstance(engine, SegmentationEngine) and isinstance(engine, HasKinds) and isinstance(engine, HasSupportSets)
    )


@pytest.mark.parametrize("name", ["tinyworld", "paper", "fast"])
def test_every_packaged_preset_is_of_an_engine(name: str) -> None:
    preset = load_any_preset(name)
    assert preset.engine in ENGINES.names() and preset == load_preset(name)


def test_a_file_that_names_no_engine_is_of_the_first(tmp_path: Path) -> None:
    text = '[models.generator]\nsource = "a/b"\n[models.clip]\nsource = "c/d"\n[extractors]\nuse = ["clip"]\n'
    preset = load_any_preset(_preset(tmp_path, f'name = "mine"\n{text}[proposals]\nsource = "otsu"\n'))
    assert isinstance(preset, Preset) and preset.engine == "ovdiff"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "tinyworld"\nengine = "odisee"', "There is no engine 'odisee'. Known: .*ovdiff"),
        ('base = "tinyworld"\nengine = 3', "engine is 3; expected an engine's name: .*ovdiff"),
        ('base = "tinyworld"\nimages = 3', "unknown field 'images'"),
    ],
)
def test_a_wrong_engine_or_field_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PresetError, match=message):
        load_any_preset(_preset(tmp_path, text))


def test_a_preset_of_another_engine_is_none_of_ovdiff_s(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match=r"is for the engine 'other'; load it with ovdiff.engines.load_any_preset"):
        load_preset(_preset(tmp_path, 'name = "x"\nengine = "other"'))


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="Device 'nonsense' cannot be used: "):
        make_engine(load_any_preset("tinyworld"), Bank(tmp_path), "nonsense")


_PRESET = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Mine:\n    name: str\n    engine: str\n"
_PART = "from ovdiff.presets import Part\n"


@pytest.mark.parametrize(
    ("files", "entry", "message"),
    [
        (
            {"__init__.py": "import not_there"},
            "mine:MINE",
            r"The engine 'mine' \(mine:MINE\) cannot be imported: ModuleNotFoundError: No mod",
        ),
        ({"__init__.py": ""}, "mine:MINE", r"The engine 'mine' \(mine:MINE\) cannot be imported: .*MINE"),
        ({"__init__.py": "MINE = 3"}, "mine:MINE", r"is int; expected an ovdiff.presets.Part"),
        ({"__init__.py": f"{_PART}MINE = Part('mine:make')"}, "mine:MINE", "'mine' has no dataclass of its presets"),
        (
            {"__init__.py": f"{_PART}{_PRESET}MINE = Part('mine.absent:make', settings=Mine)"},
            "mine:MINE",
            "'mine.absent:make' cannot be imported: No module named 'mine.absent'",
        ),
        (
            {"__init__.py": f"{_PART}{_PRESET}MINE = Part('mine:dict', settings=Mine)\ndef dict(*_): return []"},
            "mine:MINE",
            "The engine 'mine' is list, which has no preset, category_key, has, build, fingerprint, segment",
        ),
    ],
)
def test_a_package_whose_engine_cannot_be_made_is_told_why(
    files: dict[str, str], entry: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_here(_package(tmp_path / "project", files, entry), tmp_path / "site", monkeypatch)
    with pytest.raises(PresetError, match=message):
        make_engine(load_any_preset(_preset(tmp_path, 'name = "x"\nengine = "mine"')), Bank(tmp_path), "cpu")


def test_two_packages_with_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, entry in (("a", "mine:MINE"), ("b", "mine:OTHER")):
        install_here(_package(tmp_path / folder, {"__init__.py": ""}, entry), tmp_path / f"site-{folder}", monkeypatch)
        (tmp_path / f"site-{folder}/mine-1.dist-info").rename(tmp_path / f"site-{folder}/mine_{folder}-1.dist-info")
        metadata = tmp_path / f"site-{folder}/mine_{folder}-1.dist-info/METADATA"
        metadata.write_text(metadata.read_text().replace("Name: mine", f"Name: mine-{folder}"))
    with pytest.raises(PresetError, match="Several packages add the engine 'mine': mine:MINE, mine:OTHER"):
        load_any_preset(_preset(tmp_path, 'name = "x"\nengine = "mine"'))
