import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.sources.web_url import WebUrl

ANY_TEXT = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF), max_size=30)  # lone surrogates too


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://ls", WebUrl("http", "ls", 80, "/")),
        ("https://LS.example:443/A?x=1#part", WebUrl("https", "ls.example", 443, "/A?x=1")),
        (" http://ls:8080/a b/ü\n", WebUrl("http", "ls", 8080, "/a%20b/%C3%BC")),
        ("http://ls./a/../b", WebUrl("http", "ls", 80, "/b")),
        ("http://[::1]:9000/a", WebUrl("http", "::1", 9000, "/a")),
        ("http://bücher.example/a", WebUrl("http", "xn--bcher-kva.example", 80, "/a")),
        ("http://a\\@b/c", WebUrl("http", "a", 80, "/%5C@b/c")),
        ("http://ls/\ud800", WebUrl("http", "ls", 80, "/%ED%A0%80")),
        ("http://ls/a\r\nHost: b", WebUrl("http", "ls", 80, "/a%0D%0AHost:%20b")),
    ],
)
def test_a_url_is_taken_apart(text: str, url: WebUrl) -> None:
    assert WebUrl.parse(text) == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://[::1", "it is no valid URL"),
        ("http://ls:99999/a.png", "it is no valid URL"),
        ("http://ls:８０/", "it is no valid URL"),
        ("http://a b/a.png", "it is no valid URL"),
        ("http://\ud800/a.png", "it is no valid URL"),
        ("http://a\x00b/", "it is no valid URL"),
        ("https://", "it names no host"),
        ("http:ls/a.png", "it names no host"),
        ("http://ls:0/", "port 0 cannot be connected to"),
        ("ftp://ls/a", "it does not begin with http:// or https://"),
        ("http://ann:secret@ls/a", "it holds a user or a password"),
        (f"http://{'a' * 300}/", "its host has 300 characters; a name has 253 at most, and 1 to 63 between two dots"),
        (f"http://{'a' * 64}.example/", "its host has 72 characters"),
        (f"http://{'a.' * 150}com/", "its host has 303 characters"),
        ("http://a..b/", "its host has 4 characters; a name has 253 at most, and 1 to 63 between two dots"),
        ("http://ls/" + "a" * 20_000, "it has 20010 characters, more than 16384"),
    ],
)
def test_what_is_no_url_is_explained(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^(it|its|port) ") as caught:
        WebUrl.parse(text)
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


@given(st.sampled_from(("", "http://", "https://", "http://ls/", "http://[", "http://ls:")), ANY_TEXT)
def test_any_text_is_a_url_of_ascii_or_a_value_error(start: str, text: str) -> None:
    try:
        url = WebUrl.parse(start + text)
    except ValueError:
        return
    assert str(url).isascii()
    assert str(url).isprintable()
    assert WebUrl.parse(str(url)) == url


@given(st.sampled_from(("", "http://", "//", "/", "http://[", "?")), ANY_TEXT)
def test_any_location_leads_to_a_url_or_is_a_value_error(start: str, text: str) -> None:
    try:
        assert str(WebUrl.parse("http://ls/a").join(start + text)).isascii()
    except ValueError as error:
        assert str(error).startswith(("it ", "its ", "port "))


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b?c=1", "http://ls:8080/b?c=1"),
        ("b.png", "http://ls:8080/a/b.png"),
        ("//other/b", "http://other/b"),
        ("https://other/b", "https://other/b"),
    ],
)
def test_a_redirect_is_followed_from_where_it_is(location: str, url: str) -> None:
    assert str(WebUrl.parse("http://ls:8080/a/x.png").join(location)) == url


@pytest.mark.parametrize("location", ["", "http://[::1", "http://[::1]:x/", "ftp://ls/", "a" * 20_000])
def test_a_redirect_to_nowhere_is_a_value_error(location: str) -> None:
    with pytest.raises(ValueError, match="it "):
        WebUrl.parse("http://ls/").join(location)


def test_a_shown_url_has_no_signature() -> None:
    assert WebUrl.parse("https://images.example.org:8443/a.png?signature=secret#secret").shown == (
        "https://images.example.org:8443/a.png"
    )
    assert len(WebUrl.parse("http://ls/" + "a" * 1000).shown) == 200


@pytest.mark.parametrize(
    ("text", "authority", "host_and_port"),
    [
        ("http://ls/", "ls", "ls:80"),
        ("https://ls/", "ls", "ls:443"),
        ("https://ls:80/", "ls:80", "ls:80"),
        ("http://[::1]/", "[::1]", "[::1]:80"),
        ("http://[::1]:9000/", "[::1]:9000", "[::1]:9000"),
    ],
)
def test_host_and_port_are_written_as_urls_write_them(text: str, authority: str, host_and_port: str) -> None:
    url = WebUrl.parse(text)
    assert (url.authority, url.host_and_port) == (authority, host_and_port)
    assert str(url) == text


def test_the_query_is_read() -> None:
    assert WebUrl.parse("http://ls/?a=1&b=x%2Fy&a=2&empty=").query == {"a": "1", "b": "x/y"}
