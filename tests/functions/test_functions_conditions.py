"""Headers by themselves: entity tags, ranges and file names, as RFC 9110, RFC 6266 and RFC 8187 write them."""

import re
from urllib.parse import unquote

import pytest

from functions._conditions import Span, attachment, decode_name, parse_range, parse_tags
from shared.domain.errors import Malformed, UnsatisfiableRange


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        (None, None),
        ("*", {"*"}),
        (" * ", {"*"}),
        ('"a"', {"a"}),
        ('W/"a"', {"a"}),
        ('"a", W/"b" ,"c"', {"a", "b", "c"}),
        ('""', {""}),
        ('"a,b", "c"', {"a,b", "c"}),
        ('"*"', set()),
    ],
)
def test_tags(header: str | None, tags: set[str] | None) -> None:
    assert parse_tags(header) == tags


def test_weak_tags_never_satisfy_a_strong_condition() -> None:
    assert parse_tags('W/"a", "b"', strong=True) == {"b"}
    assert parse_tags('W/"a"', strong=True) == set(), "a condition that can't hold is not the same as none"


@pytest.mark.parametrize(
    "header", ["", "a", '"a', 'a"', '"a" "b"', '"a",', ',"a"', 'w/"a"', '"a\x00"', '"a b"', "*, *", "'a'"]
)
def test_what_is_no_list_of_tags(header: str) -> None:
    with pytest.raises(Malformed):
        parse_tags(header)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 10)),
        ("bytes=9-", (9, 10)),
        ("bytes=2-5", (2, 6)),
        ("bytes=2-1000", (2, 10)),
        ("bytes=-1", (9, 10)),
        ("bytes=-10", (0, 10)),
        ("bytes=-1000", (0, 10)),
        ("Bytes=1-2", (1, 3)),
        (" bytes=1-2 ", (1, 3)),
        # What is not one readable range is answered with the whole.
        ("bytes=0-1,3-4", None),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=1 2-3", None),
        ("bytes=+1-2", None),
        ("bytes=0x1-2", None),
        ("bytes=--1", None),
        ("bytes=٠-٣", None),
        ("bytes=a-b", None),
        ("lines=1-2", None),
        ("bytes 0-1", None),
        ("0-1", None),
        ("bytes=0-" + "9" * 5000, None),
    ],
)
def test_ranges_of_ten_bytes(header: str | None, span: tuple[int, int] | None) -> None:
    assert parse_range(header, size=10) == (Span(*span) if span else None)


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-0", 0)],
)
def test_ranges_behind_the_end(header: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRange) as refused:
        parse_range(header, size=size)
    assert refused.value.size == size


def test_the_end_of_an_empty_file_is_the_whole_of_it() -> None:
    assert parse_range("bytes=-5", size=0) is None


@pytest.mark.parametrize(
    "name",
    [
        "plain.txt",
        'quo"te.txt',
        "back\\slash",
        "percent%41",
        "new\r\nSet-Cookie: a=b",
        "\u202egpj.exe",
        "naïve – 文件.pdf",
        "semi;colon=1",
        "x" * 255,
        "ß" * 127,
        "\U0001f600" * 63,
        "''",
    ],
)
def test_the_disposition_holds_any_name_and_nothing_else(name: str) -> None:
    header = attachment(name)
    found = re.fullmatch(
        r"""attachment; filename="([ !#-\[\]-~]*)"; filename\*=UTF-8''([!#$&+.^_`|~0-9A-Za-z%-]*)""", header
    )
    assert found, header
    assert unquote(found[2]) == name
    assert len(found[1]) == len(name)
    assert "%" not in found[1], "some browsers decode it"


def test_file_names_in_headers() -> None:
    assert decode_name("a%20b%C3%A9.txt") == "a bé.txt"
    assert decode_name("100%") == "100%"
    with pytest.raises(Malformed):
        decode_name("%ff")
