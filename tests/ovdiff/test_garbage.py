import gc

import pytest

from ovdiff.garbage import without_searches_for_garbage


def test_there_are_searches_again_afterwards_also_after_an_error() -> None:
    with pytest.raises(ImportError), without_searches_for_garbage():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()


def test_whoever_had_switched_them_off_keeps_them_off() -> None:
    gc.disable()
    try:
        with without_searches_for_garbage():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
