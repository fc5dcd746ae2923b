"""`make meltano`: the project's own meltano.yml against the sandbox and a real PostgreSQL, compared with the truth.

Every command is one that a user would type; the copy of meltano.yml differs in nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from environments import ROOT, environment
from postgres import Postgres, postgres
from sandbox_process import Sandbox

WORK = ROOT / ".demo" / "meltano"
STREAMS = ["CustomersV3", "SalesOrderHeadersV2", "MainAccounts", "ExchangeRates", "CustTransBiEntities"]


TYPES = {
    "number": "numeric",
    "integer": "bigint",
    "date": "date",
    "uuid": "uuid",
    "date-time": "timestamp without time zone",
    "string": "text",
}
"""The PostgreSQL type of each kind of value."""


def main() -> None:
    """Run everything; ends with code 1 where a value or a type differs."""
    check_schema()
    meltano = environment("meltano", "meltano>=4,<5") / "meltano"
    tap = environment("tap", editable=True)
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "output").mkdir(parents=True)
    text = (ROOT / "meltano.yml").read_text(encoding="utf-8")
    (WORK / "meltano.yml").write_text(text.replace("pip_url: -e .", f"pip_url: -e {ROOT}"), encoding="utf-8")
    with Sandbox(tap, WORK, "--switch", "companies.hidden=") as sandbox, postgres() as server:
        run = Meltano(meltano, sandbox, server)
        run("install")
        run("config", "test", "tap-d365fo")
        listed = run("select", "tap-d365fo", "--list")
        print(f"select --list names {sum(stream in listed for stream in STREAMS)} of {len(STREAMS)} streams.")
        rows = []
        for title, change, arguments in (
            ("first run", False, ("run", "tap-d365fo", "target-postgres")),
            ("after changes", True, ("run", "tap-d365fo", "target-postgres")),
            ("full refresh", False, ("run", "--full-refresh", "tap-d365fo", "target-postgres")),
        ):
            if change:
                sandbox.advance()
            run(*arguments)
            rows += [(title, *compared) for compared in compare(sandbox, server)]
        wrong_types = compare_types(server, discovered())
        run("run", "tap-d365fo", "target-jsonl")
        relative = {"TAP_D365FO_START_DATE": "6 months ago"}
        run("run", "--full-refresh", "tap-d365fo", "target-jsonl", **relative)
        print("A relative start_date (6 months ago) is taken.")
        state = json.loads(run("state", "get", "dev:tap-d365fo-to-target-postgres"))
        print(f"state get names {len(state['singer_state']['bookmarks'])} streams.")
    show(rows)
    print(f"\nColumns of another type than promised: {', '.join(wrong_types) or 'none'}.")
    if wrong_types or any(different for *_, different in rows):
        raise SystemExit(1)


def check_schema() -> None:
    """Check meltano.yml by Meltano's own JSON Schema."""
    checker = environment("check-jsonschema", "check-jsonschema>=0.33,<1") / "check-jsonschema"
    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.meltano", ROOT / "meltano.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"meltano.yml does not follow Meltano's schema:\n{done.stdout}")
    print("* meltano.yml follows Meltano's schema.", flush=True)


class Meltano:
    """Meltano in a project folder of its own, with the sandbox's credentials in its environment."""

    def __init__(self, program: Path, sandbox: Sandbox, server: Postgres) -> None:
        self._program = str(program)
        settings = {name: value for name, value in sandbox.config.items() if isinstance(value, str)}
        self._variables = {
            **sandbox.variables,
            **{f"TAP_D365FO_{name.upper()}": value for name, value in settings.items()},
            "TARGET_POSTGRES_PORT": str(server.port),
            "TARGET_POSTGRES_PASSWORD": "unused",
            "MELTANO_CLI_LOG_LEVEL": "warning",
            "NO_COLOR": "1",
        }

    def __call__(self, *arguments: str, **variables: str) -> str:
        print("* meltano", *arguments, flush=True)
        done = subprocess.run(
            [self._program, *arguments],
            cwd=WORK,
            env={**self._variables, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(
                f"meltano {' '.join(arguments)} ended with {done.returncode}:\n"
                f"{done.stdout[-3000:]}{done.stderr[-5000:]}"
            )
        return done.stdout


def compare(sandbox: Sandbox, server: Postgres) -> list[tuple[str, int, int, int]]:
    """Return stream, rows of the truth, rows of the table, and how many rows differ."""
    found = []
    for stream in STREAMS:
        truth = sandbox.truth(stream)
        names = list(truth[0])
        columns = ", ".join(f'"{name}"::text as "{name}"' for name in names)
        held = server.query(f'select {columns} from fno."{stream}" where _sdc_deleted_at is null')
        there = sorted(_canonical(row) for row in held)
        expected = sorted(_canonical(row) for row in truth)
        different = len(set(there) ^ set(expected))
        if stream == "CustTransBiEntities":
            different = len(set(expected) - set(there))  # a stamp tells no deletes: rows that are gone stay
        found.append((stream, len(truth), len(held), different))
    return found


def discovered() -> dict[str, dict]:
    """Return the properties of the discovered streams, from the catalog that Meltano keeps."""
    path = next((WORK / ".meltano" / "run").rglob("tap.properties*.json"))
    streams = json.loads(path.read_text(encoding="utf-8"))["streams"]
    return {each["stream"]: each["schema"]["properties"] for each in streams}


def compare_types(server: Postgres, properties: dict[str, dict]) -> list[str]:
    """Return the columns whose type is not the one for their kind of value."""
    found = server.query(
        "select table_name, column_name, data_type from information_schema.columns where table_schema = 'fno'"
    )
    wrong = []
    for each in found:
        column = properties.get(each["table_name"], {}).get(each["column_name"])
        if column is None or each["column_name"].startswith("_sdc_"):
            continue
        kind = column.get("format") or next(kind for kind in TYPES if kind in column["type"])
        if each["data_type"] != TYPES.get(kind, "text"):
            wrong.append(f"{each['table_name']}.{each['column_name']} ({each['data_type']})")
    return wrong


def _canonical(row: dict) -> str:
    return json.dumps({name: _value(value) for name, value in row.items()}, sort_keys=True)


def _value(value: object) -> object:
    """Spell a value in one way: numbers by value, dates by day where they are dates, empty dates as null."""
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    if text.startswith("1900-01-01"):
        return None
    if re.match(r"\d{4}-\d\d-\d\d", text):  # a date, or a moment at noon or midnight
        day, _, time = text.replace(" ", "T").removesuffix("Z").partition("T")
        return day if time in ("", "12:00:00", "00:00:00") else f"{day}T{time.partition('+')[0]}"
    try:
        return f"{Decimal(text).normalize():f}"
    except ArithmeticError:
        return text


def show(rows: list[tuple[str, str, int, int, int]]) -> None:
    """Print what was compared."""
    print(f"\n{'run':<15}{'stream':<26}{'truth':>8}{'PostgreSQL':>12}{'different':>11}")
    for title, stream, truth, held, different in rows:
        print(f"{title:<15}{stream:<26}{truth:>8,}{held:>12,}{different:>11,}")


if __name__ == "__main__":
    sys.exit(main())
