"""Names: what is refused and why, what clashes, and what holds for every name that is accepted."""

import sys
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.adapters.sql.schema import nodes
from shared.domain.errors import Malformed, NameRefused, StrataError
from shared.domain.names import MAX_DEPTH, MAX_NAME_BYTES, name_key, parse_name, parse_path

REFUSED = {
    "empty": [""],
    "folder itself": [".", ".."],
    "slash": ["/", "\\", "a/b", "a\\b", "/a", "a\\"],
    "control": ["a\0b", "a\rb", "a\nb", "\t", "\x1f", "\x7f", "\x80", "\x9f", "a\u2028b", "a\u2029b"],
    "reading direction": [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))],
    "noncharacters": ["\ufdd0", "\ufdef", "\ufffe", "a\uffff", "\U0001fffe", "\U0010ffff"],
    "any of <": [f"a{character}b" for character in '<>:"|?*'] + ["file.txt:stream"],
    "dot or a space": ["a.", "a ", "a. ", " .", "...", "ab  "],
    "device": [
        *("CON", "con", "Prn.txt", "aux.tar.gz", "nul.txt", "NUL."[:3], "COM1", "com9.log", "LPT9", "lpt0"),
        *("COM¹", "com².x", "LPT³", "CONIN$", "conout$.txt"),
    ],
    "255 bytes": ["a" * 256, "ä" * 128, "😀" * 64],
}

ACCEPTED = [
    *("a", "a.b", ".hidden", "..a", "a..b", " a", "report (1).pdf", "100%", "~", "#$&'()+,;=@[]^_`{}!-"),
    *("CONsole", "nuclear.txt", "COM", "COM10", "LPTX", "con-1", "auxiliary"),
    *("日本語", "Ünïcödé", "Ελληνικά", "עברית", "العربية", "हिन्दी", "😀", "👨‍👩‍👧", "e\u0301", "a\u200db"),
    *("a" * 255, "ä" * 127, "😀" * 63, "\u0378", "\U000e0fff", "\ufeff", "a\u200eb"),
]


@pytest.mark.parametrize(("reason", "raw"), [(why, raw) for why, some in REFUSED.items() for raw in some])
def test_refused_with_the_reason(reason: str, raw: str) -> None:
    with pytest.raises(NameRefused, match=reason):
        parse_name(raw)


@pytest.mark.parametrize("raw", ["\ud800", "a\udfffb", "\udc80.txt"])
def test_lone_surrogates_are_not_text(raw: str) -> None:
    with pytest.raises(Malformed):
        parse_name(raw)


@pytest.mark.parametrize("raw", ACCEPTED)
def test_accepted_and_stored_composed(raw: str) -> None:
    assert parse_name(raw).text == unicodedata.normalize("NFC", raw)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("é", "e\u0301"),
        ("Report.TXT", "report.txt"),
        ("STRASSE", "straße"),
        ("ẞ", "ss"),
        ("\u212a", "k"),
        ("Å", "\u212b"),
        ("ﬁ", "FI"),
        ("ΣΑΣ", "σας"),
        ("\u1e9b\u0323", "\u1e61\u0323"),
    ],
)
def test_twins_clash(one: str, other: str) -> None:
    assert parse_name(one).key == parse_name(other).key


@pytest.mark.parametrize(
    ("one", "other"), [("ı", "i"), ("a", "ä"), ("a", "а"), ("1", "¹"), ("a b", "ab"), ("K", "q")]
)
def test_names_that_file_systems_tell_apart_do_not_clash(one: str, other: str) -> None:
    assert parse_name(one).key != parse_name(other).key


any_text = st.text(max_size=80)


@given(any_text)
def test_every_accepted_name_is_canonical(raw: str) -> None:
    try:
        name = parse_name(raw)
    except StrataError:
        assume(False)
        raise
    assert parse_name(name.text) == name
    assert unicodedata.is_normalized("NFC", name.text)
    assert len(name.text.encode()) <= MAX_NAME_BYTES
    assert name_key(name.key) == name_key(name_key(name.key))
    assert "/" not in name.text


@given(any_text)
def test_forms_of_one_name_have_one_key(raw: str) -> None:
    forms = {unicodedata.normalize(form, raw) for form in ("NFC", "NFD")} | {raw}
    assert len({name_key(form) for form in forms}) == 1


def test_a_key_always_fits_its_column() -> None:
    room = nodes.c.name_key.type.length  # type: ignore[attr-defined] # a column's type has its length
    # The key of a text is no longer than those of its characters together, so the worst single character decides.
    worst = 0.0
    for code in range(sys.maxunicode + 1):
        if 0xD800 <= code < 0xE000:
            continue
        text = unicodedata.normalize("NFC", chr(code))
        worst = max(worst, len(name_key(text).encode("utf-16-le")) / 2 / len(text.encode()))
    assert worst * MAX_NAME_BYTES <= room


def test_paths_are_names_between_slashes() -> None:
    assert [name.text for name in parse_path("/a/b c/d.txt")] == ["a", "b c", "d.txt"]
    assert parse_path("a/b") == parse_path("/a/b")
    assert parse_path("/") == parse_path("") == ()


@pytest.mark.parametrize("raw", ["//", "//a", "a//b", "a/", "/a/b/", "/a/../b", "/./a", "a/ /b", "a\\b/c"])
def test_a_path_has_no_empty_and_no_special_names(raw: str) -> None:
    with pytest.raises(NameRefused):
        parse_path(raw)


def test_a_path_is_deep_but_not_bottomless() -> None:
    assert len(parse_path("/a" * MAX_DEPTH)) == MAX_DEPTH
    with pytest.raises(NameRefused, match=str(MAX_DEPTH)):
        parse_path("/a" * (MAX_DEPTH + 1))


def test_a_refusal_does_not_repeat_a_huge_name() -> None:
    with pytest.raises(NameRefused) as refused:
        parse_name("x" * 100_000)
    assert len(str(refused.value)) < 300
