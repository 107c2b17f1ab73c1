"""No known secret survives in any text or value; what stands where secrets stand goes too; nothing else is touched."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.redaction import MASK, Redactor

# What vendors make keys of: letters, digits and the marks of base64 and of URLs.
SECRETS = st.text(
    alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-.~", min_size=8, max_size=48
)
AROUND = st.text(max_size=30)

PLACES = [
    "https://api.polygon.io/v3/trades/SPY?apiKey={}&limit=5",
    "GET /v2/aggs?limit=5&apikey={} HTTP/1.1",
    "{{'Authorization': 'Bearer {}'}}",
    "Authorization: Bearer {}",
    "authorization: Basic {}",
    "[(b'authorization', b'Bearer {}')]",
    "('Authorization', 'Bearer {}')",
    '{{"action":"auth","params":"{}"}}',
    '> TEXT \'{{"action": "auth", "params": "{}"}}\' [64 bytes]',
    '"{{\\"action\\":\\"auth\\",\\"params\\":\\"{}\\"}}"',
    '{{"params":"{}","action":"auth"}}',
    "POLYGON_API_KEY={}",
    "{{'api_key': '{}'}}",
    "X-Api-Key: {}",
    "aws_secret_access_key={}",
    "password: {}",
    "https://someone:{}@minio.example/bucket",
]


@pytest.mark.parametrize("place", PLACES)
def test_an_unknown_secret_is_recognised_by_where_it_stands(place: str) -> None:
    secret = "Zk3vQ81mLw0pX7"

    assert secret not in Redactor().text(place.format(secret))


@pytest.mark.parametrize(
    "token",
    # In two pieces, because scanners for leaked tokens would take them for real ones.
    [
        "xoxb-" + "123456789012-abcdefghij",
        "xapp-" + "1-A012345-678-abcdef",
        "https://hooks.slack.com/services/" + "T0AB/B0CD/xYz123",
    ],
)
def test_slack_tokens_are_recognised_by_their_form(token: str) -> None:
    clean = Redactor().text(f"posting with {token}")

    assert token not in clean
    assert "xYz123" not in clean


@pytest.mark.parametrize(
    "text",
    [
        "option_bars SPY 2025-08-29: 50000 rows, 3 pages",
        'https://api.polygon.io:443 "GET /v2/aggs/ticker/I:VIX/range/1/day/2025-08-29/2025-08-29?limit=9 HTTP/1.1" 200',
        "the key is missing: set POLYGON_API_KEY",
        "sort key: ticker, span, start",
        '{"action":"subscribe","params":"T.SPY,Q.SPY"}',
        "next token comes from the cursor",
        "",
    ],
)
def test_text_without_a_secret_is_left_alone(text: str) -> None:
    assert text == Redactor(["Zk3vQ81mLw0pX7"]).text(text)


@given(SECRETS, AROUND, AROUND)
def test_a_known_secret_never_survives(secret: str, before: str, after: str) -> None:
    clean = Redactor([secret]).text(before + secret + after)

    assert secret not in clean


@given(SECRETS)
def test_a_known_secret_never_survives_in_another_spelling(secret: str) -> None:
    spellings = [
        quote(secret, safe=""),
        quote(quote(secret, safe=""), safe=""),
        json.dumps({"k": secret}),
        repr([secret]),
    ]
    redactor = Redactor([secret])

    for spelling in spellings:
        clean = redactor.text(f"x={spelling}")
        assert quote(secret, safe="") not in clean
        assert secret not in clean


@given(SECRETS, st.binary(max_size=9), st.binary(max_size=9))
def test_a_known_secret_never_survives_within_base64(secret: str, before: bytes, after: bytes) -> None:
    clean = Redactor([secret]).text(base64.b64encode(before + secret.encode() + after).decode())

    # Whoever decodes what is left finds at most the letters that share bits with their neighbours.
    for kept in clean.replace(MASK, " ").split():
        for cut in range(4):
            piece = kept[cut : cut + (len(kept) - cut) // 4 * 4]
            assert secret.encode()[2:-2] not in base64.b64decode(piece, validate=False)


@given(st.lists(SECRETS, max_size=3), st.sampled_from(PLACES), st.text(max_size=60))
def test_doing_it_twice_changes_nothing_more(secrets: list[str], place: str, filling: str) -> None:
    redactor = Redactor(secrets)
    once = redactor.text(place.replace("{}", filling + "".join(secrets)))

    assert once == redactor.text(once)


LEAVES = st.one_of(st.text(max_size=8), st.integers(), st.none(), st.floats(allow_nan=False), st.binary(max_size=8))


def _shapes(leaf: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.tuples(inner, inner),
            st.dictionaries(st.text(max_size=5), inner, max_size=3),
        ),
        max_leaves=8,
    )


@given(SECRETS.flatmap(lambda secret: st.tuples(st.just(secret), _shapes(st.one_of(LEAVES, st.just(secret))))))
def test_a_known_secret_never_survives_in_a_value_of_any_shape(planted: tuple[str, object]) -> None:
    secret, value = planted
    clean = Redactor([secret]).value(value)

    assert secret not in repr(clean)


@given(_shapes(LEAVES))
def test_a_value_without_a_secret_is_the_same_object(value: object) -> None:
    assert value is Redactor(["Zk3vQ81mLw0pX7"]).value(value)


def test_the_key_of_a_mapping_says_that_its_value_is_secret() -> None:
    assert {"apiKey": MASK, "limit": 5} == Redactor().value({"apiKey": "Zk3vQ81mLw0pX7", "limit": 5})


def test_an_object_that_shows_a_secret_becomes_its_text() -> None:
    class Client:
        def __repr__(self) -> str:
            return "<Client key Zk3vQ81mLw0pX7>"

    assert f"<Client key {MASK}>" == Redactor(["Zk3vQ81mLw0pX7"]).value(Client())


def test_an_object_that_cannot_be_rendered_is_left_alone() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    broken = Broken()

    assert broken is Redactor(["Zk3vQ81mLw0pX7"]).value(broken)


def test_a_word_is_too_short_to_be_a_secret() -> None:
    assert "the rows of SPY" == Redactor(["SPY", "", "  "]).text("the rows of SPY")


def test_of_two_secrets_the_longer_one_goes_first() -> None:
    redactor = Redactor(["abcdefgh", "abcdefghijkl"])

    assert f"{MASK} {MASK}" == redactor.text("abcdefghijkl abcdefgh")
