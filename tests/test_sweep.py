"""Change sweeps: new, changed and gone rows of entities without a time stamp."""

from __future__ import annotations

import json

import pytest
from singer import Target, sync
from test_reading import canonical, expected

STREAM = "CustomersV3"
KEY = ["dataAreaId", "CustomerAccount"]


@pytest.fixture
def config(sandbox, tmp_path):
    return sandbox.config(entities=[STREAM], change_store=str(tmp_path / "store"), page_size=20)


def key_of(row: dict) -> tuple:
    return tuple(row[name] for name in KEY)


def holds_the_truth(
    target: Target, sandbox, schema: dict, stream: str = STREAM, key: list[str] = KEY
) -> None:
    truth = expected(sandbox.truth(stream), schema, key)
    rows = [
        {name: value for name, value in row.items() if name != "_sdc_deleted_at"}
        for row in target.rows[stream].values()
    ]
    assert canonical(rows) == canonical(truth)


def test_the_first_sweep_is_a_snapshot_and_the_next_brings_nothing(sandbox, config):
    first = sync(config)
    before = len(sandbox.requests)
    second = sync(config, state=first.state)

    assert first.error is None
    assert second.error is None
    assert len(first.records(STREAM)) == len(sandbox.truth(STREAM))
    assert len(first.of("ACTIVATE_VERSION")) == 1
    assert second.of("RECORD") == []
    assert second.of("ACTIVATE_VERSION") == []
    listed = [each for each in list(sandbox.requests)[before:] if each.path.endswith(STREAM)]
    assert {each.query.get("$select") for each in listed} == {"dataAreaId,CustomerAccount"}


def test_new_changed_and_gone_rows_arrive(sandbox, config):
    first = sync(config)
    rows = sandbox.truth(STREAM)
    changed, gone = rows[3], rows[10]
    sandbox.dataset.update(STREAM, key_of(changed), {"CredManNotes": "swept"})
    sandbox.dataset.delete(STREAM, key_of(gone))
    sandbox.dataset.insert(STREAM, {**rows[5], "CustomerAccount": "NEW-1"})

    second = sync(config, state=first.state)

    assert second.error is None
    by_key = {key_of(record): record for record in second.records(STREAM)}
    assert set(by_key) == {key_of(changed), key_of(gone), (rows[5]["dataAreaId"], "NEW-1")}
    assert by_key[key_of(gone)]["_sdc_deleted_at"]
    assert set(by_key[key_of(gone)]) == {*KEY, "_sdc_deleted_at"}
    assert by_key[key_of(changed)]["CredManNotes"] == "swept"
    target = Target().apply(first.messages).apply(second.messages)
    holds_the_truth(target, sandbox, first.of("SCHEMA")[0]["schema"])


def test_a_state_that_the_target_never_saved_brings_the_changes_again(sandbox, config):
    first = sync(config)
    row = sandbox.truth(STREAM)[0]
    sandbox.dataset.delete(STREAM, key_of(row))
    lost = sync(config, state=first.state)

    again = sync(config, state=first.state)

    assert len(lost.records(STREAM)) == 1
    assert [key_of(record) for record in again.records(STREAM)] == [key_of(row)]
    after = sync(config, state=again.state)
    assert after.of("RECORD") == []


@pytest.mark.parametrize("lose", ["store", "state"])
def test_without_store_or_state_a_snapshot_is_taken(sandbox, config, tmp_path, lose):
    first = sync(config)
    sandbox.dataset.delete(STREAM, key_of(sandbox.truth(STREAM)[0]))
    if lose == "store":
        next((tmp_path / "store").glob("*.sqlite")).unlink()

    second = sync(config, state=first.state if lose == "store" else None)

    assert len(second.records(STREAM)) == len(sandbox.truth(STREAM))
    target = Target().apply(first.messages).apply(second.messages)
    holds_the_truth(target, sandbox, first.of("SCHEMA")[0]["schema"])


def test_a_company_of_which_most_has_changed_is_read_whole(sandbox, config):
    first = sync(config)
    for row in sandbox.truth(STREAM):
        if row["dataAreaId"] == "usmf":
            sandbox.dataset.update(STREAM, key_of(row), {"CredManNotes": "all"})
    before = len(sandbox.requests)

    second = sync(config, state=first.state)

    wide = [
        each for each in list(sandbox.requests)[before:] if "CredManNotes" in each.query.get("$select", "")
    ]
    assert wide
    target = Target().apply(first.messages).apply(second.messages)
    holds_the_truth(target, sandbox, first.of("SCHEMA")[0]["schema"])
    assert {record["dataAreaId"] for record in second.records(STREAM)} == {"usmf"}


def test_a_company_out_of_sight_is_not_taken_for_deleted(sandbox, config):
    first = sync(config)
    sandbox.switches["companies.hidden"] = "demf"

    second = sync(config, state=first.state)

    assert second.of("RECORD") == []
    assert "demf" in str(second.error)


def test_companies_narrowed_by_the_user_are_not_taken_for_deleted(sandbox, config):
    first = sync(config)

    second = sync({**config, "companies": ["usmf"]}, state=first.state)

    assert second.error is None
    assert second.of("RECORD") == []


def test_a_newly_selected_column_means_a_snapshot(sandbox, config):
    from singer import discover

    catalog = discover(config)
    metadata = {tuple(each["breadcrumb"]): each["metadata"] for each in catalog["streams"][0]["metadata"]}
    metadata["properties", "CredManNotes"]["selected"] = False
    first = sync(config, json.loads(json.dumps(catalog)))
    metadata["properties", "CredManNotes"]["selected"] = True

    second = sync(config, catalog, state=first.state)

    assert "CredManNotes" not in first.records(STREAM)[0]
    assert len(second.records(STREAM)) == len(sandbox.truth(STREAM))


def test_the_store_of_another_environment_is_refused(sandbox, config, monkeypatch):
    from tap_d365fo.errors import ChangeStoreError
    from tap_d365fo.extraction.change_store import ChangeStore

    sync(config)

    with (
        pytest.raises(ChangeStoreError, match="belongs to"),
        ChangeStore.open(config["change_store"], environment="https://other", stream=STREAM, generation=1),
    ):
        pass


def test_two_runs_at_once_on_one_store_are_refused(sandbox, config):
    from tap_d365fo.extraction.change_store import ChangeStore

    with ChangeStore.open(
        config["change_store"], environment=config["environment_url"], stream=STREAM, generation=None
    ):
        outcome = sync(config)

    assert "in use by another run" in str(outcome.error)
    assert outcome.of("RECORD") == []


@pytest.mark.parametrize(
    "stream",
    [
        "ExchangeRates",
        "LedgerJournalLines",
        "MainAccounts",
        "CustomerPostingSetups",
        "CustomerDocumentAttachments",
    ],
)
def test_every_kind_of_key_can_be_swept(sandbox, tmp_path, stream):
    config = sandbox.config(entities=[stream], change_store=str(tmp_path), page_size=10, include_binary=True)
    first = sync(config)
    schema = first.of("SCHEMA")[0]
    for seed in range(3):
        sandbox.dataset.advance(seed)

    second = sync(config, state=first.state)

    assert second.error is None
    target = Target().apply(first.messages).apply(second.messages)
    holds_the_truth(target, sandbox, schema["schema"], stream, schema["key_properties"])


def test_an_entity_without_etags_is_compared_by_whole_rows(sandbox, config):
    sandbox.dataset.set_etag_pairs(STREAM, 0)
    first = sync(config)
    rows = sandbox.truth(STREAM)
    sandbox.dataset.update(STREAM, key_of(rows[3]), {"CredManNotes": "hashed"})
    sandbox.dataset.delete(STREAM, key_of(rows[10]))

    second = sync(config, state=first.state)

    assert second.error is None
    assert {key_of(record) for record in second.records(STREAM)} == {key_of(rows[3]), key_of(rows[10])}
    target = Target().apply(first.messages).apply(second.messages)
    holds_the_truth(target, sandbox, first.of("SCHEMA")[0]["schema"])


def test_a_new_layout_of_etags_loses_nothing(sandbox, config):
    first = sync(config)
    sandbox.dataset.set_etag_pairs(STREAM, 3)
    sandbox.dataset.delete(STREAM, key_of(sandbox.truth(STREAM)[10]))

    second = sync(config, state=first.state)
    third = sync(config, state=second.state)

    target = Target().apply(first.messages).apply(second.messages)
    holds_the_truth(target, sandbox, first.of("SCHEMA")[0]["schema"])
    assert third.of("RECORD") == []


def test_a_company_that_comes_into_sight_is_read_whole(sandbox, config):
    sandbox.switches["companies.hidden"] = "demf"
    first = sync(config)
    sandbox.switches["companies.hidden"] = ""

    second = sync(config, state=first.state)

    assert {record["dataAreaId"] for record in second.records(STREAM)} == {"demf"}
    target = Target().apply(first.messages).apply(second.messages)
    holds_the_truth(target, sandbox, first.of("SCHEMA")[0]["schema"])


def test_a_listing_that_failed_half_way_tells_changes_and_no_deletes(sandbox, config):
    first = sync(config)
    rows = sandbox.truth(STREAM)
    sandbox.dataset.update(STREAM, key_of(rows[0]), {"CredManNotes": "early"})
    sandbox.dataset.delete(STREAM, key_of(rows[1]))
    sandbox.faults.add("denied-entity", path=f"/data/{STREAM}$", nth=range(3, 500))

    second = sync(config, state=first.state)

    assert second.error is not None
    assert not any(record.get("_sdc_deleted_at") for record in second.records(STREAM))
    assert second.state["bookmarks"][STREAM] == first.state["bookmarks"][STREAM]
    sandbox.faults.clear()
    third = sync(config, state=second.state)
    target = Target().apply(first.messages).apply(second.messages).apply(third.messages)
    holds_the_truth(target, sandbox, first.of("SCHEMA")[0]["schema"])
