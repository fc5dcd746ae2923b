"""`make targets`: the tap into every Singer target that installs today; writes the tables of docs/targets.md.

The tap runs once for each probe; what it said is fed to every target, and what a target holds afterwards is
compared with the sandbox's truth.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from environments import ROOT, environment
from postgres import Postgres, postgres
from sandbox_process import Sandbox

WORK = ROOT / ".demo" / "targets"
PAGE = ROOT / "docs" / "targets.md"
START, END = "<!-- matrix: written by make targets -->", "<!-- /matrix -->"

SWEPT, FULL, KEYLESS = "CustomersV3", "MainAccounts", "CashControlConfigurations"
STREAMS = [
    SWEPT,
    FULL,
    "VendorsV2",
    "LedgerJournalLines",
    "GeneralJournalAccountEntryBiEntities",
    "CustTransBiEntities",
]
LONG = "ANameThatIsLongerThanPostgreSqlAllowsWhichIsSixtyThreeCharacters"  # 64, and a tail
NAME_LIMIT = 63
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Probe:
    """One question, asked by what the tap says under these settings."""

    name: str
    streams: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)


UNITS = "UnitsOfMeasure"
PROBES = (
    Probe("keyless", (KEYLESS,)),
    Probe("batch", (FULL,), {"batch_config": "filled in below"}),
    Probe(
        "long",
        (UNITS,),
        {
            "stream_maps": {
                UNITS: {
                    "__alias__": f"{LONG}Stream",
                    f"{LONG}First": "UnitSymbol",
                    f"{LONG}Second": "UnitDescription",
                }
            }
        },
    ),
    Probe("case", (UNITS,), {"stream_maps": {UNITS: {"unitsymbol": "UnitDescription"}}}),
)


@dataclass(frozen=True)
class Target:
    """A target: what to install, how to set it up, how to read back what it holds."""

    name: str
    packages: tuple[str, ...]
    program: str
    settings: Callable[[Path, Postgres], dict[str, Any]]
    read: Callable[[Path, Postgres, str], Rows]

    @property
    def version(self) -> str:
        """The packages as installed, for people."""
        return " with ".join(each.replace("==", " ") for each in self.packages)


# -- reading back --------------------------------------------------------------------------------------------


def from_postgres(work: Path, server: Postgres, stream: str) -> Rows:
    """Return a table's rows, every value as text."""
    schema = schema_of(work)
    tables = server.query(
        f"select table_name from information_schema.tables where table_schema = '{schema}' "
        f"and lower(table_name) = '{stream.lower()[:NAME_LIMIT]}'"
    )
    if not tables:
        return []
    table = tables[0]["table_name"]
    columns = server.query(
        f"select column_name from information_schema.columns "
        f"where table_schema = '{schema}' and table_name = '{table}'"
    )
    listed = ", ".join(f'"{each["column_name"]}"::text' for each in columns)
    return server.query(f'select {listed} from {schema}."{table}"')


DUCKDB_READER = """
import duckdb, json, sys
path, stream = sys.argv[1:]
base = duckdb.connect(path)
found = base.execute("select table_name from information_schema.tables where lower(table_name) = ?",
                     [stream.lower()]).fetchall()
rows = []
if found:
    told = base.execute(f'select columns(*)::varchar from fno."{found[0][0]}"')
    names = [each[0] for each in told.description]
    rows = [dict(zip(names, row)) for row in told.fetchall()]
print(json.dumps(rows))
"""


def from_duckdb(name: str) -> Callable[[Path, Postgres, str], Rows]:
    """Return a reader that asks the duckdb of the target's own environment."""

    def read(work: Path, _: Postgres, stream: str) -> Rows:
        path = work / "warehouse.duckdb"
        python = ROOT / ".envs" / name / "bin" / "python"
        if not path.exists():
            return []
        return json.loads(subprocess.check_output([python, "-c", DUCKDB_READER, path, stream], text=True))

    return read


def from_jsonl(work: Path, _: Postgres, stream: str) -> Rows:
    """Return the lines of a file as records, numbers as text."""
    lines: Iterable[str] = []
    with suppress(StopIteration):
        path = next(each for each in work.rglob("*.jsonl") if each.name.startswith(stream))
        lines = path.read_text(encoding="utf-8").splitlines()
    read = [json.loads(line, parse_float=str, parse_int=str) for line in lines]
    messages = [each for each in read if each.get("type") in ("RECORD", "SCHEMA", "STATE")]
    return [each["record"] for each in messages if each["type"] == "RECORD"] if messages else read


def from_csv(work: Path, _: Postgres, stream: str) -> Rows:
    """Return the lines of a file as records."""
    path = work / f"{stream}.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def schema_of(work: Path) -> str:
    """Return a schema name of this target's and probe's own."""
    return f"{work.parent.name}_{work.name}".replace("-", "_").lower()


def duckdb_settings(work: Path, _: Postgres) -> dict[str, Any]:
    """Return where target-duckdb puts its file."""
    return {
        "filepath": str(work / "warehouse.duckdb"),
        "database_name": "warehouse",
        "default_target_schema": "fno",
        "add_metadata_columns": True,
        "hard_delete": True,
    }


def connection(server: Postgres) -> dict[str, Any]:
    """Return how a target reaches the server."""
    return {"host": "127.0.0.1", "port": server.port, "user": "postgres", "password": "unused"}


def sdk_postgres_settings(work: Path, server: Postgres) -> dict[str, Any]:
    """Return what meltanolabs-target-postgres is told."""
    return {
        **connection(server),
        "database": "postgres",
        "default_target_schema": schema_of(work),
        "activate_version": True,
        "hard_delete": True,
    }


def wise_postgres_settings(work: Path, server: Postgres) -> dict[str, Any]:
    """Return what pipelinewise-target-postgres is told."""
    return {
        **connection(server),
        "dbname": "postgres",
        "default_target_schema": schema_of(work),
        "hard_delete": True,
        "primary_key_required": False,
    }


TARGETS = (
    Target(
        "target-postgres",
        ("meltanolabs-target-postgres==0.8.1",),
        "target-postgres",
        sdk_postgres_settings,
        from_postgres,
    ),
    Target(
        "pipelinewise-postgres",
        ("pipelinewise-target-postgres==2.1.2",),
        "target-postgres",
        wise_postgres_settings,
        from_postgres,
    ),
    Target(
        "target-duckdb",
        ("target-duckdb==0.8.0", "duckdb==1.2.2"),
        "target-duckdb",
        duckdb_settings,
        from_duckdb("target-duckdb"),
    ),
    Target(
        "target-duckdb-newest",
        ("target-duckdb==0.8.0", "duckdb==1.3.2"),
        "target-duckdb",
        duckdb_settings,
        from_duckdb("target-duckdb-newest"),
    ),
    Target(
        "target-jsonl",
        ("target-jsonl==0.1.4",),
        "target-jsonl",
        lambda work, _: {"destination_path": str(work), "do_timestamp_file": False},
        from_jsonl,
    ),
    Target(
        "csv",
        ("meltanolabs-target-csv==0.5.0",),
        "target-csv",
        lambda work, _: {"output_path": str(work), "add_record_metadata": True},
        from_csv,
    ),
    Target(
        "singer-jsonl",
        ("target-singer-jsonl==0.1.0",),
        "target-singer-jsonl",
        lambda work, _: {"destination": "local", "local": {"folder": str(work)}},
        from_jsonl,
    ),
)

OTHERS = {
    "target-csv==0.3.0": "target-csv",
    "target-sqlite==0.2.0": "target-sqlite",
    "target-parquet==0.0.1": "target-parquet",
    "target-postgres==1.1.3": "target-postgres",
    "meltanolabs-target-snowflake==0.20.4": "target-snowflake",
}
"""Targets that do not install, do not start, or need an account; tried so that the page says what is so today."""


# -- what the tap says ---------------------------------------------------------------------------------------


class Tap:
    """The installed tap, its words kept as files."""

    def __init__(self, program: Path, sandbox: Sandbox) -> None:
        self._program, self._sandbox = program, sandbox

    def says(self, name: str, state: bytes | None = None, **settings: Any) -> bytes:
        """Run the tap and return its output."""
        config, given = WORK / f"{name}-config.json", WORK / f"{name}-state.json"
        config.write_text(json.dumps({**self._sandbox.config, **settings}))
        given.write_bytes(state or b"{}")
        command = [str(self._program), "--config", str(config), "--state", str(given)]
        return subprocess.run(command, env=self._sandbox.variables, stdout=subprocess.PIPE, check=True).stdout


def last_state(output: bytes) -> bytes:
    """Return the value of the last STATE."""
    states = [json.loads(line) for line in output.splitlines() if line.startswith(b'{"type":"STATE"')]
    return json.dumps(states[-1]["value"]).encode()


def schemas(output: bytes) -> dict[str, dict[str, Any]]:
    """Return the SCHEMA messages by stream."""
    found = (json.loads(line) for line in output.splitlines() if line.startswith(b'{"type":"SCHEMA"'))
    return {each["stream"]: each for each in found}


# -- comparing -----------------------------------------------------------------------------------------------


def kind_of(column: dict[str, Any]) -> str:
    """Return the kind of a column, in the words of the table."""
    by_format = {"date": "dates", "date-time": "instants"}.get(column.get("format", ""))
    by_type = next((word for name, word in KINDS.items() if name in column["type"]), "texts")
    return by_format or by_type


KINDS = {"integer": "integers", "number": "decimals", "boolean": "booleans"}


def plain(value: Any, kind: str) -> Any:
    """Return a value in one spelling, so that equal values are equal."""
    if value is None:
        return None
    try:
        return SPELLINGS.get(kind, str)(value)
    except (ValueError, ArithmeticError):
        return f"unreadable: {value}"


SPELLINGS: dict[str, Callable[[Any], Any]] = {
    "integers": lambda value: int(Decimal(str(value))),
    "decimals": lambda value: Decimal(str(value)),
    "dates": lambda value: date.fromisoformat(str(value)[:10]),
    "instants": lambda value: datetime.fromisoformat(str(value).replace("Z", "")[:19]),
    "booleans": lambda value: str(value).lower(),
}


def compare(schema: dict[str, Any], truth: Rows, held: Rows) -> Counter[tuple[str, str]]:
    """Count values by kind, and by whether they arrived as they were."""
    columns, key = schema["schema"]["properties"], schema["key_properties"]
    held = [{name.lower(): value for name, value in row.items()} for row in held]
    by_key = {
        tuple(plain(row.get(each.lower()), kind_of(columns[each])) for each in key): row for row in held
    }
    found: Counter[tuple[str, str]] = Counter()
    for row in truth:
        place = tuple(plain(row[each], kind_of(columns[each])) for each in key)
        there = by_key.get(place)
        found["rows", "lost" if there is None else "kept"] += 1
        for name, value in row.items() if there is not None else ():
            kind = kind_of(columns[name])
            is_empty_date = (
                str(value).startswith("1900-01-01") and name not in key and kind in ("dates", "instants")
            )
            expected = None if is_empty_date else plain(value, kind)
            arrived = plain(there.get(name.lower()), kind)
            shown = "nulls" if expected is None else "empty texts" if expected == "" else kind
            found[shown, "kept" if arrived == expected else "lost"] += 1
    return found


def fate(schema: dict[str, Any], gone: dict[str, Any], held: Rows) -> str:
    """Say what became of a row that is gone in the environment."""
    key = schema["key_properties"]
    rows = [{name.lower(): value for name, value in row.items()} for row in held]
    same = [row for row in rows if all(str(row.get(each.lower())) == str(gone[each]) for each in key)]
    if not same:
        return "row removed"
    return "row marked" if any(row.get("_sdc_deleted_at") for row in same) else "row stays"


# -- asking a target -----------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """What one target did."""

    target: Target
    cells: dict[str, str] = field(default_factory=dict)


class Examiner:
    """Feeds every target the same words, and compares."""

    def __init__(self, tap: Tap, sandbox: Sandbox, server: Postgres) -> None:
        self._server = server
        settings = {
            "entities": STREAMS,
            "change_store": str(WORK / "store"),
            "entity_options": {FULL: {"method": "full"}},
        }
        self._first = tap.says("first", **settings)
        self._schemas = schemas(self._first)
        self._truth = {stream: sandbox.truth(stream) for stream in STREAMS}
        sandbox.advance()
        self._gone = {}
        for stream in (SWEPT, FULL):
            key = self._schemas[stream]["key_properties"]
            left = {tuple(row[each] for each in key) for row in sandbox.truth(stream)}
            self._gone[stream] = next(
                row for row in self._truth[stream] if tuple(row[each] for each in key) not in left
            )
        self._second = tap.says("second", last_state(self._first), **settings)
        self._words = {}
        for probe in PROBES:
            more = dict(probe.settings)
            if "batch_config" in more:
                root = (WORK / "batches").as_uri()
                more["batch_config"] = {
                    "encoding": {"format": "jsonl", "compression": "gzip"},
                    "storage": {"root": root},
                }
                (WORK / "batches").mkdir()
            self._words[probe.name] = tap.says(probe.name, entities=list(probe.streams), **more)
        self._units = {row["UnitSymbol"]: row["UnitDescription"] for row in sandbox.truth(UNITS)}
        self._rows = {stream: len(sandbox.truth(stream)) for stream in (KEYLESS, FULL)}

    @property
    def first_words(self) -> bytes:
        """What the tap said in its first run."""
        return self._first

    def __call__(self, target: Target) -> Verdict:
        """Return what a target keeps and understands."""
        verdict = Verdict(target)
        try:
            program = environment(target.name, *target.packages) / target.program
        except SystemExit:
            verdict.cells["rows"] = "does not install"
            return verdict
        cells = verdict.cells
        cells |= self._kept(target, program)
        cells["no key"] = self._landed(target, program, "keyless", KEYLESS)
        cells["BATCH"] = self._landed(target, program, "batch", FULL)
        cells["names over 63 characters"] = self._names(
            target, program, "long", f"{LONG}Stream", (f"{LONG}First", f"{LONG}Second")
        )
        cells["names that differ in case"] = self._names(
            target, program, "case", UNITS, ("UnitSymbol", "unitsymbol")
        )
        print(
            f"* {target.version}: " + "; ".join(f"{name}: {cell}" for name, cell in cells.items()), flush=True
        )
        return verdict

    def _kept(self, target: Target, program: Path) -> dict[str, str]:
        work, wrong = self._feed(target, program, "main", self._first)
        if wrong:
            return {"rows": f"fails: {wrong}"}
        counts: Counter[tuple[str, str]] = Counter()
        for stream in STREAMS:
            counts += compare(
                self._schemas[stream], self._truth[stream], target.read(work, self._server, stream)
            )
        cells = {kind: _share(counts[kind, "kept"], counts[kind, "lost"]) for kind in COLUMNS_OF_VALUES}
        _, wrong = self._feed(target, program, "main", self._second)
        for title, stream in (("deletes of sweeps", SWEPT), ("versions of full tables", FULL)):
            held = target.read(work, self._server, stream)
            cells[title] = (
                f"fails: {wrong}" if wrong else fate(self._schemas[stream], self._gone[stream], held)
            )
        return cells

    def _landed(self, target: Target, program: Path, probe: str, stream: str) -> str:
        work, wrong = self._feed(target, program, probe, self._words[probe])
        if wrong:
            return f"fails: {wrong}"
        held = len(target.read(work, self._server, stream))
        return "yes" if held == self._rows[stream] else f"{held} of {self._rows[stream]} rows"

    def _names(self, target: Target, program: Path, probe: str, stream: str, pair: tuple[str, str]) -> str:
        work, wrong = self._feed(target, program, probe, self._words[probe])
        if wrong:
            return f"fails: {wrong}"
        held = target.read(work, self._server, stream)
        if len(held) != len(self._units):
            return f"{len(held)} of {len(self._units)} rows"
        if all(pair[0] in row and self._units.get(row[pair[0]]) == row.get(pair[1]) for row in held):
            return "kept"
        folded = [name.lower() for name in pair]
        lowered = [{name.lower(): value for name, value in row.items()} for row in held]
        if folded[0] != folded[1] and all(
            self._units.get(row.get(folded[0])) == row.get(folded[1], "") for row in lowered
        ):
            return "kept, in small letters"
        values = {value for row in held for value in row.values()}
        both = values >= self._units.keys() and values >= set(self._units.values())
        return "renamed" if both else "one of two lost"

    def _feed(self, target: Target, program: Path, probe: str, words: bytes) -> tuple[Path, str]:
        """Feed a target; return its folder and, where it failed, its last words."""
        work = WORK / target.name / probe
        work.mkdir(parents=True, exist_ok=True)
        settings = work / "target.json"
        settings.write_text(json.dumps(target.settings(work, self._server)))
        done = subprocess.run(
            [program, "--config", settings],
            input=words,
            capture_output=True,
            check=False,
            cwd=work,
            timeout=300,
        )
        (work / "target.log").write_bytes(done.stderr)
        return work, _last_words(done.stderr) if done.returncode else ""


COLUMNS_OF_VALUES = ("rows", "decimals", "integers", "dates", "instants", "texts", "empty texts", "nulls")
FEATURES = ("deletes of sweeps", "versions of full tables", "no key", "BATCH")
NAMES = ("names over 63 characters", "names that differ in case")


def _share(kept: int, lost: int) -> str:
    return "all" if not lost else f"{lost:,} of {kept + lost:,} lost"


def _last_words(stderr: bytes) -> str:
    """Return the line of a target's log that says what went wrong, short."""
    lines = [each.strip() for each in stderr.decode(errors="replace").splitlines() if each.strip()]
    telling = [each for each in lines if "Error" in each or "Exception" in each]
    line = (telling or lines or ["no words"])[-1]
    return line.partition(" in message")[0].replace("|", "/").replace("`", "'")[:90]


# -- the page ------------------------------------------------------------------------------------------------


def table(verdicts: list[Verdict], columns: tuple[str, ...]) -> str:
    """Return a Markdown table of some of the cells."""
    lines = ["| target | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for each in verdicts:
        cells = (each.cells.get(column, "-") for column in columns)
        lines.append(f"| {each.target.version} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def others() -> str:
    """Return a Markdown table of targets that could not be run."""
    lines = ["| target | today |", "|---|---|"]
    for package, program in OTHERS.items():
        try:
            path = environment(f"other-{program}-{package.split('==')[1]}", package) / program
        except SystemExit:
            lines.append(f"| {package.replace('==', ' ')} | does not install |")
            continue
        done = subprocess.run([path, "--help"], capture_output=True, check=False)
        says = "starts; needs an account, so it was not run" if done.returncode == 0 else "does not start: "
        lines.append(
            f"| {package.replace('==', ' ')} | {says}{_last_words(done.stderr) if done.returncode else ''} |"
        )
    return "\n".join(lines)


def check_tap(words: bytes) -> str:
    """Return what singer-tools' checker says of the tap's output."""
    program = environment("singer-tools", "singer-tools==0.4.1") / "singer-check-tap"
    done = subprocess.run([program], input=words, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"singer-check-tap objects:\n{done.stdout.decode()}{done.stderr.decode()}")
    return (done.stdout + done.stderr).decode().strip()


def main() -> None:
    """Examine every target and write the page."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    tap = environment("tap", editable=True)
    with Sandbox(tap, WORK, "--switch", "companies.hidden=") as sandbox, postgres() as server:
        examine = Examiner(Tap(tap / "tap-d365fo", sandbox), sandbox, server)
        print(f"* singer-check-tap 0.4.1: {check_tap(examine.first_words)}", flush=True)
        with ThreadPoolExecutor(2) as pool:
            verdicts = list(pool.map(examine, TARGETS))
    parts = [
        "### Values kept",
        table(verdicts, COLUMNS_OF_VALUES),
        "### Deletes, versions, keys, batches",
        table(verdicts, FEATURES),
        "### Names",
        table(verdicts, NAMES),
        "### Not run",
        others(),
    ]
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    matrix = "\n\n".join(parts)
    PAGE.write_text(f"{before}{START}\n\n{matrix}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    print(f"\n{matrix}\n\nWritten to {PAGE.relative_to(ROOT)}.")


if __name__ == "__main__":
    sys.exit(main())
