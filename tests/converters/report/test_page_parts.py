from converters.report.page_parts import Markup, folded, legend, linked, page, section, table, tiles, wide


def test_cells_are_escaped_unless_they_are_markup() -> None:
    made = table(("A",), [("<b>",), (Markup("<i>x</i>"),), (3,)])
    assert "<td>&lt;b&gt;</td>" in made and "<td><i>x</i></td>" in made and "<td>3</td>" in made


def test_a_link_escapes_its_text_and_its_address() -> None:
    assert linked("<t>", 'http://a/"x') == (
        '<a href="http://a/&quot;x" target="_blank" rel="noopener noreferrer">&lt;t&gt;</a>'
    )
    assert linked("<t>", None) == "&lt;t&gt;"


def test_the_frames_hold_what_they_are_given() -> None:
    assert section("T", "w", "x", "y") == "<section><h2>T</h2>\n<p>w</p>\nxy</section>\n"
    assert folded("T", "x") == f"<details><summary>T</summary>{wide('x')}</details>"
    assert legend([("c-iou", "a"), ("before", "b")]).count("<li>") == 2


def test_a_page_escapes_its_title_and_may_fetch_nothing() -> None:
    made = page("<t>", "<p>x</p>")
    assert "<title>&lt;t&gt;</title>" in made and "<main>\n<p>x</p></main>" in made
    assert "default-src 'none'" in made and "<script" not in made and "http" not in made.replace("http-equiv", "")


def test_the_largest_figures_stand_with_their_words() -> None:
    assert tiles([("1", "one"), ("2", "two")]).count('<div class="tile">') == 2
