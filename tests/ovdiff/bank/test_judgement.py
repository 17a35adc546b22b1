from dataclasses import replace

from ovdiff.bank.judgement import Judgement, word_state

HALF = Judgement(8, 4, -0.1, "mug", 3, 0.5, "ab")


def test_a_word_is_doubtful_below_the_bar_and_not_at_it() -> None:
    assert HALF.share == 0.5 and not HALF.is_doubtful
    assert replace(HALF, agreeing=3).is_doubtful
    assert not replace(HALF, agreeing=0, doubtful_below=0.0).is_doubtful


def test_a_word_that_nobody_judged_is_not_doubtful() -> None:
    assert [word_state(each) for each in (None, HALF, replace(HALF, agreeing=0))] == ["not judged", "known", "doubtful"]


def test_a_judgement_is_a_phrase_that_names_what_was_seen_instead() -> None:
    assert str(HALF) == "CLIP agrees with 4 of 8 support images, and sees 'mug' in 3"
    assert str(replace(HALF, agreeing=8, rival="", rival_images=0)) == "CLIP agrees with 8 of 8 support images"
