"""The main job: what the environment holds is what comes out, whole and exact."""

from __future__ import annotations

import json
from decimal import Decimal
from threading import Event, Timer

import pytest
from singer import Target, discover, select, sync

from tap_d365fo.errors import IncompleteReadError, StateError
from tap_d365fo.extraction import reading
from tap_d365fo.extraction.chain import Chain
from tap_d365fo.extraction.fan_out import by_key_range

COMPANY_SCOPED = "CustomersV3"
SEEKABLE = [
    "CustomersV3",
    "VendorsV2",
    "SalesOrderLinesV3",
    "ExchangeRates",
    "LedgerJournalLines",
    "MainAccounts",
]


def expected(rows: list[dict], schema: dict, key: list[str]) -> list[dict]:
    """Return the sandbox's rows as records: dates without noon, empty dates as null but in keys."""

    def value(name: str, sent):
        form = schema["properties"][name].get("format")
        if form not in ("date", "date-time") or sent is None:
            return sent
        if sent.startswith("1900-01-01") and name not in key:
            return None
        return sent[:10] if form == "date" else sent

    return [{name: value(name, sent) for name, sent in row.items()} for row in rows]


def canonical(rows: list[dict]) -> list[str]:
    def text(value):
        return str(value) if isinstance(value, Decimal | int) and not isinstance(value, bool) else value

    return sorted(
        json.dumps({name: text(each) for name, each in row.items()}, sort_keys=True) for row in rows
    )


def whole(outcome, sandbox, stream: str) -> None:
    assert outcome.error is None
    (schema,) = {json.dumps(each) for each in outcome.of("SCHEMA", stream)}
    schema = json.loads(schema)
    truth = expected(sandbox.truth(stream), schema["schema"], schema["key_properties"])
    assert canonical(outcome.records(stream)) == canonical(truth)


def test_every_entity_arrives_whole_and_exact(sandbox):
    catalog = discover(sandbox.config(include_binary=True))
    names = [entry["stream"] for entry in catalog["streams"]]

    outcome = sync(sandbox.config(include_binary=True), select(catalog, *names))

    assert len(names) >= 12
    for name in names:
        whole(outcome, sandbox, name)


@pytest.mark.parametrize("page_size", [2, 3, 7, 100])
@pytest.mark.parametrize("stream", SEEKABLE)
def test_small_pages_lose_and_double_nothing(sandbox, stream, page_size):
    outcome = sync(sandbox.config(entities=[stream], page_size=page_size))

    whole(outcome, sandbox, stream)


@pytest.mark.parametrize("form", ["skip", "skiptoken", "opaque"])
@pytest.mark.parametrize("host", ["same", "http", "other", "relative"])
def test_every_form_of_next_link_works_and_none_takes_the_token_away(sandbox, form, host):
    sandbox.switches["nextlink.form"] = form
    sandbox.switches["nextlink.host"] = host
    catalog = discover(sandbox.config(include_binary=True))
    unseekable = [
        entry["stream"]
        for entry in catalog["streams"]
        if any(
            each["metadata"]
            .get("edm-type", "Edm.String")
            .startswith(("Edm.Guid", "Edm.Boolean", "Microsoft."))
            for each in entry["metadata"]
            if each["breadcrumb"] and each["breadcrumb"][-1] in entry["key_properties"]
        )
    ]
    assert unseekable

    outcome = sync(sandbox.config(page_size=4, include_binary=True), select(catalog, *unseekable))

    for stream in unseekable:
        whole(outcome, sandbox, stream)
    assert sandbox.leaks == []


def test_nothing_is_selected_without_a_word(sandbox):
    outcome = sync(sandbox.config())

    assert outcome.messages == []
    assert "Nothing is selected" in str(outcome.error)


def test_a_company_that_the_user_does_not_see_is_an_error_by_name(sandbox):
    outcome = sync(sandbox.config(entities=[COMPANY_SCOPED], companies=["usmf", "nosuch"]))

    assert "nosuch" in str(outcome.error)
    assert outcome.records(COMPANY_SCOPED) == []


def test_configured_companies_are_all_that_is_read(sandbox):
    outcome = sync(sandbox.config(entities=[COMPANY_SCOPED], companies=["USMF"], page_size=5))

    assert {row["dataAreaId"].lower() for row in outcome.records(COMPANY_SCOPED)} == {"usmf"}
    truth = [row for row in sandbox.truth(COMPANY_SCOPED) if row["dataAreaId"].lower() == "usmf"]
    assert len(outcome.records(COMPANY_SCOPED)) == len(truth)


def test_a_sync_with_a_catalog_never_asks_for_metadata(sandbox):
    catalog = select(discover(sandbox.config()), COMPANY_SCOPED)
    before = len(sandbox.requests)

    sync(sandbox.config(), catalog)

    assert not any("$metadata" in request.path for request in list(sandbox.requests)[before:])


@pytest.mark.parametrize("stream", ["CustomersV3", "MainAccounts"])
def test_a_full_read_killed_anywhere_resumes_and_delivers_the_union(sandbox, stream):
    config = sandbox.config(entities=[stream], page_size=5)
    whole_run = sync(config)
    lines = whole_run.text.split("\n")

    for end in range(1, len(lines), max(1, len(lines) // 12)):
        part = [json.loads(line, parse_float=Decimal) for line in lines[:end] if line]
        states = [message["value"] for message in part if message["type"] == "STATE"]
        resumed = sync(config, state=states[-1] if states else None)

        target = Target().apply(part).apply(resumed.messages)
        assert len(target.rows[stream]) == len(sandbox.truth(stream))
        activated = resumed.of("ACTIVATE_VERSION", stream)
        assert len(activated) == 1
        if states and "progress" in states[-1]["bookmarks"].get(stream, {}):
            assert activated[0]["version"] == states[-1]["bookmarks"][stream]["progress"]["started"]
            assert len(resumed.records(stream)) < len(whole_run.records(stream))


def test_no_state_names_rows_twice_while_a_read_is_being_cut_into_ranges(sandbox, monkeypatch):
    ends, told = Chain.left, Event()

    def left_while_cut(chain):
        before = ends(chain)
        if chain.ranged and chain.segment.up_to is None and not told.is_set():
            told.wait(5)  # what it stands at is told only after the ranges were
        return before

    def cut(*args, **kwargs):
        made = by_key_range(*args, **kwargs)
        Timer(0.05, told.set).start()
        return made

    monkeypatch.setattr(Chain, "left", left_while_cut)
    monkeypatch.setattr(reading, "by_key_range", cut)
    outcome = sync(sandbox.config(entities=["MainAccounts"], page_size=5))

    assert told.is_set()
    marks = [each["value"]["bookmarks"]["MainAccounts"] for each in outcome.of("STATE")]
    parts = [each["progress"]["segments"] for each in marks if "progress" in each]
    assert max(map(len, parts)) > 1
    assert all(sum("up_to" not in each for each in part) <= 1 for part in parts)


def test_rows_deleted_and_inserted_during_a_read_neither_skip_nor_double_others(sandbox):
    stream = COMPANY_SCOPED
    before = {(row["dataAreaId"], row["CustomerAccount"]) for row in sandbox.truth(stream)}
    victims = sorted(before)[:3]
    for victim in victims:
        sandbox.before(f"/data/{stream}", lambda key=victim: sandbox.dataset.delete(stream, key), nth=4)

    outcome = sync(sandbox.config(entities=[stream], page_size=4))

    keys = [(row["dataAreaId"], row["CustomerAccount"]) for row in outcome.records(stream)]
    assert len(keys) == len(set(keys))
    assert set(keys) >= before - set(victims)


STAMPED = "CustTransBiEntities"


def test_the_second_run_of_a_stamped_entity_brings_what_changed_and_the_overlap(sandbox):
    config = sandbox.config(entities=[STAMPED])
    first = sync(config)
    whole(first, sandbox, STAMPED)
    row = sandbox.truth(STAMPED)[0]
    sandbox.dataset.update(STAMPED, (row["dataAreaId"], row["SourceKey"]), {"Txt": "changed"})

    second = sync(config, state=first.state)

    target = Target().apply(first.messages).apply(second.messages)
    assert len(second.records(STAMPED)) < len(first.records(STAMPED))
    assert canonical(list(target.rows[STAMPED].values())) == canonical(
        expected(
            sandbox.truth(STAMPED), first.of("SCHEMA", STAMPED)[0]["schema"], ["dataAreaId", "SourceKey"]
        )
    )


def test_a_bookmark_is_never_ahead_of_its_rows(sandbox):
    outcome = sync(sandbox.config(entities=[STAMPED], page_size=3))

    seen: dict[str, str] = {}
    for message in outcome.messages:
        if message["type"] == "RECORD" and message["record"]["SysModifiedDateTime"]:
            company = message["record"]["dataAreaId"].lower()
            seen[company] = max(seen.get(company, ""), message["record"]["SysModifiedDateTime"])
        if message["type"] == "STATE":
            for part in message["value"]["bookmarks"].get(STAMPED, {}).get("partitions", []):
                assert part["replication_key_value"] <= seen[part["context"]["dataAreaId"]]


def test_an_incremental_read_killed_anywhere_loses_nothing(sandbox):
    config = sandbox.config(entities=[STAMPED], page_size=4)
    lines = sync(config).text.split("\n")

    for end in range(1, len(lines), max(1, len(lines) // 12)):
        part = [json.loads(line, parse_float=Decimal) for line in lines[:end] if line]
        states = [message["value"] for message in part if message["type"] == "STATE"]
        resumed = sync(config, state=states[-1] if states else None)

        target = Target().apply(part).apply(resumed.messages)
        assert len(target.rows[STAMPED]) == len(sandbox.truth(STAMPED))


@pytest.mark.parametrize(
    "state",
    [{"bookmarks": []}, {"bookmarks": {"CustomersV3": 3}}, {"bookmarks": {"CustomersV3": {"partitions": 4}}}],
)
def test_a_foreign_state_is_refused_in_words(sandbox, state):
    outcome = sync(sandbox.config(entities=["CustomersV3"]), state=state)

    assert isinstance(outcome.error, StateError | IncompleteReadError)
    assert "state" in str(outcome.error).lower()
    assert outcome.of("RECORD") == []


def test_a_company_without_rights_is_an_error_by_name_though_it_is_listed(sandbox):
    sandbox.switches["companies.hidden"] = "gbsi"

    outcome = sync(sandbox.config(entities=[COMPANY_SCOPED], companies=["gbsi"]))

    assert "gbsi" in str(outcome.error)
    assert outcome.records(COMPANY_SCOPED) == []


@pytest.mark.parametrize(("places", "cuts_at_once"), [(4, False), (12, True)])
def test_companies_are_cut_into_ranges_only_where_places_are_left(sandbox, places, cuts_at_once):
    config = sandbox.config(entities=["CustomersV3"], page_size=5, max_parallel_requests=places)
    catalog = select(discover(config), "CustomersV3")
    before = len(sandbox.requests)

    outcome = sync(config, catalog)

    assert len(outcome.records("CustomersV3")) == len(sandbox.truth("CustomersV3"))
    asked = [each for each in list(sandbox.requests)[before:] if "/CustomersV3" in each.path]
    companies = {
        each.query["$filter"].split("'")[1]
        for each in asked
        if "dataAreaId eq" in each.query.get("$filter", "")
    }
    seen, probe = set(), None
    for each in asked:
        if each.path.endswith("/$count") and probe is None:
            probe = set(seen)
        if "dataAreaId eq" in each.query.get("$filter", "") and not each.path.endswith("/$count"):
            seen.add(each.query["$filter"].split("'")[1])
    assert (probe is not None and probe != companies) is cuts_at_once


@pytest.mark.parametrize("level", ["honoured", "ignored", "refused", "without links", "rows alone"])
@pytest.mark.parametrize("parallel", [1, 8])
def test_rows_are_whole_whatever_asking_for_them_bare_brings(sandbox, level, parallel):
    sandbox.switches["metadata.none"] = level
    sandbox.switches["page.limit"] = 5

    config = sandbox.config(max_parallel_requests=parallel, include_binary=True)
    catalog = discover(config)

    outcome = sync(config, select(catalog, *(each["stream"] for each in catalog["streams"])))

    names = {each["stream"] for each in outcome.messages if each["type"] == "RECORD"}
    assert len(names) >= 12
    for name in names:
        whole(outcome, sandbox, name)
        assert not any("@odata" in column for row in outcome.records(name) for column in row)


@pytest.mark.parametrize("level", ["without links", "rows alone"])
def test_a_bare_page_that_ends_at_a_key_that_no_filter_can_name_wants_its_link(sandbox, level):
    sandbox.switches["metadata.none"] = level
    keys = sorted((row["dataAreaId"], row["CustomerAccount"]) for row in sandbox.truth(COMPANY_SCOPED))
    place = next(place for place, (_, account) in enumerate(keys) if "*" in account)

    outcome = sync(sandbox.config(entities=[COMPANY_SCOPED], page_size=place + 1))

    assert 0 < place + 1 < len(keys)
    whole(outcome, sandbox, COMPANY_SCOPED)


def forms(sandbox, entity, **settings):
    """Sync, and return in which form each page was asked for."""
    before = len(sandbox.requests)
    whole(sync(sandbox.config(entities=[entity], **settings)), sandbox, entity)
    seen = [each for each in list(sandbox.requests)[before:] if each.path == f"/data/{entity}"]
    return [each.accept.partition("=")[2] for each in seen if "odata.metadata=" in each.accept]


def test_a_read_that_is_not_counted_asks_for_bare_rows_once_links_would_show(sandbox):
    seen = forms(sandbox, COMPANY_SCOPED, max_parallel_requests=1, page_size=10)

    assert (seen[0], seen[-1]) == ("minimal", "none")


def test_only_sweeps_ask_for_the_etags_that_they_read(sandbox, tmp_path):
    assert set(forms(sandbox, COMPANY_SCOPED, page_size=5)) == {"none"}
    sync(sandbox.config(entities=[COMPANY_SCOPED], page_size=5, change_store=str(tmp_path)))
    asked = [each.accept for each in sandbox.requests if each.path == f"/data/{COMPANY_SCOPED}"]
    assert "minimal" in asked[-1]
