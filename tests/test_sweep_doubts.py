"""Sweeps against an environment that answers oddly: nothing that is there is told to be gone, nothing is missed."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from dataclasses import replace

import pytest
from singer import Target, discover, sync
from test_sweep import KEY, STREAM, holds_the_truth, key_of

from tap_d365fo.sandbox.reply import Reply, bad_query, error_envelope
from tap_d365fo.sandbox.table import decode_etag, encode_etag


@pytest.fixture
def config(sandbox, tmp_path):
    return sandbox.config(entities=[STREAM], change_store=str(tmp_path / "store"), page_size=20)


@pytest.fixture
def odd(sandbox, monkeypatch):
    """Return what has requests answered otherwise: by a function of the request and of its usual answer."""

    def answer_oddly(instead) -> None:
        usual = sandbox.front.answer
        monkeypatch.setattr(sandbox.front, "answer", lambda request: instead(request, lambda: usual(request)))

    return answer_oddly


def is_listing(request) -> bool:
    return request.path.endswith(STREAM) and request.options.get("$select") == ",".join(KEY)


def is_count(request) -> bool:
    return request.path.endswith(f"{STREAM}/$count")


def asks_for(request, account: str) -> bool:
    return f"CustomerAccount eq '{account}'" in request.options.get("$filter", "")


def edited(reply: Reply, pattern: bytes, put: bytes) -> Reply:
    return replace(reply, body=re.sub(pattern, put, reply.body))


def without(reply: Reply, account: str) -> Reply:
    """Return a page with the row of a customer left out."""
    if reply.status != 200:
        return reply
    page = json.loads(reply.body)
    page["value"] = [row for row in page["value"] if row["CustomerAccount"] != account]
    return replace(reply, body=json.dumps(page).encode())


def rows_of(sandbox, company: str) -> list[dict]:
    """Return rows of a company whose keys are as usual."""
    rows = (row for row in sandbox.truth(STREAM) if row["dataAreaId"] == company)
    return [row for row in rows if re.fullmatch(r"[A-Z]{2}-\d+", row["CustomerAccount"])]


def deleted(outcome) -> list[tuple]:
    return [key_of(record) for record in outcome.records(STREAM) if record.get("_sdc_deleted_at")]


def ends_with_the_truth(sandbox, *runs) -> None:
    target = Target()
    for each in runs:
        target.apply(each.messages)
    holds_the_truth(target, sandbox, runs[0].of("SCHEMA")[0]["schema"])


# -- rows that cannot be fetched ----------------------------------------------------------------------------


def test_a_row_that_no_filter_finds_is_read_with_its_legal_entity(sandbox, config, odd):
    first = sync(config)
    row = rows_of(sandbox, "usmf")[3]
    sandbox.dataset.update(STREAM, key_of(row), {"CredManNotes": "moved"})

    def blind(request, usual):
        if asks_for(request, row["CustomerAccount"]):
            return edited(usual(), rb'"value":\[.*\]', b'"value":[]')
        return usual()

    odd(blind)
    second = sync(config, state=first.state)

    assert second.error is None
    assert [key_of(record) for record in second.records(STREAM)] == [key_of(row)]
    assert deleted(second) == []
    ends_with_the_truth(sandbox, first, second)


def test_a_row_that_goes_between_listing_and_fetching_is_told_to_be_gone(sandbox, config, odd):
    first = sync(config)
    gone, kept = rows_of(sandbox, "usmf")[3:5]
    for row in (gone, kept):
        sandbox.dataset.update(STREAM, key_of(row), {"CredManNotes": "moved"})

    def fleeting(request, usual):
        if asks_for(request, gone["CustomerAccount"]) and gone in sandbox.truth(STREAM):
            sandbox.dataset.delete(STREAM, key_of(gone))
        return usual()

    gone["CredManNotes"] = "moved"
    odd(fleeting)
    second = sync(config, state=first.state)

    assert deleted(second) == [key_of(gone)]
    ends_with_the_truth(sandbox, first, second)


def test_a_row_that_changes_between_listing_and_fetching_is_remembered_as_it_was_told(sandbox, config, odd):
    first = sync(config)
    row = rows_of(sandbox, "usmf")[3]
    sandbox.dataset.update(STREAM, key_of(row), {"CredManNotes": "early"})
    moves = ["late"]

    def moving(request, usual):
        if asks_for(request, row["CustomerAccount"]) and moves:
            sandbox.dataset.update(STREAM, key_of(row), {"CredManNotes": moves.pop()})
        return usual()

    odd(moving)
    second = sync(config, state=first.state)
    third = sync(config, state=second.state)

    assert [record["CredManNotes"] for record in second.records(STREAM)] == ["late"]
    assert third.of("RECORD") == []


@pytest.mark.parametrize(
    "refusal",
    [bad_query("The query cannot be translated."), Reply(414, b"", "text/html")],
    ids=["400", "414"],
)
def test_an_entity_that_cannot_be_asked_by_key_is_read_by_legal_entity(sandbox, config, odd, refusal):
    first = sync(config)
    row = rows_of(sandbox, "usmf")[3]
    sandbox.dataset.update(STREAM, key_of(row), {"CredManNotes": "moved"})
    odd(lambda request, usual: refusal if asks_for(request, row["CustomerAccount"]) else usual())

    second = sync(config, state=first.state)

    assert second.error is None
    assert [key_of(record) for record in second.records(STREAM)] == [key_of(row)]


# -- counts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 404, 501])
def test_where_rows_are_not_counted_a_second_listing_confirms_what_is_gone(sandbox, config, odd, status):
    first = sync(config)
    row = rows_of(sandbox, "usmf")[3]
    sandbox.dataset.delete(STREAM, key_of(row))
    refusal = Reply(status, error_envelope("Counting is not supported."))
    odd(lambda request, usual: refusal if is_count(request) else usual())

    second = sync(config, state=first.state)

    assert second.error is None
    assert deleted(second) == [key_of(row)]


def test_where_rows_are_not_counted_an_empty_listing_is_an_error(sandbox, config, odd):
    first = sync(config)
    for row in sandbox.truth(STREAM):
        if row["dataAreaId"] == "usmf":
            sandbox.dataset.delete(STREAM, key_of(row))
    odd(lambda request, usual: bad_query("No counting.") if is_count(request) else usual())

    second = sync(config, state=first.state)

    assert "came back empty" in str(second.error)
    assert deleted(second) == []


def test_an_empty_listing_is_believed_where_the_count_says_so(sandbox, config):
    first = sync(config)
    gone = [row for row in sandbox.truth(STREAM) if row["dataAreaId"] == "usmf"]
    for row in gone:
        sandbox.dataset.delete(STREAM, key_of(row))

    second = sync(config, state=first.state)

    assert second.error is None
    assert sorted(deleted(second)) == sorted(map(key_of, gone))


def test_rows_that_come_while_it_is_listed_do_not_keep_deletes_back(sandbox, config, odd):
    first = sync(config)
    gone, like = rows_of(sandbox, "usmf")[3:5]
    sandbox.dataset.delete(STREAM, key_of(gone))
    new = iter(range(100))

    def busy(request, usual):
        if is_count(request):
            sandbox.dataset.insert(STREAM, {**like, "CustomerAccount": f"ZZ-{next(new)}"})
        return usual()

    odd(busy)
    second = sync(config, state=first.state)
    third = sync(config, state=second.state)

    assert deleted(second) == [key_of(gone)]
    ends_with_the_truth(sandbox, first, second, third)


def test_rows_that_stay_out_of_every_listing_are_not_told_to_be_gone(sandbox, config, odd, caplog):
    first = sync(config)
    hidden = rows_of(sandbox, "usmf")[3]["CustomerAccount"]
    odd(lambda request, usual: without(usual(), hidden) if is_listing(request) else usual())

    with caplog.at_level(logging.WARNING):
        second = sync(config, state=first.state)

    assert second.error is None
    assert second.of("RECORD") == []
    assert "deletes are left to the next sweep" in caplog.text


def test_a_row_that_one_listing_lacked_is_not_told_to_be_gone(sandbox, config, odd):
    first = sync(config)
    hidden, gone = rows_of(sandbox, "usmf")[3:5]
    sandbox.dataset.delete(STREAM, key_of(gone))
    counted = []

    def forgetful(request, usual):
        counted.extend([1] if is_count(request) else [])
        if is_listing(request) and not counted:
            return without(usual(), hidden["CustomerAccount"])
        return usual()

    odd(forgetful)
    second = sync(config, state=first.state)

    assert deleted(second) == [key_of(gone)]


# -- versions -----------------------------------------------------------------------------------------------


def stored(sandbox, row: dict):
    table = sandbox.dataset.table(STREAM)
    return table, table.find(key_of(row))


def test_a_version_that_returns_after_a_lost_state_is_told_again(sandbox, config):
    """A joined row comes and goes: 0,0 again. The target saw it come, and never saved the state that says so."""
    first = sync(config)
    row = rows_of(sandbox, "usmf")[3]
    table, before = stored(sandbox, row)
    pairs = decode_etag(before[0])
    joined = [list(each) for each in pairs]
    joined[-1] = [7, 5637144999]
    changed = table.update(before, {"CredManNotes": "with an address"}, joined)
    lost = sync(config, state=first.state)
    table.update(changed, {"CredManNotes": row["CredManNotes"]}, pairs)

    after = sync(config, state=first.state)

    assert encode_etag(pairs) == stored(sandbox, row)[1][0]
    ends_with_the_truth(sandbox, first, lost, after)


def test_a_row_that_comes_into_sight_again_after_a_lost_state_is_told_again(sandbox, config):
    first = sync(config)
    row = rows_of(sandbox, "usmf")[3]
    table, before = stored(sandbox, row)
    table.remove(before)
    lost = sync(config, state=first.state)
    table._put(before)

    after = sync(config, state=first.state)

    assert deleted(lost) == [key_of(row)]
    ends_with_the_truth(sandbox, first, lost, after)


@pytest.mark.parametrize(
    ("pattern", "put"),
    [
        (rb'"W/(\\"[^"]*\\")"', rb'"\1"'),
        (rb'"W/\\"([^"]*)\\""', rb'"\1"'),
        (rb'"W/\\"([^"]*)\\""', rb'"W/\\u0022\1\\u0022"'),
        (rb'"W/\\"([^"]*)\\""', rb'"W\\/\\"\1\\""'),
    ],
    ids=["strong", "bare", "quotes as \\u", "slash escaped"],
)
def test_an_etag_spelled_otherwise_is_the_same_version(sandbox, config, odd, pattern, put):
    first = sync(config)
    odd(lambda request, usual: edited(usual(), pattern, put))

    second = sync(config, state=first.state)

    assert second.error is None
    assert second.of("RECORD") == []


@pytest.mark.parametrize("form", [rb'"W/\\"%s\\""', rb'"%s"'], ids=["weak", "bare"])
def test_etags_that_hold_no_pairs_are_versions_too(sandbox, config, odd, form):
    """Another gateway's, or F&O's of tomorrow: a text that moves when the row does."""

    def opaque(request, usual):
        return edited(usual(), rb'"W/\\"([^"\\]*)\\""', form.replace(b"%s", rb"opaque-\1!"))

    odd(opaque)
    first = sync(config)
    row = rows_of(sandbox, "usmf")[3]
    sandbox.dataset.update(STREAM, key_of(row), {"CredManNotes": "moved"})
    second = sync(config, state=first.state)

    assert [key_of(record) for record in second.records(STREAM)] == [key_of(row)]


def test_where_listings_carry_no_etags_whole_rows_are_compared(sandbox, config, odd):
    no_etags = rb'"@odata\.etag":"(?:[^"\\]|\\.)*",'
    odd(lambda request, usual: edited(usual(), no_etags, b"") if is_listing(request) else usual())
    first = sync(config)
    second = sync(config, state=first.state)
    row = rows_of(sandbox, "usmf")[3]
    sandbox.dataset.delete(STREAM, key_of(row))
    third = sync(config, state=second.state)

    assert deleted(second) == []
    assert [key_of(record) for record in third.records(STREAM)] == deleted(third) == [key_of(row)]
    ends_with_the_truth(sandbox, first, second, third)


def test_where_listings_carry_other_etags_than_rows_nothing_is_lost(sandbox, config, odd):
    """Were a listing's etag of fewer tables, everything would look changed: told once more, never missed."""
    etag = rb'"W/\\"[^"]*\\""'
    odd(
        lambda request, usual: (
            edited(usual(), etag, rb'"W/\\"JzEsMSc=\\""') if is_listing(request) else usual()
        )
    )
    first = sync(config)
    row = rows_of(sandbox, "usmf")[3]
    sandbox.dataset.delete(STREAM, key_of(row))
    second = sync(config, state=first.state)

    assert second.error is None
    assert deleted(second) == [key_of(row)]
    ends_with_the_truth(sandbox, first, second)


def test_etags_that_come_and_go_lose_nothing(sandbox, config):
    first = sync(config)
    sandbox.dataset.set_etag_pairs(STREAM, 0)
    sandbox.dataset.delete(STREAM, key_of(rows_of(sandbox, "usmf")[3]))
    second = sync(config, state=first.state)
    quiet = sync(config, state=second.state)
    sandbox.dataset.set_etag_pairs(STREAM, 4)
    sandbox.dataset.delete(STREAM, key_of(rows_of(sandbox, "usmf")[4]))
    third = sync(config, state=quiet.state)

    assert quiet.of("RECORD") == []
    ends_with_the_truth(sandbox, first, second, third)


# -- keys ---------------------------------------------------------------------------------------------------

ODD_KEYS = (
    "O'Neil & Söhne",
    " leading",
    "trailing ",
    "日本-東京 🚀",
    "a/b?c#d=e%20f+g",
    "N*1",
    'quo"te',
    "back\\slash",
    "(1,2)",
    "tab\there",
)


def test_keys_of_any_text_are_fetched_changed_and_told_to_be_gone(sandbox, config):
    like = rows_of(sandbox, "usmf")[0]
    for row in sandbox.truth(STREAM):
        if row["CustomerAccount"].strip() in {key.strip() for key in ODD_KEYS}:
            sandbox.dataset.delete(STREAM, key_of(row))
    for key in ODD_KEYS:
        sandbox.dataset.insert(STREAM, {**like, "CustomerAccount": key})
    first = sync(config)
    for key in ODD_KEYS:
        sandbox.dataset.update(STREAM, ("usmf", key), {"CredManNotes": f"of {key}"})
    second = sync(config, state=first.state)
    for key in ODD_KEYS:
        sandbox.dataset.delete(STREAM, ("usmf", key))
    third = sync(config, state=second.state)

    assert {record["CustomerAccount"] for record in second.records(STREAM)} == set(ODD_KEYS)
    assert {key for _, key in deleted(third)} == set(ODD_KEYS)
    ends_with_the_truth(sandbox, first, second, third)


def test_a_key_that_only_changed_its_case_is_told_gone_before_it_is_told(sandbox, config):
    """To a target that compares keys as F&O does both are one row: the last word must be that it is there."""
    first = sync(config)
    row = rows_of(sandbox, "usmf")[3]
    sandbox.dataset.delete(STREAM, key_of(row))
    sandbox.dataset.insert(STREAM, {**row, "CustomerAccount": row["CustomerAccount"].lower()})

    second = sync(config, state=first.state)

    told = [(record["CustomerAccount"], bool(record["_sdc_deleted_at"])) for record in second.records(STREAM)]
    assert told == [(row["CustomerAccount"], True), (row["CustomerAccount"].lower(), False)]


def test_another_key_of_the_entity_means_a_snapshot(sandbox, config, tmp_path, caplog):
    catalog = discover(config)
    first = sync(config, json.loads(json.dumps(catalog)))
    [store] = (tmp_path / "store").glob("*.sqlite")
    with sqlite3.connect(store) as connection:
        [(number, text)] = connection.execute("SELECT number, meta FROM generations").fetchall()
        meta = {**json.loads(text), "key": ["CustomerAccount"]}
        connection.execute("UPDATE generations SET meta = ? WHERE number = ?", (json.dumps(meta), number))
    connection.close()

    with caplog.at_level(logging.INFO):
        second = sync(config, catalog, state=first.state)

    assert second.error is None
    assert len(second.records(STREAM)) == len(sandbox.truth(STREAM))
    assert "another key" in caplog.text


# -- companies ----------------------------------------------------------------------------------------------


def test_companies_that_are_named_again_catch_up(sandbox, config):
    first = sync(config)
    of_usmf, of_demf = rows_of(sandbox, "usmf")[3], rows_of(sandbox, "demf")[1:3]
    sandbox.dataset.update(STREAM, key_of(of_usmf), {"CredManNotes": "moved"})
    sandbox.dataset.update(STREAM, key_of(of_demf[0]), {"CredManNotes": "moved"})
    sandbox.dataset.delete(STREAM, key_of(of_demf[1]))

    second = sync({**config, "companies": ["USMF"]}, state=first.state)
    third = sync(config, state=second.state)

    assert [key_of(record) for record in second.records(STREAM)] == [key_of(of_usmf)]
    assert deleted(third) == [key_of(of_demf[1])]
    ends_with_the_truth(sandbox, first, second, third)


def test_one_company_out_of_sight_does_not_keep_the_changes_of_others(sandbox, config):
    first = sync(config)
    row, gone = rows_of(sandbox, "usmf")[3:5]
    sandbox.dataset.update(STREAM, key_of(row), {"CredManNotes": "moved"})
    sandbox.dataset.delete(STREAM, key_of(gone))
    sandbox.switches["companies.hidden"] = "demf"

    second = sync(config, state=first.state)

    assert "demf" in str(second.error)
    assert {key_of(record) for record in second.records(STREAM)} == {key_of(row), key_of(gone)}
    assert deleted(second) == [key_of(gone)]
    assert second.state["bookmarks"][STREAM] == first.state["bookmarks"][STREAM]
