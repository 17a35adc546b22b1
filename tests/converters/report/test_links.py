import pytest

from converters.errors import EvaluationError
from converters.report.links import LabelStudioPages


def test_a_task_has_the_address_of_its_page() -> None:
    pages = LabelStudioPages("https://labels.example.org/ls/")
    assert pages.task(5, 3) == "https://labels.example.org/ls/projects/3/data?task=5"
    assert LabelStudioPages("http://a", 8).task(5, 3) == "http://a/projects/8/data?task=5"


def test_without_a_number_there_is_no_link() -> None:
    assert LabelStudioPages("http://a").task(5) is None
    assert LabelStudioPages("http://a", 1).task("5?x=y") is None
    assert LabelStudioPages("http://a", 1).task(None) is None


@pytest.mark.parametrize("url", ["", "localhost:8080", "javascript:alert(1)", "http://", "ftp://a", "http://[::1"])
def test_anything_but_an_address_is_refused(url: str) -> None:
    with pytest.raises(EvaluationError, match=r"expected the address of Label Studio, such as http://localhost:8080"):
        LabelStudioPages(url)
