from backend.command.table import table


def test_columns_are_aligned() -> None:
    assert (
        table([("name", "n"), ("a", "10"), ("long name", "7")], right=(1,))
        == "name        n\na          10\nlong name   7"
    )
