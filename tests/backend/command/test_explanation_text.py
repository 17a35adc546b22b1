"""An explanation in words and tables."""

from backend.command.explanation_text import explanation_text
from tests.fakes.explanations import explanation


def test_every_table_is_there_with_its_figures() -> None:
    text = explanation_text(explanation())
    lines = text.splitlines()
    assert "clip       1      50%     0.800  0.600  +0.100" in lines
    assert any(line.startswith("sd    10,0 10x10") and "image 3 of boat (75%)" in line for line in lines)
    short = "its cosine with the image is 0.200, and the average caption has 0.250 (0.050 short)"
    assert f"  car: {short}; it would have won here, with a score of 0.900." in lines
    assert "part 12 of boat  clip       support image 3 (50%), 0 (50%)" in lines
    assert "In this part of the image, boat by its pixels, CLIP saw fox 80%, boat 10%." in lines
    assert any("They were removed." in line for line in lines)
