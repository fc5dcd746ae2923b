"""Row versions in etags: what F&O sends is read, whatever else may come is survived."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tap_d365fo.odata.etag import FINGERPRINT_BYTES, RowVersion, fingerprint, fingerprints, layout

SAMPLES = Path(os.environ.get("D365FO_SAMPLES", Path(__file__).parents[2].parent / "shared" / "samples"))

TWO_TABLES = 'W/"JzEsNTYzNzE0NDU3NjswLDAn"'
FIVE_TABLES = 'W/"JzE1MDg5OTE3MjYsNTYzNzE0NDU3NjsxLDU2MzcxNDQ1NzY7MCwwOzEsNTYzNzE0NDU3NjswLDAn"'


def etag_of(pairs) -> str:
    text = "'" + ";".join(f"{version},{record}" for version, record in pairs) + "'"
    return f'W/"{base64.b64encode(text.encode()).decode()}"'


int64 = st.integers(-(2**63), 2**63 - 1)
pairs_of_rows = st.lists(st.tuples(int64, int64), min_size=1, max_size=40).map(tuple)
hostile = st.one_of(
    st.text(st.characters()),
    st.binary(),
    st.binary().map(lambda raw: b'W/"' + base64.b64encode(raw) + b'"'),
    st.from_regex(r"'[0-9,;'-]*'", fullmatch=True).map(
        lambda text: f'W/"{base64.b64encode(text.encode()).decode()}"'
    ),
    st.text(st.characters(), max_size=12).map(lambda text: TWO_TABLES[:10] + text + TWO_TABLES[10:]),
)


@pytest.mark.parametrize(
    ("etag", "pairs"),
    [
        (TWO_TABLES, ((1, 5637144576), (0, 0))),
        (
            FIVE_TABLES,
            ((1508991726, 5637144576), (1, 5637144576), (0, 0), (1, 5637144576), (0, 0)),
        ),
        ('W/"JzEsNTYzNzE0NDU3Nic="', ((1, 5637144576),)),
    ],
    ids=["two tables", "five tables", "padded"],
)
def test_the_pairs_of_an_etag_are_read(etag, pairs):
    assert RowVersion.from_etag(etag) == RowVersion(pairs)
    assert layout(etag) == len(pairs)


@given(pairs_of_rows)
def test_every_row_version_is_read_back(pairs):
    version = RowVersion.from_etag(etag_of(pairs))

    assert version == RowVersion(pairs)
    assert layout(etag_of(pairs)) == len(pairs)


@given(pairs_of_rows, pairs_of_rows)
def test_fingerprints_are_equal_exactly_for_equal_versions(one, other):
    assert (fingerprint(etag_of(one)) == fingerprint(etag_of(other))) == (one == other)


@given(pairs_of_rows, st.data())
def test_one_moved_number_moves_the_fingerprint(pairs, data):
    place = data.draw(st.integers(0, len(pairs) - 1))
    moved = list(pairs)
    moved[place] = (pairs[place][0] ^ 1, pairs[place][1])

    assert fingerprint(etag_of(moved)) != fingerprint(etag_of(pairs))


def test_rows_of_two_joined_tables_that_change_places_are_another_version():
    assert fingerprint(etag_of([(1, 10), (5, 20), (9, 30)])) != fingerprint(
        etag_of([(1, 10), (9, 30), (5, 20)])
    )


@pytest.mark.parametrize(
    "spelled",
    [
        TWO_TABLES.encode(),
        TWO_TABLES.removeprefix("W/"),
        TWO_TABLES.replace('"', '\\"'),
        TWO_TABLES.removeprefix("W/").strip('"'),
    ],
    ids=["bytes", "strong", "as in JSON", "bare"],
)
def test_the_same_version_spelled_otherwise_has_the_same_fingerprint(spelled):
    assert fingerprint(spelled) == fingerprint(TWO_TABLES)
    assert layout(spelled) == 2


@given(hostile)
@example("")
@example("\ud800")
@example("W/")
@example('W/""')
@example('W/"JzEsNQ"')
@example('W/"' + base64.b64encode(b"'" + b"9" * 5000 + b",1'").decode() + '"')
@example('W/"' + base64.b64encode("'\u0661,\u0662'".encode()).decode() + '"')
def test_no_etag_raises(etag):
    version = RowVersion.from_etag(etag)

    assert layout(etag) == (None if version is None else len(version.pairs))
    assert len(fingerprint(etag)) == FINGERPRINT_BYTES
    assert fingerprint(etag) == fingerprint(etag)


@pytest.mark.parametrize("etag", ["", 'W/"abc"', 'W/"MSwy"', 'W/"JzEn"', "12345"])
def test_an_etag_of_another_form_has_a_fingerprint_and_no_layout(etag):
    assert layout(etag) is None
    assert RowVersion.from_etag(etag) is None
    assert fingerprint(etag) != fingerprint(etag + "x")


def test_every_etag_of_the_genuine_answers_is_read():
    if not SAMPLES.is_dir():
        pytest.skip("no genuine samples here")

    etags = [
        etag for path in sorted(SAMPLES.rglob("*.json")) for etag in _etags(json.loads(path.read_bytes()))
    ]

    assert etags
    assert [etag for etag in etags if layout(etag) is None] == []
    assert len({fingerprint(etag) for etag in etags}) == len(set(etags))


def _etags(value):
    if isinstance(value, dict):
        if isinstance(value.get("@odata.etag"), str):
            yield value["@odata.etag"]
        for each in value.values():
            yield from _etags(each)
    elif isinstance(value, list):
        for each in value:
            yield from _etags(each)


@given(st.lists(st.one_of(st.binary(), st.binary().map(base64.b64encode)), max_size=5))
@example([b"JzEsNTYzNzE0NDU3Nic=", b"12345", b"", b"a=b", b"==", TWO_TABLES.encode()])
def test_fingerprints_of_many_etags_are_those_of_each(etags):
    assert fingerprints(etags) == [fingerprint(each) for each in etags]
