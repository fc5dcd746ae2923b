"""Real targets hold what the environment held: every value, every type, deletes and versions too."""

from __future__ import annotations

import json
from decimal import Decimal

STREAMS = ["CustomersV3", "LedgerJournalLines", "ExchangeRates", "CustTransBiEntities"]


def _plain(value):
    """Numbers by value, everything else as it is."""
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return Decimal(str(value)).normalize() if is_number else value


def _expected(row: dict, schema: dict, key: list[str]) -> dict:
    record = {}
    for name, value in row.items():
        form = schema["properties"][name].get("format")
        sent = value
        if form in ("date", "date-time") and value is not None:
            if value.startswith("1900-01-01") and name not in key:
                sent = None
            else:
                sent = value[:10] if form == "date" else value.replace("Z", "")
        record[name] = _plain(sent)
    return record


def _schema(words: bytes, stream: str) -> dict:
    messages = (json.loads(line) for line in words.splitlines() if line.startswith(b'{"type":"SCHEMA"'))
    return next(message for message in messages if message["stream"] == stream)


def _held(server, stream: str, names: list[str]) -> list[dict]:
    """Read a table back; numbers as text first, so that no digit is lost on the way."""
    columns = ", ".join(f'"{name}"::text as "{name}"' for name in names)
    return server.query(f'select {columns} from fno."{stream}"')


def _as_text(value):
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value


def _rows(rows: list[dict], numbers: set[str]) -> list[str]:
    def text(name, value):
        if value is not None and name in numbers:
            return f"{Decimal(value).normalize():f}"
        return value

    return sorted(
        json.dumps({name: text(name, value) for name, value in row.items()}, sort_keys=True) for row in rows
    )


def test_postgresql_holds_every_value_and_loses_what_was_deleted(
    sandbox, server, target_postgres, into_postgres, pipe, tmp_path
):
    config = sandbox.config(entities=STREAMS, change_store=str(tmp_path / "store"))

    first = pipe(target_postgres, into_postgres, config)
    _compare(sandbox, server, first)
    gone = sandbox.truth("CustomersV3")[0]
    sandbox.dataset.delete("CustomersV3", (gone["dataAreaId"], gone["CustomerAccount"]))
    sandbox.dataset.advance(3)
    second = pipe(target_postgres, into_postgres, config)

    assert len(second.splitlines()) < len(first.splitlines()) / 2
    _compare(sandbox, server, first, without="CustTransBiEntities")


def _compare(sandbox, server, read, *, without: str = "") -> None:
    for stream in STREAMS:
        if stream == without:
            continue
        message = _schema(read, stream)
        truth = sandbox.truth(stream)
        names = list(truth[0])
        properties = message["schema"]["properties"]
        numbers = {
            name for name in names if any(kind in properties[name]["type"] for kind in ("number", "integer"))
        }
        stamps = [name for name in names if properties[name].get("format") == "date-time"]
        held = _held(server, stream, names)
        for row in held:
            for name in stamps:
                row[name] = row[name] and row[name].partition("+")[0].replace(" ", "T")
        expected = [_expected(row, message["schema"], message["key_properties"]) for row in truth]
        expected = [{name: _as_text(value) for name, value in row.items()} for row in expected]
        assert _rows(held, numbers) == _rows(expected, numbers), stream


def test_jsonl_files_hold_the_servers_own_digits(installed, sandbox, pipe, tmp_path):
    target = installed["target-jsonl"] / "target-jsonl"
    stream = "LedgerJournalLines"

    pipe(
        target,
        {"destination_path": str(tmp_path), "do_timestamp_file": False},
        sandbox.config(entities=[stream]),
    )

    lines = (tmp_path / f"{stream}.jsonl").read_text().splitlines()
    records = [json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in lines]
    digits = sorted(str(record["DebitAmount"]) for record in records)
    assert digits == sorted(str(row["DebitAmount"]) for row in sandbox.truth(stream))
