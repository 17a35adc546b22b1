from ovdiff.bank.judgement import Judgement
from ovdiff.forecasting.findings import CONFUSED, doubtful_word, not_built, other_sense, pair_findings, too_few_images
from ovdiff.forecasting.forecast import PairForecast


def test_words_of_one_meaning_are_found_by_their_texts_alone() -> None:
    (found,) = pair_findings([PairForecast("car", "auto", 0.97), PairForecast("car", "boat", 0.95)], 0.95)
    assert found.kind == "same words" and found.categories == ("car", "auto")
    assert str(found) == (
        "CLIP cannot tell the words of 'car' and 'auto' apart: their texts have a cosine of 0.97. Merge them, or "
        "reword one so that it names what tells them apart."
    )


def test_the_advice_for_confused_words_follows_clip() -> None:
    pairs = [
        PairForecast("a", "b", 0.5, 0.3, 0.5, 1.0),
        PairForecast("a", "c", 0.5, CONFUSED, 0.9, 0.9),
        PairForecast("b", "c", None, 0.4, None, 0.8),
        PairForecast("c", "d", 0.5, CONFUSED - 0.01, 0.5, 0.7),
    ]
    merge, prompts, blind = pair_findings(pairs, 0.95)
    assert merge.advice.startswith("Merge them: neither pixels nor CLIP") and "30% of the pixels" in merge.text
    assert prompts.advice.startswith("Give them prompts") and "CLIP prefers the right one for 90%" in prompts.text
    assert (
        blind.text == "'b' and 'c' will be confused: 40% of the pixels of held-out support images go to the other one"
    )


def test_findings_about_words_say_what_was_seen_and_what_to_do() -> None:
    judgement = Judgement(8, 1, -0.2, "mug", 5, 0.75, "key")
    assert "'crab' is doubtful: CLIP agrees with 1 of 8" in str(doubtful_word("crab", judgement))
    assert str(other_sense("boat", ("fish",), judgement)) == (
        "'boat' is drawn from 'fish', and by its name CLIP agrees with 1 of 8 support images, and sees 'mug' in 5. "
        "Give it prompts that mean what the label says, or rename the label."
    )
    assert str(too_few_images("crab", 1)).startswith("1 of the support images of 'crab' shows it")
    assert str(too_few_images("crab", 0)).startswith("none of the support images of 'crab' shows it")
    assert [found.categories for found in not_built(["a", "b"])] == [("a", "b")] and not list(not_built([]))
