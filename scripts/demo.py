"""`make demo`: from a fresh machine to F&O rows in a database file, twice, the second time only changes.

Needs python3 alone. Everything is real but the environment: the sandbox stands in for Entra and F&O, the
tap and the target are the programs that a pipeline would run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from environments import ROOT, environment
from sandbox_process import Sandbox

WORK = ROOT / ".demo"
DATABASE = WORK / "warehouse.duckdb"
ENTITIES = [
    "CustomersV3",
    "VendorsV2",
    "SalesOrderHeadersV2",
    "MainAccounts",
    "ExchangeRates",
    "CustTransBiEntities",
]
TARGET = ("target-duckdb==0.8.0", "duckdb==1.2.2")
"""The second pin matters: with newer versions of duckdb this target loses the first row of every batch."""


def main() -> None:
    """Run the demonstration."""
    started = time.monotonic()
    WORK.mkdir(exist_ok=True)
    for left in [DATABASE, WORK / "state.json", *WORK.glob("store/*")]:
        left.unlink(missing_ok=True)
    say("Making two environments: one for the tap, one for the target.")
    with ThreadPoolExecutor() as pool:
        environment_of_tap = pool.submit(environment, "tap", editable=True).result
        tap, target = environment_of_tap(), pool.submit(environment, "target-duckdb", *TARGET).result()
    say("Starting the sandbox, a stand-in for Entra and Finance & Operations on this machine.")
    with Sandbox(tap, WORK) as sandbox:
        write_config(sandbox)
        say("Discovering: tap-d365fo --config config.json --discover > catalog.json")
        catalog = discover(tap, sandbox.variables)
        say(f"Reading {len(catalog)} entities into {DATABASE.name}.")
        first = run(tap, target, sandbox.variables)
        say("Letting the sandbox's data change, and reading again from the state of the first run.")
        sandbox.advance()
        second = run(tap, target, sandbox.variables)
    show(catalog, first, second)
    print(
        f"\nDone in {time.monotonic() - started:.0f} s. The rows are in {DATABASE}\nLook at them: "
        f"{target / 'python'} -c \"import duckdb; print(duckdb.connect('{DATABASE}').sql('from fno.customersv3'))\""
    )


def say(what: str) -> None:
    """Tell the person what happens now."""
    print(f"* {what}", flush=True)


def write_config(sandbox: Sandbox) -> None:
    """Write the tap's settings: four credentials and what this demonstration wants."""
    extra = {"entities": ENTITIES, "change_store": str(WORK / "store")}
    (WORK / "config.json").write_text(json.dumps({**sandbox.config, **extra}, indent=2))


def discover(tap: Path, variables: dict[str, str]) -> dict[str, dict]:
    """Return the selected catalog entries by stream; the catalog lies beside the configuration."""
    done = subprocess.run(
        [str(tap / "tap-d365fo"), "--config", str(WORK / "config.json"), "--discover"],
        env=variables,
        check=True,
        stdout=subprocess.PIPE,
    )
    (WORK / "catalog.json").write_bytes(done.stdout)
    return {entry["stream"]: entry for entry in json.loads(done.stdout)["streams"]}


def run(tap: Path, target: Path, variables: dict[str, str]) -> Counter[str]:
    """Run the tap into the target, keep the state, and return the rows by stream."""
    state = WORK / "state.json"
    command = [
        str(tap / "tap-d365fo"),
        "--config",
        str(WORK / "config.json"),
        "--catalog",
        str(WORK / "catalog.json"),
    ]
    command += ["--state", str(state)] if state.exists() else []
    settings = {
        "filepath": str(DATABASE),
        "database_name": "warehouse",
        "default_target_schema": "fno",
        "batch_size_rows": 5000,
    }
    (WORK / "target.json").write_text(json.dumps({**settings, "filepath": str(DATABASE)}))
    reader = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE)
    writer = subprocess.Popen(
        [str(target / "target-duckdb"), "--config", str(WORK / "target.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(WORK / "target.log").open("a"),
    )
    rows: Counter[str] = Counter()
    for line in reader.stdout:
        if line.startswith(b'{"type":"RECORD"'):
            rows[json.loads(line)["stream"]] += 1
        writer.stdin.write(line)
    written, _ = writer.communicate()
    if reader.wait() or writer.returncode:
        raise SystemExit(f"The pipeline failed; see {WORK / 'target.log'}.")
    state.write_bytes(written.strip().splitlines()[-1])
    return rows


def show(catalog: dict[str, dict], first: Counter[str], second: Counter[str]) -> None:
    """Print what each run brought."""
    print(f"\n{'stream':<28}{'method':<14}{'rows first run':>15}{'rows second run':>17}")
    for stream, entry in catalog.items():
        print(f"{stream:<28}{entry['replication_method']:<14}{first[stream]:>15,}{second[stream]:>17,}")


if __name__ == "__main__":
    sys.exit(main())
