"""Queries become addresses that F&O takes."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_d365fo.odata.query import Query, all_of, any_of, grouped

ROOT = "https://contoso.operations.dynamics.com/data"


def test_every_query_reads_across_companies():
    query = Query("CustomersV3")

    assert query.url(ROOT) == f"{ROOT}/CustomersV3?cross-company=true"


def test_options_stand_in_a_fixed_order_and_only_where_given():
    query = Query("CustomersV3", select=("A", "B"), filter="A eq 'x y'", orderby=("A",), top=5, skip=10)

    assert query.url(ROOT).endswith(
        "?cross-company=true&$select=A,B&$filter=A%20eq%20'x%20y'&$orderby=A&$skip=10&$top=5"
    )


def test_a_count_keeps_the_filter_and_drops_the_rest():
    query = Query("CustomersV3", select=("A",), filter="A eq '1'", orderby=("A",), top=5)

    assert query.count_url(ROOT) == f"{ROOT}/CustomersV3/$count?cross-company=true&$filter=A%20eq%20'1'"


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_filter_text_survives_the_url(text):
    url = Query("X", filter=text).url(ROOT)

    assert parse_qs(urlsplit(url).query, keep_blank_values=True)["$filter"] == [text]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (all_of("a", "", "b"), "a and b"),
        (any_of("a", "b"), "a or b"),
        (all_of("", ""), ""),
        (grouped(""), ""),
        (grouped("a or b"), "(a or b)"),
    ],
)
def test_empty_terms_fall_away(made, expected):
    assert made == expected
