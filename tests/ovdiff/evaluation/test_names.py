"""The words by which a dataset's categories are asked for."""

from converters.files.class_lists import ListedClass
from ovdiff.evaluation.names import ovdiff_categories


def test_names_that_the_paper_renamed_keep_their_name_and_have_a_prompt() -> None:
    renamed, kept = ovdiff_categories([ListedClass(1, "aeroplane", "thing"), ListedClass(2, "cat", "thing")])
    assert (renamed.name, renamed.phrases) == ("aeroplane", ("airplane",))
    assert (kept.name, kept.prompts, kept.kind) == ("cat", (), None)
