"""Segments know their filter, and come back from a state as they went in."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from tap_d365fo.edm.model import Property
from tap_d365fo.errors import StateError
from tap_d365fo.extraction.bookmark import GLOBAL, Bookmark, Progress
from tap_d365fo.extraction.segment import Segment, Window
from tap_d365fo.extraction.windows import all_others

COMPANY = Property("dataAreaId", "Edm.String")
ACCOUNT = Property("CustomerAccount", "Edm.String")
KEY = (COMPANY, ACCOUNT)


def test_everything_has_no_filter():
    assert Segment().filter(KEY) == ""


def test_a_legal_entity_is_named_and_its_key_starts_behind_it():
    segment = Segment(company="usmf", after={"CustomerAccount": "US-001"})

    assert segment.filter(KEY) == "dataAreaId eq 'usmf' and CustomerAccount gt 'US-001'"


def test_a_place_in_everything_names_the_whole_key():
    segment = Segment(after={"dataAreaId": "usmf", "CustomerAccount": "US-001"})

    assert segment.filter(KEY) == (
        "((dataAreaId gt 'usmf') or (dataAreaId eq 'usmf' and CustomerAccount gt 'US-001'))"
    )


def test_the_users_own_filter_is_kept_apart():
    assert (
        Segment(company="o'x").filter(KEY, also="A eq 1 or B eq 2")
        == "dataAreaId eq 'o''x' and (A eq 1 or B eq 2)"
    )


def test_a_range_ends_with_its_last_key():
    segment = Segment(company="usmf", after={"CustomerAccount": "a"}, up_to={"CustomerAccount": "b"})

    assert segment.filter(KEY) == (
        "dataAreaId eq 'usmf' and CustomerAccount gt 'a' and (CustomerAccount lt 'b' or (CustomerAccount eq 'b'))"
    )


@pytest.mark.parametrize(
    ("window", "text"),
    [
        (Window("S", lower="x", upper="y"), "S ge x and S le y"),
        (Window("S", lower="x", keep_empty=True), "(S ge x or S lt 1900-01-02T00:00:00Z)"),
        (Window("S"), ""),
    ],
)
def test_windows_bound_the_replication_key(window, text):
    assert window.filter() == text


@pytest.mark.parametrize(
    "segment",
    [
        Segment(),
        Segment(company="usmf", after={"A": "1"}, up_to={"A": "9"}),
        Segment(
            others_than=("a", "b"),
            between=("a", None),
            window=Window("S", lower="1", upper="2", keep_empty=True),
        ),
    ],
)
def test_a_segment_survives_a_state(segment):
    state = json.loads(json.dumps(segment.to_state()))

    assert Segment.from_state(state, column="S") == segment


@pytest.mark.parametrize(
    "state", [{"window": 3}, {"after": "x"}, {"window": {"nonsense": 1}}, {"between": 4}]
)
def test_a_foreign_segment_is_refused(state):
    with pytest.raises(StateError):
        Segment.from_state(state, column="S")


def test_the_spans_of_all_others_leave_no_gap():
    known = [f"c{number:03}" for number in range(95)]

    spans = [segment.between for segment in all_others(known, window=None)]

    assert spans[0][0] is None
    assert spans[-1][1] is None
    assert all(left[1] == right[0] for left, right in pairwise(spans))
    assert [name for segment in all_others(known, window=None) for name in segment.others_than] == known


def test_a_bookmark_survives_a_state():
    progress = Progress(5, "2026-01-01T00:00:00Z", {"usmf": "x"}, [Segment(company="usmf")])
    bookmark = Bookmark("S", {"usmf": "2026-01-01T00:00:00Z", "dat": "2025-01-01T00:00:00Z"}, progress)

    state = json.loads(json.dumps(bookmark.to_state()))

    assert Bookmark.from_state(state, stream="X", replication_key="S") == bookmark
    assert state["partitions"][0] == {
        "context": {"dataAreaId": "dat"},
        "replication_key": "S",
        "replication_key_value": "2025-01-01T00:00:00Z",
    }


def test_a_global_bookmark_stands_at_the_top():
    state = Bookmark("S", {GLOBAL: 12}).to_state()

    assert state == {"replication_key": "S", "replication_key_value": 12}


def test_values_of_another_replication_key_count_for_nothing():
    state = {"replication_key": "Old", "replication_key_value": "2026-01-01T00:00:00Z"}

    assert Bookmark.from_state(state, stream="X", replication_key="New").values == {}


@pytest.mark.parametrize(
    "state",
    [
        {"partitions": "x"},
        {"partitions": [3]},
        {"progress": 1},
        {"replication_key": "S", "replication_key_value": [1]},
        {"partitions": [{"context": {"dataAreaId": 4}}]},
    ],
)
def test_a_foreign_state_is_refused(state):
    with pytest.raises(StateError):
        Bookmark.from_state(state, stream="X", replication_key="S")
