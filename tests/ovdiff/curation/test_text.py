import pytest

from ovdiff.curation.curation import Ban, Curation, Exemplar, Rejection
from ovdiff.curation.text import curation_to_toml, toml_to_curation
from ovdiff.errors import BankError

FULL = Curation(
    'a "boat"',
    ("boat", "the\\ship"),
    "tinyworld",
    False,
    (Rejection(0, "blurred\nand dark", "2026-01-02"), Rejection(11)),
    (Exemplar("a" * 64, "ünï.jpg", "task 12 of export.json", "2026-01-03"),),
    (Ban("b" * 64, "clip", "part", 0.25, "that is the mast", "mast", "2026-01-04"),),
)


@pytest.mark.parametrize("curation", [FULL, Curation(), Curation(rejected=(Rejection(3, "", ""),))])
def test_what_is_written_is_read(curation: Curation) -> None:
    assert toml_to_curation(curation_to_toml(curation), "x.toml") == curation


def test_an_entry_is_a_few_lines_that_a_difference_shows() -> None:
    before, after = curation_to_toml(FULL), curation_to_toml(FULL.rejecting([5], "dark", "2026-01-05"))
    added = set(after.splitlines()) - set(before.splitlines())
    assert added == {"number = 5", 'why = "dark"', 'when = "2026-01-05"'}
    assert not set(before.splitlines()) - set(after.splitlines())


def test_a_name_that_is_no_text_is_written_all_the_same() -> None:
    text = curation_to_toml(Curation(exemplars=(Exemplar("a" * 64, "\udc80.jpg"),)))
    assert toml_to_curation(text, "x.toml").exemplars[0].name == "?.jpg"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("format = ", r"The curation x\.toml is no TOML"),
        ("[[rejceted]]\nnumber = 3", r"unknown field 'rejceted'\. Did you mean 'rejected'"),
        ("[[rejected]]\nnumbr = 3", r"unknown field 'rejected\[0\]\.numbr'\. Did you mean"),
        ("[[rejected]]\nnumber = true", r"rejected\[0\]\.number is True; expected an integer"),
        ("[[rejected]]\nwhy = 'dark'", "a number of rejected is missing or -1; expected"),
        ("[[rejected]]\nnumber = -4", "a number of rejected is missing or -4; expected"),
        ("[[rejected]]\nnumber = 3\n[[rejected]]\nnumber = 3", "rejected names image 3 twice"),
        ("[[exemplars]]\npictures = '../../etc'", r"pictures is '\.\./\.\./etc'; expected 64 hexadecimal digits"),
        ("[[bans]]\nplaces = ''", "places is ''; expected 64 hexadecimal digits"),
        ("rejected = 3", "rejected is 3; expected a list"),
        ("format = 2", "format is 2, and this version reads 1; a newer version of ovdiff"),
    ],
)
def test_a_broken_file_is_said_with_what_to_do(text: str, said: str) -> None:
    with pytest.raises(BankError, match=rf"{said}.*Correct the file; or delete it"):
        toml_to_curation(text, "x.toml")
