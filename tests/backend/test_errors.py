import inspect

import pytest

from backend import errors
from backend.errors import BackendError, BusyError, ImageSourceError, RequestError
from ovdiff.errors import OVDiffError


def _public() -> dict[str, type[BaseException]]:
    return {name: value for name, value in vars(errors).items() if inspect.isclass(value)}


def test_every_error_is_one_of_ours_and_drawn_below_its_base() -> None:
    tree = (errors.__doc__ or "").splitlines()
    place = {name: next(i for i, line in enumerate(tree) if f" {name}" in line) for name in _public()}
    for name, error in _public().items():
        assert issubclass(error, BackendError) and not issubclass(error, OVDiffError)
        if error is not BackendError:
            (base,) = error.__bases__
            assert place[base.__name__] < place[name]


def test_the_tree_draws_no_error_that_does_not_exist() -> None:
    drawn = {line.split("── ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "── " in line}
    assert drawn == set(_public()) - {"BackendError"}


@pytest.mark.parametrize("kind", [kind for name, kind in _public().items() if name.startswith("Image")])
def test_what_goes_wrong_with_an_image_is_caught_as_one(kind: type[Exception]) -> None:
    assert issubclass(kind, ImageSourceError)
    assert not issubclass(kind, RequestError | BusyError)  # these are answers to a request, not to a task
