"""`make airbyte`: real Airbyte programs over the connector, against the sandbox.

First PyAirbyte, offline: check, list, read into its DuckDB cache, let the data change, read incrementally; after
each read every value is compared with the sandbox's truth. Then Airbyte's own standard tests for sources. Each
has an environment of its own; the connector runs as the program that users install.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from environments import ROOT, environment

from tap_d365fo.sandbox.server import Sandbox

FOREIGN = Path(__file__).parent / "foreign"
"""Programs that run in other environments than this one's."""

WORK = ROOT / ".demo" / "airbyte"
PROGRAM = Path(sys.executable).parent / "source-d365fo"
PYAIRBYTE = ("airbyte>=0.71,<1",)
CDK = ("airbyte-cdk>=7.39,<8", "pytest>=8.3")
SUITE_OPTIONS = (
    *("-q", "-rs", "-m", "not image_tests", "-p", "no:cacheprovider"),
    *("-p", "airbyte_cdk.test.standard_tests.pytest_hooks"),
    *("-W", "error::airbyte_cdk.test.standard_tests.DiscoveredCatalogWarning"),
)
NEWEST_FOR_PYAIRBYTE = (3, 12)
CHANGES = 3
"""Rounds in which the sandbox's data changes between two reads."""


def main() -> None:
    """Run both; the exit code says whether all was well."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    with Sandbox(seed=7, switches={"companies.hidden": ""}) as sandbox:
        os.environ |= {
            "REQUESTS_CA_BUNDLE": sandbox.ca_file,
            "AIRBYTE_OFFLINE_MODE": "1",
            "DO_NOT_TRACK": "1",
        }
        wrong = [*read_by_pyairbyte(sandbox), *standard_tests(sandbox)]
    for each in wrong:
        print(f"WRONG: {each}")
    print("All is well." if not wrong else f"{len(wrong)} thing(s) went wrong.")
    raise SystemExit(1 if wrong else 0)


def say(what: str) -> None:
    """Tell the person what happens now."""
    print(f"* {what}", flush=True)


def settings(sandbox: Sandbox, **more: Any) -> dict[str, Any]:
    """Return a filled form."""
    filled = sandbox.config(**more)
    secret = filled.pop("client_secret")
    return {**filled, "credential": {"kind": "client_secret", "client_secret": secret}}


# -- PyAirbyte -----------------------------------------------------------------------------------------------


def read_by_pyairbyte(sandbox: Sandbox) -> Iterator[str]:
    """Yield what PyAirbyte's cache holds other than the truth."""
    if sys.version_info[:2] > NEWEST_FOR_PYAIRBYTE:
        say(f"PyAirbyte does not run on Python {sys.version_info[0]}.{sys.version_info[1]} yet; left out.")
        return
    say("PyAirbyte: making its environment (it is large).")
    python = environment("pyairbyte", *PYAIRBYTE) / "python"
    # Strings keep every digit: PyAirbyte reads JSON numbers as doubles.
    filled = settings(sandbox, decimals="string", include_binary=True, change_store=str(WORK / "store"))
    (WORK / "config.json").write_text(json.dumps(filled), encoding="utf-8")
    streams = {each["name"]: each for each in _discovered()}
    for name in ("first", "incremental"):
        began = time.monotonic()
        found = _read(python)
        say(
            f"PyAirbyte, {name} read: {found['rows']} records of {len(found['streams'])} streams into DuckDB in "
            f"{time.monotonic() - began:.0f} s."
        )
        if set(found["streams"]) != set(streams):
            yield f"PyAirbyte lists {sorted(found['streams'])}, discovery {sorted(streams)}"
        values = 0
        for stream, rows in found["tables"].items():
            problems, compared = differences(streams[stream], rows, sandbox.truth(stream))
            values += compared
            yield from (f"{name} read, {each}" for each in problems)
        say(f"Compared {values} values with the sandbox's truth.")
        for seed in range(CHANGES):
            sandbox.dataset.advance(seed)


def _discovered() -> list[dict[str, Any]]:
    lines = subprocess.check_output(
        [PROGRAM, "discover", "--config", WORK / "config.json"], text=True
    ).splitlines()
    (catalog,) = [each["catalog"] for each in map(json.loads, lines) if each["type"] == "CATALOG"]
    streams: list[dict[str, Any]] = catalog["streams"]
    return streams


def _read(python: Path) -> dict[str, Any]:
    client = FOREIGN / "pyairbyte_client.py"
    done = subprocess.run(
        [python, client, PROGRAM, WORK / "config.json", WORK],
        capture_output=True,
        text=True,
        cwd=WORK,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"PyAirbyte failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads((WORK / "read.json").read_text(encoding="utf-8"))
    return found


def differences(
    stream: dict[str, Any], rows: list[dict[str, Any]], truth: list[dict[str, Any]]
) -> tuple[list[str], int]:
    """Return where a table differs from the truth, and how many values were compared.

    A stream with a stamp never hears of deleted rows, so its table may hold more than the truth.
    """
    key = [path[0] for path in stream["source_defined_primary_key"]]
    names = key or sorted(truth[0])
    columns = stream["json_schema"]["properties"]
    there = [row for row in rows if row.get("_ab_cdc_deleted_at") is None]
    arrived = {_key(row, [name.lower() for name in names]): row for row in there}
    expected = {_key(row, names): row for row in (_expected(row, columns, key) for row in truth)}
    problems = []
    if len(arrived) != len(there):
        problems.append(f"{stream['name']}: {len(there) - len(arrived)} rows twice")
    keeps_deleted = stream.get("default_cursor_field", ["_ab_cdc_cursor"]) != ["_ab_cdc_cursor"]
    extra = [] if keeps_deleted else sorted(arrived.keys() - expected.keys())
    missing = sorted(expected.keys() - arrived.keys())
    problems += [
        f"{stream['name']}: {len(each)} rows {what}, such as {each[0]}"
        for what, each in (("missing", missing), ("too many", extra))
        if each
    ]
    compared = 0
    for place in expected.keys() & arrived.keys():
        for name, value in expected[place].items():
            compared += 1
            came = _came(arrived[place].get(name.lower()), columns[name])
            if came != value:
                problems.append(f"{stream['name']} {place}: {name} is {came!r}, not {value!r}")
    return problems, compared


def _key(row: dict[str, Any], names: list[str]) -> str:
    return json.dumps([str(row[name]) for name in names])


def _expected(row: dict[str, Any], columns: dict[str, Any], key: list[str]) -> dict[str, Any]:
    return {name: _value(value, columns[name], is_key=name in key) for name, value in row.items()}


def _value(value: Any, column: dict[str, Any], *, is_key: bool) -> Any:
    """Return what the environment sends as the connector's settings promise it."""
    form = column.get("format")
    if isinstance(value, Decimal):
        return str(value)
    if value is None or form not in ("date", "date-time"):
        return value
    if value.startswith("1900-01-01") and not is_key:
        return None
    return value[:10] if form == "date" else _instant(value)


def _came(value: Any, column: dict[str, Any]) -> Any:
    return _instant(value) if value is not None and column.get("format") == "date-time" else value


def _instant(text: str) -> str:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).replace(tzinfo=None).isoformat()


# -- Airbyte's own tests -------------------------------------------------------------------------------------


def standard_tests(sandbox: Sandbox) -> Iterator[str]:
    """Yield a line where Airbyte's standard tests fail."""
    say("Airbyte's standard tests: making their environment.")
    python = environment("airbyte-cdk", *CDK) / "python"
    connector = WORK / "source-d365fo"
    (connector / "secrets").mkdir(parents=True)
    shutil.copy(ROOT / "metadata.yaml", connector)
    shutil.copy(FOREIGN / "airbyte_standard_tests.py", connector / "test_standard.py")
    right, wrong = settings(sandbox), settings(sandbox)
    wrong["credential"]["client_secret"] = "not-the-secret-at-all"
    for name, each in (("config", right), ("wrong", wrong)):
        (connector / "secrets" / f"{name}.json").write_text(json.dumps(each), encoding="utf-8")
    (connector / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (connector / "acceptance-test-config.yml").write_text(json.dumps(_acceptance()), encoding="utf-8")
    done = subprocess.run(
        [python, "-m", "pytest", *SUITE_OPTIONS, "test_standard.py"],
        cwd=connector,
        env={**os.environ, "SOURCE_D365FO": str(PROGRAM)},
        check=False,
    )
    if done.returncode:
        yield "Airbyte's standard tests did not pass"


def _acceptance() -> dict[str, Any]:
    """Return the suite's settings; JSON is YAML."""
    right = {"config_path": "secrets/config.json"}
    return {
        "connector_image": "tap-d365fo/source-d365fo:dev",
        "acceptance_tests": {
            "spec": {"tests": [{"spec_path": "spec.json"}]},
            "connection": {
                "tests": [
                    {**right, "status": "succeed"},
                    {"config_path": "secrets/wrong.json", "status": "failed"},
                ]
            },
            "discovery": {"tests": [right]},
            "basic_read": {"tests": [right]},
        },
    }


if __name__ == "__main__":
    main()
