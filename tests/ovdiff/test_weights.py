from pathlib import Path

import pytest

from ovdiff.errors import WeightsError
from ovdiff.presets.model_settings import ModelSettings
from ovdiff.weights import locate, weights_identity


def _folder(path: Path, content: bytes = b"weights") -> ModelSettings:
    path.mkdir()
    (path / "model.safetensors").write_bytes(content)
    (path / "config.json").write_text("{}")
    return ModelSettings(source=str(path))


def test_identity_follows_contents_and_not_the_place(tmp_path: Path) -> None:
    first, copy, other = (_folder(tmp_path / n, c) for n, c in (("a", b"1"), ("b", b"1"), ("c", b"2")))
    assert weights_identity(first) == weights_identity(copy) != weights_identity(other)


def test_identity_sees_a_retrained_model_of_the_same_size(tmp_path: Path) -> None:
    settings = _folder(tmp_path / "a", b"x" * 3_000_000)
    before = weights_identity(settings)
    (tmp_path / "a" / "model.safetensors").write_bytes(b"x" * 2_999_999 + b"y")
    assert weights_identity(settings) != before


def test_hub_id_is_identified_by_its_revision() -> None:
    settings = ModelSettings(source="owner/model", revision="abc")
    assert locate(settings) is None
    assert weights_identity(settings) == "owner/model@abc"


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        locate(ModelSettings(source=str(tmp_path / "absent")))
    with pytest.raises(WeightsError, match="'tinyworld:parrot' is not in this installation"):
        locate(ModelSettings(source="tinyworld:parrot"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"holds no \.json"):
        weights_identity(ModelSettings(source=str(tmp_path / "empty")))
