import inspect
import pickle
from pathlib import Path

import pytest

from ovdiff import errors
from ovdiff.errors import BankCorruptError, MissingExtraError, MissingPrototypesError, OVDiffError, SupportError


def _public() -> dict[str, type]:
    return {name: value for name, value in vars(errors).items() if inspect.isclass(value) and name.endswith("Error")}


def test_all_names_exactly_the_errors() -> None:
    assert sorted(errors.__all__) == sorted(_public())


def test_every_error_is_one_of_ours_and_drawn_in_the_tree() -> None:
    for name, error in _public().items():
        assert issubclass(error, OVDiffError)
        assert name in (errors.__doc__ or "")


def test_corrupt_bank_names_the_file_and_the_way_out() -> None:
    error = BankCorruptError(Path("bank/ab.safetensors"), "its SHA-256 differs")
    assert error.path == Path("bank/ab.safetensors")
    assert "ab.safetensors" in str(error) and "SHA-256" in str(error) and "build" in str(error)


def test_missing_prototypes_lists_the_categories() -> None:
    error = MissingPrototypesError(["boat", "red fish"])
    assert error.names == ("boat", "red fish")
    assert "'boat', 'red fish'" in str(error) and "Engine.build" in str(error)


@pytest.mark.parametrize(
    "error",
    [
        BankCorruptError(Path("bank/ab.safetensors"), "its SHA-256 differs"),
        MissingPrototypesError(["boat", "red fish"]),
        MissingExtraError("Reading", "ray", "ray"),
        SupportError("no image shows a boat"),
    ],
)
def test_an_error_of_another_process_is_the_same(error: OVDiffError) -> None:
    came = pickle.loads(pickle.dumps(error))
    assert (type(came), str(came), vars(came)) == (type(error), str(error), vars(error))
