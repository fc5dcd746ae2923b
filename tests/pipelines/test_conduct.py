"""How the tap gets on with other people's programs: checkers, batch readers, and targets with tastes in names."""

from __future__ import annotations

import json
import subprocess

UNITS = "UnitsOfMeasure"
TOO_LONG = "AColumnWhoseNameIsLongerThanTheSixtyThreeCharactersThatPostgreSqlAllows"


def test_singers_own_checker_finds_nothing_wrong(sandbox, installed, read, tmp_path):
    checker = installed["singer-tools"] / "singer-check-tap"
    config = sandbox.config(
        entities=["CustomersV3", "MainAccounts", "CustTransBiEntities", "CashControlConfigurations"],
        change_store=str(tmp_path / "store"),
        page_size=50,
    )

    for _ in range(2):
        words = read(config)
        done = subprocess.run([checker], input=words, capture_output=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        states = [json.loads(line) for line in words.splitlines() if line.startswith(b'{"type":"STATE"')]
        (tmp_path / "state.json").write_text(json.dumps(states[-1]["value"]))
        sandbox.dataset.advance(1)


def test_batch_files_land_whole_and_are_not_taken_for_old_versions(
    sandbox, server, target_postgres, into_postgres, pipe, tmp_path
):
    storage = {"root": (tmp_path / "batches").as_uri()}
    (tmp_path / "batches").mkdir()
    config = sandbox.config(
        entities=["MainAccounts"],
        page_size=25,
        batch_config={"encoding": {"format": "jsonl", "compression": "gzip"}, "storage": storage},
    )
    settings = {**into_postgres, "default_target_schema": "batches"}

    for _ in range(2):
        pipe(target_postgres, settings, config)

    held = server.query('select "MainAccountId" from batches."MainAccounts"')
    assert sorted(row["MainAccountId"] for row in held) == sorted(
        row["MainAccountId"] for row in sandbox.truth("MainAccounts")
    )


def test_a_name_too_long_for_postgresql_is_refused_and_a_map_shortens_it(
    sandbox, server, target_postgres, into_postgres, read, write
):
    settings = {**into_postgres, "default_target_schema": "names"}
    long = {UNITS: {TOO_LONG: "UnitDescription"}}
    # Two columns that differ in case alone stay apart, too.
    short = {UNITS: {"__alias__": "units", "unitsymbol": "UnitDescription", "UnitDescription": None}}

    refused = write(target_postgres, settings, read(sandbox.config(entities=[UNITS], stream_maps=long)))
    taken = write(target_postgres, settings, read(sandbox.config(entities=[UNITS], stream_maps=short)))

    assert refused.returncode != 0
    assert TOO_LONG.encode() in refused.stderr
    assert taken.returncode == 0, taken.stderr.decode()[-2000:]
    truth = {row["UnitSymbol"]: row["UnitDescription"] for row in sandbox.truth(UNITS)}
    held = server.query('select "UnitSymbol", unitsymbol from names.units')
    assert {row["UnitSymbol"]: row["unitsymbol"] for row in held} == truth


POSTGRESQL_TYPES = {
    "number": "numeric",
    "integer": "bigint",
    "date": "date",
    "date-time": "timestamp without time zone",
    "string": "text",
}


def kind_of(column: dict) -> str:
    return column.get("format") or next(kind for kind in POSTGRESQL_TYPES if kind in column["type"])


def test_postgresql_gives_each_kind_of_value_its_type(sandbox, server, target_postgres, into_postgres, pipe):
    streams = ["LedgerJournalLines", "CustTransBiEntities"]

    words = pipe(
        target_postgres,
        {**into_postgres, "default_target_schema": "types"},
        sandbox.config(entities=streams),
    )

    messages = [json.loads(line) for line in words.splitlines() if line.startswith(b'{"type":"SCHEMA"')]
    expected = {
        (each["stream"], name): POSTGRESQL_TYPES[kind_of(column)]
        for each in messages
        for name, column in each["schema"]["properties"].items()
    }
    found = server.query(
        "select table_name, column_name, data_type from information_schema.columns where table_schema = 'types'"
    )
    types = {(each["table_name"], each["column_name"]): each["data_type"] for each in found}
    assert {place: types[place] for place in expected} == expected
    assert set(expected.values()) == set(POSTGRESQL_TYPES.values())
