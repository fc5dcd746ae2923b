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

WORK = ROOT / ".meltano-run"
STREAMS = ["CustomersV3", "SalesOrderHeadersV2", "MainAccounts", "ExchangeRates", "CustTransBiEntities"]


def main() -> None:
    """Run everything; ends with code 1 where a value differs."""
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
        run("run", "tap-d365fo", "target-jsonl")
        state = json.loads(run("state", "get", "dev:tap-d365fo-to-target-postgres"))
        print(f"state get names {len(state['singer_state']['bookmarks'])} streams.")
    show(rows)
    if any(different for *_, different in rows):
        raise SystemExit(1)


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

    def __call__(self, *arguments: str) -> str:
        print("* meltano", *arguments, flush=True)
        done = subprocess.run(
            [self._program, *arguments],
            cwd=WORK,
            env=self._variables,
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
