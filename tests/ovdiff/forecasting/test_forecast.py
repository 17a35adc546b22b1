import numpy as np

from ovdiff.forecasting.forecast import CategoryForecast, Finding, Forecast


def test_rows_are_the_categories_with_images() -> None:
    categories = CategoryForecast("boat", "thing", 8, 0.9, 0.8), CategoryForecast("crab", "thing")
    assert Forecast(categories, (), np.zeros((1, 2)), ()).tried() == ("boat",)


def test_a_finding_reads_as_two_sentences() -> None:
    finding = Finding("confused", ("a", "b"), "'a' and 'b' will be confused", "Merge them")
    assert str(finding) == "'a' and 'b' will be confused. Merge them."
