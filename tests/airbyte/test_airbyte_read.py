"""A read speaks the protocol to the letter: statuses, states with counts, errors that say who can act."""

from __future__ import annotations

import json
from decimal import Decimal

import jsonschema
import pytest
from door import Door, configured

STAMPED, PLAIN, SMALL = "CustTransBiEntities", "CustomersV3", "ExchangeRates"
ENTITIES = [STAMPED, PLAIN, SMALL]


@pytest.fixture
def config(sandbox):
    return sandbox.config(entities=ENTITIES, page_size=50)


def test_the_program_speaks_protocol_alone(sandbox, config, program: Door):
    catalog = configured(program.discover(config).catalog)

    outcome = program.read(config, catalog)

    assert outcome.code == 0
    for stream in ENTITIES:
        assert outcome.statuses(stream) == ["STARTED", "RUNNING", "COMPLETE"]
        assert len(outcome.records(stream)) == len(sandbox.truth(stream))
    assert {each["level"] for each in outcome.of("LOG")} <= {"INFO", "DEBUG", "WARN", "ERROR"}


def test_messages_of_a_stream_stand_between_its_first_status_and_its_last(config, door: Door):
    outcome = door.read(config, configured(door.discover(config).catalog))

    open_stream, running = None, False
    for message in outcome.messages:
        if message["type"] == "TRACE" and message["trace"]["type"] == "STREAM_STATUS":
            told = message["trace"]["stream_status"]
            name, status = told["stream_descriptor"]["name"], told["status"]
            assert (open_stream is None) == (status == "STARTED")
            open_stream = None if status == "COMPLETE" else name
            running = status == "RUNNING"
        elif message["type"] == "RECORD":
            assert running
            assert message["record"]["stream"] == open_stream
        elif message["type"] == "STATE":
            assert message["state"]["stream"]["stream_descriptor"]["name"] == open_stream


def test_states_count_the_records_since_the_last_one(config, door: Door):
    outcome = door.read(config, configured(door.discover(config).catalog))

    seen = dict.fromkeys(ENTITIES, 0)
    counted = dict.fromkeys(ENTITIES, 0)
    for message in outcome.messages:
        if message["type"] == "RECORD":
            seen[message["record"]["stream"]] += 1
        if message["type"] == "STATE":
            name = message["state"]["stream"]["stream_descriptor"]["name"]
            counted[name] += int(message["state"]["sourceStats"]["recordCount"])
            assert counted[name] == seen[name]
    assert counted == seen


def test_the_number_of_rows_is_told_before_the_first(sandbox, config, door: Door):
    outcome = door.read(config, configured(door.discover(config).catalog, PLAIN))

    (estimate,) = outcome.traces("ESTIMATE")
    kinds = [each["type"] for each in outcome.of("TRACE")]
    assert estimate == {"name": PLAIN, "type": "STREAM", "row_estimate": len(sandbox.truth(PLAIN))}
    assert kinds == ["STREAM_STATUS", "ESTIMATE", "STREAM_STATUS", "STREAM_STATUS"]


@pytest.mark.parametrize("decimals", ["number", "string"])
def test_records_fit_their_schema_and_decimals_keep_every_digit(sandbox, door: Door, decimals):
    config = sandbox.config(decimals=decimals)
    catalog = door.discover(config).catalog

    outcome = door.read(config, configured(catalog))

    for stream in catalog["streams"]:
        check = jsonschema.Draft7Validator(stream["json_schema"])
        for record in outcome.records(stream["name"]):
            check.validate(
                {name: int(v) if isinstance(v, Decimal) and v == int(v) else v for name, v in record.items()}
            )
    sent = {json.dumps(str(row["Rate"])) for row in outcome.records(SMALL)}
    assert sent == {json.dumps(str(row["Rate"])) for row in sandbox.truth(SMALL)}
    assert all(isinstance(row["Rate"], str) == (decimals == "string") for row in outcome.records(SMALL))


def test_a_read_asks_for_no_metadata(sandbox, config, door: Door):
    catalog = configured(door.discover(config).catalog)
    before = len(sandbox.requests)

    outcome = door.read(config, catalog)

    assert outcome.code == 0
    assert not any("metadata" in each.path for each in list(sandbox.requests)[before:])


def test_a_catalog_without_our_keyword_is_read_all_the_same(sandbox, config, door: Door):
    catalog = configured(door.discover(config).catalog)
    for each in catalog["streams"]:
        del each["stream"]["json_schema"]["x-tap-d365fo"]

    outcome = door.read(config, catalog)

    assert outcome.code == 0
    assert {stream: len(outcome.records(stream)) for stream in ENTITIES} == {
        stream: len(sandbox.truth(stream)) for stream in ENTITIES
    }


def test_columns_that_were_taken_out_do_not_come(config, door: Door):
    catalog = configured(door.discover(config).catalog, PLAIN)
    columns = catalog["streams"][0]["stream"]["json_schema"]["properties"]
    catalog["streams"][0]["stream"]["json_schema"]["properties"] = {
        name: columns[name] for name in ("dataAreaId", "CustomerAccount", "CustomerGroupId")
    }

    outcome = door.read(config, catalog)

    assert {frozenset(each) for each in outcome.records(PLAIN)} == {
        frozenset({"dataAreaId", "CustomerAccount", "CustomerGroupId"})
    }


# -- state ---------------------------------------------------------------------------------------------------


def test_the_second_read_goes_on_where_the_first_ended(sandbox, config, door: Door):
    catalog = configured(door.discover(config).catalog, STAMPED)
    first = door.read(config, catalog)
    row = sandbox.truth(STAMPED)[0]
    sandbox.dataset.update(STAMPED, (row["dataAreaId"], row["SourceKey"]), {"Txt": "changed"})

    second = door.read(config, catalog, first.states)

    assert second.code == 0
    assert len(second.records(STAMPED)) < len(first.records(STAMPED))
    assert "changed" in {each["Txt"] for each in second.records(STAMPED)}


def test_a_full_refresh_starts_from_nothing_and_leaves_nothing_behind(sandbox, config, door: Door):
    catalog = door.discover(config).catalog
    first = door.read(config, configured(catalog, STAMPED))

    full = door.read(config, configured(catalog, STAMPED, mode="full_refresh"), first.states)
    after = door.read(config, configured(catalog, STAMPED), full.states)

    assert len(full.records(STAMPED)) == len(after.records(STAMPED)) == len(sandbox.truth(STAMPED))
    assert full.state_of(STAMPED) == {}


def test_a_full_refresh_reads_all_whatever_method_the_options_name(sandbox, config, door: Door):
    config["entity_options"] = {STAMPED: {"method": "timestamp"}}
    catalog = door.discover(config).catalog
    first = door.read(config, configured(catalog, STAMPED))

    full = door.read(config, configured(catalog, STAMPED, mode="full_refresh"), first.states)

    assert len(full.records(STAMPED)) == len(sandbox.truth(STAMPED))


@pytest.mark.parametrize(
    ("first", "then"), [("full_refresh", "incremental"), ("incremental", "full_refresh")]
)
def test_an_unfinished_read_is_not_taken_up_in_another_mode(sandbox, config, door: Door, first, then):
    catalog = door.discover(config).catalog
    sandbox.faults.add("permanent-400", path=f"/data/{STAMPED}", nth=range(3, 99))
    part = door.read(config, configured(catalog, STAMPED, mode=first))
    sandbox.faults.clear()
    assert "progress" in part.state_of(STAMPED)

    whole = door.read(config, configured(catalog, STAMPED, mode=then), part.states)

    assert whole.code == 0
    assert len(whole.records(STAMPED)) == len(sandbox.truth(STAMPED))


def test_an_interrupted_read_resumes(sandbox, config, door: Door):
    catalog = configured(door.discover(config).catalog, PLAIN)
    sandbox.faults.add("permanent-400", path=f"/data/{PLAIN}", nth=range(3, 99))
    part = door.read(config, catalog)
    sandbox.faults.clear()

    rest = door.read(config, catalog, part.states)

    assert part.code == 1
    assert part.statuses(PLAIN)[-1] == "INCOMPLETE"
    assert 0 < len(rest.records(PLAIN)) < len(sandbox.truth(PLAIN))
    keys = {
        (each["dataAreaId"], each["CustomerAccount"]) for each in part.records(PLAIN) + rest.records(PLAIN)
    }
    assert len(keys) == len(sandbox.truth(PLAIN))


def test_a_further_attempt_of_a_job_does_not_send_a_finished_refresh_twice(
    sandbox, config, door: Door, monkeypatch
):
    monkeypatch.setenv("WORKER_JOB_ID", "41")
    catalog = configured(door.discover(config).catalog, PLAIN, SMALL)
    first = door.read(config, catalog)

    attempt = door.read(config, catalog, first.states)
    monkeypatch.setenv("WORKER_JOB_ID", "42")
    job = door.read(config, catalog, first.states)

    assert attempt.of("RECORD") == []
    assert attempt.statuses(PLAIN) == ["STARTED", "RUNNING", "COMPLETE"]
    assert attempt.states == first.states
    assert len(job.records(PLAIN)) == len(sandbox.truth(PLAIN))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"bookmarks": {}}, "list of per-stream states"),
        ([{"type": "LEGACY", "data": {"x": 1}}], "LEGACY"),
        ([{"type": "GLOBAL", "global": {"stream_states": []}}], "GLOBAL"),
        ([{"type": "STREAM"}], "stream descriptor"),
        (
            [
                {
                    "type": "STREAM",
                    "stream": {"stream_descriptor": {"name": PLAIN}, "stream_state": {"cursor": 1}},
                }
            ],
            PLAIN,
        ),
        ([{"type": "STREAM", "stream": {"stream_descriptor": {"name": PLAIN}, "stream_state": [1]}}], PLAIN),
        (
            [
                {
                    "type": "STREAM",
                    "stream": {"stream_descriptor": {"name": PLAIN}, "stream_state": {"partitions": 3}},
                }
            ],
            PLAIN,
        ),
        ("{", "state.json cannot be read"),
    ],
)
def test_a_state_of_another_shape_is_refused_in_words(config, door: Door, state, words):
    catalog = configured(door.discover(config).catalog, PLAIN)

    outcome = door.read(config, catalog, state)

    assert outcome.code == 1
    assert outcome.of("RECORD") == []
    (error,) = outcome.errors
    assert words in error["message"]
    assert error["failure_type"] == "config_error"


@pytest.mark.parametrize("state", [[], {}, "null"])
def test_no_state_in_any_spelling_is_a_beginning(config, door: Door, state):
    outcome = door.read(config, configured(door.discover(config).catalog, SMALL), state)

    assert outcome.code == 0
    assert outcome.records(SMALL)


# -- what goes wrong -----------------------------------------------------------------------------------------


def test_others_are_read_when_one_fails(sandbox, config, door: Door):
    catalog = configured(door.discover(config).catalog)
    sandbox.faults.add("denied-entity", path=f"/data/{PLAIN}")

    outcome = door.read(config, catalog)

    assert outcome.code == 1
    (error,) = outcome.errors
    assert error["stream_descriptor"] == {"name": PLAIN}
    assert error["failure_type"] == "config_error"
    assert error["internal_message"].startswith("AccessDeniedError")
    assert outcome.statuses(PLAIN) == ["STARTED", "INCOMPLETE"]
    for other in (STAMPED, SMALL):
        assert outcome.statuses(other)[-1] == "COMPLETE"
        assert len(outcome.records(other)) == len(sandbox.truth(other))


def test_nothing_of_a_failed_stream_follows_its_last_status(sandbox, config, door: Door):
    catalog = configured(door.discover(config).catalog)
    sandbox.faults.add("permanent-400", path=f"/data/{PLAIN}", nth=range(3, 99))

    outcome = door.read(config, catalog)

    at = next(
        index
        for index, each in enumerate(outcome.messages)
        if each.get("trace", {}).get("stream_status", {}).get("status") == "INCOMPLETE"
    )
    after = [each for each in outcome.messages[at + 1 :] if each["type"] in ("RECORD", "STATE")]
    assert outcome.records(PLAIN)
    assert not any(PLAIN in json.dumps(each, default=str) for each in after)


def test_a_refused_sign_in_is_told_once_and_ends_the_run(config, door: Door):
    catalog = configured(door.discover(config).catalog)

    outcome = door.read({**config, "client_secret": "wrong-secret-value"}, catalog)

    assert outcome.code == 1
    (error,) = outcome.errors
    assert error["failure_type"] == "config_error"
    assert "secret" in error["message"]
    assert "wrong-secret-value" not in outcome.text
    assert outcome.statuses(STAMPED) == ["STARTED", "INCOMPLETE"]


@pytest.mark.parametrize("schema", [{}, {"type": "object", "properties": {"a": {"type": "string"}}}])
def test_an_unknown_stream_is_an_error_by_name(config, door: Door, schema):
    stream = {"name": "NoSuchEntities", "json_schema": schema, "supported_sync_modes": ["full_refresh"]}

    outcome = door.read(
        config,
        {"streams": [{"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "append"}]},
    )

    assert outcome.code == 1
    (error,) = outcome.errors
    assert "NoSuchEntities" in error["message"]
    assert error["failure_type"] == "config_error"


def test_a_stream_that_is_gone_since_discovery_fails_alone(sandbox, config, door: Door):
    catalog = configured(door.discover(config).catalog, PLAIN, SMALL)
    text = json.dumps(catalog).replace(PLAIN, "CustomersV9")

    outcome = door.read(config, text)

    assert outcome.code == 1
    assert outcome.statuses("CustomersV9") == ["STARTED", "INCOMPLETE"]
    assert len(outcome.records(SMALL)) == len(sandbox.truth(SMALL))


def test_a_stream_that_cannot_be_incremental_is_read_whole_as_clients_expect(sandbox, config, door: Door):
    catalog = configured(door.discover(config).catalog, PLAIN, mode="incremental")
    first = door.read(config, catalog)

    second = door.read(config, catalog, first.states)

    assert second.code == 0
    assert len(second.records(PLAIN)) == len(sandbox.truth(PLAIN))
    assert any("incrementally" in each["message"] for each in second.of("LOG"))


@pytest.mark.parametrize(
    ("config_", "words"), [("{", "cannot be read"), ("[]", "settings"), ("{}", "environment_url")]
)
def test_broken_settings_are_one_error(door: Door, config_, words):
    outcome = door.discover(config_)

    assert outcome.code == 1
    (error,) = outcome.errors
    assert words in error["message"]
    assert error["failure_type"] == "config_error"


def test_an_unexpected_error_is_told_with_its_trace(config, door: Door, monkeypatch):
    monkeypatch.setattr("tap_d365fo.airbyte.catalog.to_stream", lambda _: 1 / 0)

    outcome = door.discover(config)

    assert outcome.code == 1
    (error,) = outcome.errors
    assert error["failure_type"] == "system_error"
    assert "ZeroDivisionError" in error["stack_trace"]


def test_a_reader_that_goes_away_is_no_stack_of_errors(config, program: Door):
    import subprocess

    from door import PROGRAM

    catalog = configured(program.discover(config).catalog)
    (program.folder / "catalog.json").write_text(json.dumps(catalog))
    arguments = ["read", "--config", str(program.folder / "config.json")]

    with subprocess.Popen(
        [str(PROGRAM), *arguments, "--catalog", str(program.folder / "catalog.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read().decode()
        code = process.wait(30)

    assert code == 1
    assert "Traceback" not in said
