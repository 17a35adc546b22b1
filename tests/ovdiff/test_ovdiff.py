import pytest

import ovdiff


@pytest.mark.slow  # one of them is the engine, which brings the libraries of models
def test_every_public_name_can_be_imported() -> None:
    for name in ovdiff.__all__:
        assert getattr(ovdiff, name).__name__ == name


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Motor'"):
        _ = ovdiff.Motor
