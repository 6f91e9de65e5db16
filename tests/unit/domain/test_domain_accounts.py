"""User names and passwords: two names that look alike are one, and no password is changed on its way."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.adapters.sql.schema import users
from shared.domain.accounts import (
    MAX_PASSWORD,
    MAX_USERNAME,
    MIN_PASSWORD,
    Role,
    check_password,
    parse_username,
)
from shared.domain.errors import Malformed, StrataError, Unacceptable


@pytest.mark.parametrize(
    "raw", ["ann", "Ann", "a.b-c_d@e+f", "Jürgen", "张伟", "محمد", "0", "x" * 64, "हिन्दी"]
)
def test_names_of_people_are_accepted(raw: str) -> None:
    assert parse_username(raw).text == unicodedata.normalize("NFC", raw)


@pytest.mark.parametrize(
    "raw",
    [
        *(
            "",
            "x" * (MAX_USERNAME + 1),
            "a b",
            "a\0",
            "a\r\nb",
            "<script>",
            "a/b",
            "a:b",
            "a\u200bb",
            "\u202ea",
        ),
        *("\ud800", "😀", "a,b", "a\u00a0b", "'--", "\ufeffa", "\u00ad"),
    ],
)
def test_what_can_be_no_name_is_malformed(raw: str) -> None:
    with pytest.raises(Malformed):
        parse_username(raw)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann", "ann"),
        ("ｂｏｂ", "bob"),
        ("jürgen", "ju\u0308rgen"),
        ("straße", "STRASSE"),
        ("\u212aate", "kate"),
        ("ﬁona", "fiona"),
        ("ᴬnn", "ann"),
        ("user²", "user2"),
    ],
)
def test_look_alikes_share_a_key(one: str, other: str) -> None:
    assert parse_username(one).key == parse_username(other).key


names = st.text(
    st.characters(categories=["L", "M", "N"], include_characters="._-@+"), min_size=1, max_size=64
)


@given(names)
def test_folding_twice_never_reaches_another_account(raw: str) -> None:
    try:
        name = parse_username(raw)
    except StrataError:
        assume(False)
        raise
    assert parse_username(name.text) == name
    try:
        again = parse_username(name.key)
    except StrataError:
        return  # a key that is no user name can't be anybody else's
    assert again.key == name.key


@given(names)
def test_an_accepted_name_fits_its_columns(raw: str) -> None:
    try:
        name = parse_username(raw)
    except StrataError:
        assume(False)
        raise
    for text, column in ((name.text, users.c.username), (name.key, users.c.username_key)):
        assert len(text.encode("utf-16-le")) // 2 <= column.type.length  # type: ignore[attr-defined] # texts have one


@pytest.mark.parametrize(
    "password",
    [
        "x" * MIN_PASSWORD,
        "        ",
        " pass word ",
        "päßwörd1",
        "😀" * 8,
        "\0" * 8,
        "x" * MAX_PASSWORD,
        "\ud800" * 8,
    ],
)
def test_passwords_count_as_they_are_given(password: str) -> None:
    check_password(password)


@pytest.mark.parametrize("password", ["", "x" * (MIN_PASSWORD - 1), "x" * (MAX_PASSWORD + 1), "😀" * 257])
def test_passwords_that_are_too_short_or_too_long_are_refused_without_showing_them(password: str) -> None:
    with pytest.raises(Unacceptable) as refused:
        check_password(password)
    assert not password or password not in str(refused.value)


def test_only_viewers_may_not_write() -> None:
    assert [role for role in Role if not role.may_write] == [Role.VIEWER]
