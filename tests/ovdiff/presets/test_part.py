"""Parts of other packages.

tests/test_architecture.py uses a whole one, tests/ovdiff/engines/test_registry.py broken ones.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovdiff.bank.recipe import Recipes
from ovdiff.errors import MissingExtraError, PresetError
from ovdiff.extractors import Extractors
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import FeatureSettings, Part, Preset, load_preset, setting
from ovdiff.presets.model_settings import CheckpointSettings, ModelSettings
from ovdiff.presets.needs import EXTRACTORS, feature_dtype
from ovdiff.presets.part import Parts
from ovdiff.vocabulary import Category
from tests.fakes.installing import install_here

TOOLS = Parts("tool", "ovdiff.tools", {"hammer": Part("math:floor")})


@pytest.fixture
def saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "saws").mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "saws"\nversion = "1"\n[project.entry-points."ovdiff.tools"]\n'
        'saw = "saws:SAW"\nhammer = "saws:SAW"\n'
    )
    (project / "saws/__init__.py").write_text("from ovdiff.presets import Part\nSAW = Part('math:ceil', version=3)\n")
    install_here(project, tmp_path / "site", monkeypatch)


def test_without_packages_there_is_what_is_built_in() -> None:
    assert TOOLS.names() == ("hammer",) and "hammer" in TOOLS and "saw" not in TOOLS
    with pytest.raises(PresetError, match=r"no tool 'saw'\. Known: hammer\. .* entry point group 'ovdiff.tools'"):
        _ = TOOLS["saw"]


@pytest.mark.usefixtures("saw")
def test_a_package_adds_a_part_and_replaces_none() -> None:
    assert TOOLS.names() == ("hammer", "saw") and "saw" in TOOLS
    assert TOOLS["saw"].version == 3 and TOOLS["saw"].maker("a test")(0.5) == 1
    assert TOOLS["hammer"].maker("a test")(0.5) == 0  # the built-in one


@pytest.mark.parametrize("make", ["ovdiff.not_there:make", "ovdiff.errors:not_there", "no colon or module"])
def test_a_maker_that_is_not_there_is_named_with_what_asks_for_it(make: str) -> None:
    with pytest.raises(PresetError, match=f"^proposals.source 'saw': '{make}' cannot be imported: "):
        Part(make).maker("proposals.source 'saw'")


def test_a_library_that_an_extra_brings_is_named_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "needs_torch.py").write_text("import tqdm\ndef make(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "tqdm", None)
    with pytest.raises(MissingExtraError, match=r"extractors.use 'x' needs tqdm, .* pip install '.\[cpu\]'"):
        Part("needs_torch:make").maker("extractors.use 'x'")


def test_a_table_of_a_part_that_is_not_installed_is_an_unknown_field(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "tinyworld"\n[extractors.colours]\ncells = 3\n')
    with pytest.raises(PresetError, match=r"unknown field 'extractors.colours'"):
        load_preset(path)


def test_a_model_table_that_no_part_knows_is_an_unknown_field(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "tinyworld"\n[models.sam]\nsource = "a/b"\n')
    with pytest.raises(PresetError, match=r"unknown field 'models.sam'"):
        load_preset(path)


def test_a_part_with_a_model_gives_presets_a_table_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "seer").mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "seer"\nversion = "1"\n[project.entry-points."ovdiff.extractors"]\nsee = "seer:SEE"\n'
    )
    (project / "seer/__init__.py").write_text(
        "from ovdiff.presets import FeatureSettings, Part\nfrom ovdiff.presets.model_settings import ModelSettings\n"
        "SEE = Part('seer:make', FeatureSettings, {'seer': ModelSettings}, licence='CC-BY-NC-4.0')\n"
    )
    install_here(project, tmp_path / "site", monkeypatch)
    from ovdiff.models.licences import weights_licences
    from ovdiff.presets.needs import models_of

    path, tables = tmp_path / "mine.toml", 'base = "tinyworld"\n[extractors]\nuse = ["clip", "see"]\n'
    path.write_text(f'{tables}[matching]\nextractors = ["clip"]\n')
    with pytest.raises(PresetError, match=r"extractors.use \('see'\) needs models.seer, which is missing"):
        load_preset(path)
    path.write_text(f'{tables}[models.seer]\nsource = "a/seer"\nrevision = "1"\n[matching]\nextractors = ["clip"]\n')
    preset = load_preset(path)
    assert models_of(preset, "features") == ("clip", "seer") and models_of(preset, "segmenting") == ("clip",)
    assert Recipes(preset).prototypes(Category("ball")).models["seer"]["weights"] == "a/seer@1"
    (terms,) = (entry for entry in weights_licences(preset) if entry.model == "seer")
    assert terms.non_commercial and terms.source == "a/seer"


@dataclass(frozen=True)
class _Settings(FeatureSettings):
    book: str = setting("", "a file")
    name: str = setting("small", "a field of a name that presets have too")


@dataclass
class _Loose:
    size: int = 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"settings": dict}, "settings is <class 'dict'>; expected a frozen dataclass, or None"),
        ({"settings": _Loose}, "expected a frozen dataclass"),
        ({"settings": _Settings()}, "expected a frozen dataclass"),
        ({"settings": _Settings, "files": ("bok",)}, r"files is \('bok',\); expected a tuple of"),
        ({"settings": _Settings, "files": "book"}, "files is 'book'; expected a tuple of fields of its settings"),
        ({"models": {"seer": str}}, r"models\['seer'\] is <class 'str'>; expected ModelSettings or Checkpoint"),
        ({"version": 0}, "version is 0; expected a whole number from 1"),
        ({"version": "2"}, "version is '2'; expected a whole number from 1"),
    ],
)
def test_a_description_that_cannot_be_is_refused_when_it_is_made(values: dict[str, Any], message: str) -> None:
    with pytest.raises(PresetError, match=f"Part 'a:b': .*{message}"):
        Part("a:b", **values)


def _project(folder: Path, code: str, distribution: str = "mine") -> Path:
    (folder / "mine").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{distribution}"\nversion = "1"\n'
        '[project.entry-points."ovdiff.extractors"]\nmine = "mine:MINE"\nuse = "mine:MINE"\n'
    )
    (folder / "mine/__init__.py").write_text(code)
    return folder


_MINE = """
from dataclasses import dataclass
from ovdiff.presets import FeatureSettings, Part, setting
@dataclass(frozen=True)
class Settings(FeatureSettings):
    book: str = setting("", "a file")
    name: str = setting("small", "a size")
MINE = Part("mine:make", Settings, files=("book",))
def make(preset, models):
    {make}
"""


def _preset(folder: Path, table: str, use: str = "mine") -> Preset:
    path = folder / "mine.toml"
    path.write_text(
        f'base = "tinyworld"\n[extractors]\nuse = ["clip", "{use}"]\n{table}\n[matching]\nextractors = ["clip"]'
    )
    return load_preset(path)


def _key(preset: Preset) -> str:
    return Recipes(preset).prototypes(Category("ball")).key


def test_a_key_knows_what_a_file_holds_and_every_field_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_here(_project(tmp_path / "p", _MINE.format(make="...")), tmp_path / "site", monkeypatch)

    def key(file: str, content: str, name: str = "small") -> str:
        (tmp_path / file).write_text(content)
        return _key(_preset(tmp_path, f'[extractors.mine]\nbook = "{tmp_path / file}"\nname = "{name}"'))

    assert key("a", "one") == key("b", "one") != key("b", "two!")
    assert key("a", "one") != key("a", "one", name="large")
    with pytest.raises(PresetError, match=r"extractors.mine is in use, so extractors.mine.book must name a file"):
        _preset(tmp_path, "")


def test_a_key_knows_whose_part_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("one")
    keys = []
    for owner in ("alice", "bob"):
        with monkeypatch.context() as patch:
            project = _project(tmp_path / owner / "p", _MINE.format(make="..."), owner)
            install_here(project, tmp_path / owner / "site", patch)
            preset = _preset(tmp_path, f'[extractors.mine]\nbook = "{tmp_path / "file"}"')
            assert Recipes(preset).prototypes(Category("ball")).parts == {"extractors.mine": f"{owner} 1"}
            keys.append(_key(preset))
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("this is no Python", "cannot be imported: SyntaxError"),
        ("raise RuntimeError('no licence')", "cannot be imported: RuntimeError: no licence"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        (
            "from ovdiff.presets import Part\nMINE = Part('a:b', version=0)",
            "cannot be imported: PresetError: .*version is 0",
        ),
    ],
)
def test_a_package_that_fails_when_it_is_imported_is_named(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_here(_project(tmp_path / "p", code), tmp_path / "site", monkeypatch)
    with pytest.raises(PresetError, match=rf"The extractor 'mine' \(mine:MINE\) {message}"):
        _preset(tmp_path, "")
    assert load_preset("tinyworld").name == "tinyworld"  # whoever does not name it is not troubled
    (tmp_path / "other.toml").write_text('base = "tinyworld"\n[models.clipp]\nsource = "a/b"')
    with pytest.raises(PresetError, match=r"unknown field 'models.clipp'. Did you mean 'models.clip'"):
        load_preset(tmp_path / "other.toml")


def test_a_part_with_the_name_of_a_field_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_here(_project(tmp_path / "p", _MINE.format(make="...")), tmp_path / "site", monkeypatch)
    with pytest.raises(PresetError, match=r"The extractor 'use' .* has the name of a field; rename it"):
        _preset(tmp_path, "", use="use")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ("return None", "The extractor 'mine' is NoneType; expected an object with extract"),
        ("raise KeyError('lost')", "extractors.use 'mine': 'mine:make' failed: KeyError: 'lost'"),
        (
            "import not_there",
            "extractors.use 'mine': 'mine:make' failed: ModuleNotFoundError: No module named 'not_there'",
        ),
        (
            "from types import SimpleNamespace as N; return N(extract=lambda i, p: __import__('torch').zeros(3))",
            "float32 of shape",
        ),
    ],
)
def test_a_maker_or_an_extractor_that_fails_is_named(
    make: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_here(_project(tmp_path / "p", _MINE.format(make=make)), tmp_path / "site", monkeypatch)
    (tmp_path / "file").write_text("one")
    preset = _preset(tmp_path, f'[extractors.mine]\nbook = "{tmp_path / "file"}"')
    with pytest.raises(PresetError, match=message):
        Extractors(preset, LoadedModels()).extract("mine", np.zeros((2, 8, 8, 3), np.uint8), "support")


def test_a_built_in_part_is_one_file_and_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    part = Part("math:floor", _Settings, {"sam": CheckpointSettings})
    monkeypatch.setitem(EXTRACTORS.built_in, "sam", part)  # type: ignore[arg-type]
    checkpoint = '[models.sam]\nsource = "https://example.org/sam.pth"\ndtype = "float16"'
    preset = _preset(tmp_path, f'[extractors.sam]\nname = "big"\n{checkpoint}', use="sam")
    assert feature_dtype(preset, "sam") == "float16"
    assert Recipes(preset).prototypes(Category("ball")).parameters["extractors"]["sam"]["name"] == "big"
    assert dict(preset.extractors.added)["sam"].name == "big"


def test_the_fingerprint_leaves_out_models_and_later_fields_that_change_nothing() -> None:
    tiny = load_preset("tinyworld")
    with_mae = replace(tiny, models=replace(tiny.models, mae=ModelSettings("a/mae")))
    assert with_mae.fingerprint() == tiny.fingerprint()
    licensed = replace(tiny.models.clip, licence="mine")
    assert replace(tiny, name="other", models=replace(tiny.models, clip=licensed)).fingerprint() == tiny.fingerprint()
