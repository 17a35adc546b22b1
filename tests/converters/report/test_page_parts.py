from converters.report.page_parts import Markup, folded, legend, linked, section, table, wide


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
