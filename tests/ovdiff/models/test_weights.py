from pathlib import Path

import pytest

from ovdiff.errors import WeightsError
from ovdiff.models.weights import locate, weights_identity
from ovdiff.presets.model_settings import AdapterSettings, CheckpointSettings, ModelSettings


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


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pth", "unet/diffusion_pytorch_model.safetensors"])
def test_weights_in_any_of_the_libraries_files_count(name: str, tmp_path: Path) -> None:
    settings = _folder(tmp_path / "a")
    identities = [weights_identity(settings)]
    (tmp_path / "a" / name).parent.mkdir(exist_ok=True)
    for content in (b"1", b"2"):
        (tmp_path / "a" / name).write_bytes(content)
        identities.append(weights_identity(settings))
    (tmp_path / "a" / "README.md").write_text("not weights")
    assert len({*identities, weights_identity(settings)}) == 3


def test_a_checkpoint_is_identified_by_its_content(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.pth", "b.pth", "c.pth")]
    for file, content in zip(files, (b"1" * 3_000_000, b"1" * 3_000_000, b"1" * 2_999_999 + b"2"), strict=True):
        file.write_bytes(content)
    first, copy, other = (weights_identity(CheckpointSettings(source=str(file))) for file in files)
    assert first == copy != other
    assert first.startswith("sha256:")
    assert locate(CheckpointSettings(source=str(files[0]))) == files[0]


def test_a_checkpoint_with_a_hash_is_the_same_wherever_it_is() -> None:
    address = CheckpointSettings(source="https://example.org/x.pth", sha256="AB12")
    assert weights_identity(address) == weights_identity(CheckpointSettings(source="gone.pth", sha256="ab12"))
    assert locate(address) is None


def test_a_checkpoint_at_an_address_without_a_hash_is_the_address() -> None:
    assert weights_identity(CheckpointSettings(source="https://example.org/x.pth")) == "https://example.org/x.pth"


def test_hub_id_is_identified_by_its_revision() -> None:
    settings = ModelSettings(source="owner/model", revision="abc")
    assert locate(settings) is None
    assert weights_identity(settings) == "owner/model@abc"
    assert weights_identity(ModelSettings(source="owner/model")) == "owner/model@main"
    assert weights_identity(AdapterSettings(source="owner/lora", revision="abc")) == "owner/lora@abc"


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        locate(ModelSettings(source=str(tmp_path / "absent")))
    with pytest.raises(WeightsError, match="'tinyworld:parrot' is not in this installation"):
        locate(ModelSettings(source="tinyworld:parrot"))
    with pytest.raises(WeightsError, match=r"Checkpoint file 'absent\.pth' does not exist"):
        locate(CheckpointSettings(source="absent.pth"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"holds no files of a model: \.json, .*\.bin"):
        weights_identity(ModelSettings(source=str(tmp_path / "empty")))
