"""However records leave (as sent, decoded and mapped, flattened, or in BATCH files), they are the same records."""

from __future__ import annotations

import copy
import functools
import gzip
import json
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from singer import Outcome, Target, discover, select, sync

from tap_d365fo.sandbox.server import Sandbox

METHODS = {"full": (), "sweep": ("change_store",)}
SMALL = 30
"""Pages small enough that every entity takes a few."""


@pytest.fixture(scope="module")
def box():
    with (
        Sandbox(seed=11, switches={"companies.hidden": ""}) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("REQUESTS_CA_BUNDLE", str(running.ca_file))
        yield running


@pytest.fixture(scope="module", params=METHODS)
def run(box, request, tmp_path_factory):
    """Run the tap over every entity, as it is and with further settings; each run begins from nothing."""
    streams = [entry["stream"] for entry in discover(box.config())["streams"]]

    @functools.cache
    def sync_all(how: str) -> Outcome:
        folder = str(tmp_path_factory.mktemp("run"))
        config = box.config(
            include_binary=True, page_size=SMALL, **dict.fromkeys(METHODS[request.param], folder)
        )
        outcome = sync({**config, **json.loads(how)}, select(discover(config), *streams))
        assert outcome.error is None
        copies = {
            alias for alias, each in json.loads(how).get("stream_maps", {}).items() if "__source__" in each
        }
        assert {each["stream"] for each in outcome.of("SCHEMA")} == {*streams, *copies}
        return outcome

    return lambda **settings: sync_all(json.dumps(settings))


def told(message: dict) -> dict:
    """Return a message without what differs from run to run, its numbers as their digits."""
    kept = {name: value for name, value in message.items() if name not in ("time_extracted", "version")}
    if message["type"] == "RECORD":
        kept["record"] = digits(message["record"])
    return {**kept, "versioned": "version" in message}


def digits(record: dict) -> dict:
    return {name: f"{each!s}" if isinstance(each, Decimal) else each for name, each in record.items()}


def records(outcome: Outcome) -> list[str]:
    return sorted(json.dumps(told(each), sort_keys=True) for each in outcome.of("RECORD"))


def kinds(outcome: Outcome) -> set[tuple[str, str | None]]:
    return {(each["type"], each.get("stream")) for each in outcome.messages}


def test_mapped_records_equal_those_as_sent(run):
    as_sent = run()
    streams = {each["stream"] for each in as_sent.of("SCHEMA")}

    mapped = run(stream_maps={name: {"__filter__": "1 == 1"} for name in streams})

    assert records(mapped) == records(as_sent)
    assert kinds(mapped) == kinds(as_sent)


def test_flattened_records_equal_those_as_sent(run):
    as_sent = run()

    flattened = run(flattening_enabled=True, flattening_max_depth=2)

    assert records(flattened) == records(as_sent)
    assert kinds(flattened) == kinds(as_sent)


@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("maps", [False, True], ids=["as sent", "mapped"])
def test_batch_files_hold_the_records(run, tmp_path, compression, maps):
    as_sent = run()
    streams = {each["stream"] for each in as_sent.of("SCHEMA")}
    mapping = {"stream_maps": {name: {"__filter__": "1 == 1"} for name in streams}} if maps else {}

    batched = run(batch_config=batch_config(tmp_path / "batches", compression), **mapping)

    assert batched.of("RECORD") == []
    assert batched.of("ACTIVATE_VERSION") == []  # without versions in the files it would remove every row
    assert sorted(in_files(batched)) == sorted(
        (each["stream"], json.dumps(digits(each["record"]), sort_keys=True)) for each in as_sent.of("RECORD")
    )


def test_a_stream_with_several_names_leaves_as_records_beside_others_in_files(run, tmp_path):
    as_sent = run()
    name = min(each["stream"] for each in as_sent.of("RECORD"))
    maps = {name: {}, "Copy": {"__source__": name, "__filter__": "1 == 1"}}

    batched = run(batch_config=batch_config(tmp_path / "batches", "gzip"), stream_maps=maps)

    for alias in (name, "Copy"):
        assert len(batched.records(alias)) == len(as_sent.records(name))
    assert {each["stream"] for each in batched.of("BATCH")} == {
        each["stream"] for each in as_sent.of("RECORD") if each["stream"] != name
    }


def batch_config(folder: Path, compression: str) -> dict:
    folder.mkdir()
    return {
        "encoding": {"format": "jsonl", "compression": compression},
        "storage": {"root": folder.as_uri(), "prefix": "fno-"},
    }


def in_files(outcome: Outcome) -> list[tuple[str, str]]:
    found = []
    for message in outcome.of("BATCH"):
        for url in message["manifest"]:
            content = Path(url2pathname(urlsplit(url).path)).read_bytes()
            text = gzip.decompress(content) if message["encoding"]["compression"] == "gzip" else content
            found += [
                (message["stream"], json.dumps(digits(json.loads(line, parse_float=Decimal)), sort_keys=True))
                for line in text.splitlines()
            ]
    return found


def test_a_second_run_in_batches_goes_on_where_the_first_ended(box, tmp_path):
    settings = {"batch_config": batch_config(tmp_path / "batches", "gzip")}
    config = box.config(entities=["CustTransBiEntities"], page_size=SMALL, **settings)

    first = sync(config)
    second = sync(config, state=first.state)

    assert len(in_files(first)) == len(box.truth("CustTransBiEntities"))
    assert len(in_files(second)) < len(in_files(first))


def test_a_map_renames_drops_and_filters(box):
    config = box.config(
        entities=["CustomersV3", "UnitsOfMeasure"],
        stream_maps={
            "CustomersV3": {
                "__alias__": "customers",
                "__filter__": "dataAreaId == 'usmf'",
                "Name": "OrganizationName",
                "OrganizationName": None,
            },
            "UnitsOfMeasure": None,
        },
    )

    outcome = sync(config)

    truth = [row for row in box.truth("CustomersV3") if row["dataAreaId"] == "usmf"]
    assert sorted(each["Name"] for each in outcome.records("customers")) == sorted(
        each["OrganizationName"] for each in truth
    )
    assert not any("OrganizationName" in each for each in outcome.records("customers"))
    assert {each.get("stream") for each in outcome.messages} == {"customers", None}
    assert [each["stream"] for each in outcome.of("ACTIVATE_VERSION")] == ["customers"]


def test_a_hand_made_selection_brings_the_selected_columns_and_the_key(box):
    catalog = select(discover(box.config()), "CustomersV3")
    (entry,) = [each for each in catalog["streams"] if each["stream"] == "CustomersV3"]
    wanted = {"OrganizationName", "CreditLimit"}
    for each in entry["metadata"]:
        if each["breadcrumb"]:
            each["metadata"]["selected"] = each["breadcrumb"][1] in wanted

    as_sent = sync(box.config(), copy.deepcopy(catalog))
    mapped = sync(box.config(flattening_enabled=True, flattening_max_depth=1), copy.deepcopy(catalog))

    assert {name for each in as_sent.records("CustomersV3") for name in each} == {
        *wanted,
        "dataAreaId",
        "CustomerAccount",
    }
    assert set(as_sent.of("SCHEMA")[0]["schema"]["properties"]) == {*wanted, "dataAreaId", "CustomerAccount"}
    assert records(mapped) == records(as_sent)


@pytest.mark.parametrize(
    "maps", [{}, {"CustTransBiEntities": {"__filter__": "1 == 1"}}], ids=["as sent", "mapped"]
)
def test_a_bookmark_set_back_by_hand_brings_the_rows_since_then(box, maps):
    config = box.config(entities=["CustTransBiEntities"], stream_maps=maps, lookback_seconds=0)
    state = sync(config).state
    since = sorted(row["SysModifiedDateTime"] for row in box.truth("CustTransBiEntities"))[-20]
    for part in state["bookmarks"]["CustTransBiEntities"]["partitions"]:
        part["replication_key_value"] = since

    outcome = sync(config, state=state)

    expected = {
        (row["dataAreaId"], row["SourceKey"])
        for row in box.truth("CustTransBiEntities")
        if row["SysModifiedDateTime"] >= since
    }
    assert {(r["dataAreaId"], r["SourceKey"]) for r in outcome.records("CustTransBiEntities")} == expected


@pytest.mark.parametrize(
    "handed_over", ["2026-01-02T03:04:05.310137", "2026-01-02", "2026-01-02T03:04:05+00:00"]
)
def test_a_start_date_as_schedulers_hand_it_over_is_read_as_utc(box, handed_over):
    outcome = sync(box.config(entities=["CustTransBiEntities"], start_date=handed_over))

    stamps = [each["SysModifiedDateTime"] for each in outcome.records("CustTransBiEntities")]
    truth = [row["SysModifiedDateTime"] for row in box.truth("CustTransBiEntities")]
    since = handed_over[:10]
    assert outcome.error is None
    assert sorted(filter(None, stamps)) == sorted(each for each in truth if each > since)


def test_sweeps_tell_deletes_on_every_path(tmp_path, monkeypatch):
    with Sandbox(seed=11, switches={"companies.hidden": ""}) as sandbox:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(sandbox.ca_file))
        ways = {
            "as sent": {},
            "mapped": {"stream_maps": {"CustomersV3": {"__filter__": "1 == 1"}}},
            "flattened": {"flattening_enabled": True, "flattening_max_depth": 1},
        }
        configs = {
            way: sandbox.config(entities=["CustomersV3"], change_store=str(tmp_path / way), **settings)
            for way, settings in ways.items()
        }
        firsts = {way: sync(config) for way, config in configs.items()}
        gone = sandbox.truth("CustomersV3")[0]
        sandbox.dataset.delete("CustomersV3", (gone["dataAreaId"], gone["CustomerAccount"]))

        seconds = {way: sync(config, state=firsts[way].state) for way, config in configs.items()}

        for way, second in seconds.items():
            (deleted,) = [each for each in second.records("CustomersV3") if each["_sdc_deleted_at"]]
            assert deleted["CustomerAccount"] == gone["CustomerAccount"], way
            assert set(deleted) == set(seconds["as sent"].records("CustomersV3")[0]), way
            target = Target().apply(firsts[way].messages).apply(second.messages)
            assert len(target.rows["CustomersV3"]) == len(sandbox.truth("CustomersV3")), way
