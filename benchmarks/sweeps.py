"""What a change sweep saves: against a full read, after few rows changed.

`python -m benchmarks.sweeps` measures it and writes docs/benchmarks-sweeps.md; `--rows` and `--rounds` make a run
that is shorter and only printed.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import report
from benchmarks.measure import ProgramFailed, Run, median_ratio
from benchmarks.outcome import Effort, Figure, Outcome, Table, numbers
from benchmarks.programs import Bench, Program, bench

_MIB = 1024 * 1024
_COMPANIES = 8
_HEAD = (
    "program",
    "wall s",
    "MiB on the wire",
    "requests",
    "lines",
    "CPU s",
    "peak MiB",
    "server idle",
    "wall against full",
)


def sweep(effort: Effort) -> Outcome:
    """60 columns, of which few rows change between runs."""
    changed, deleted = 0.001, 0.0001
    rows = effort.size(1_000_000, 40_000)
    full, first, later = _runs("Bench60", effort, rows, changed=changed, deleted=deleted)
    peak = max(each.peak_mib for each in [*first, *later])
    figures = [
        Figure.at_most("time of a first sweep against a full read", _wall_ratio(first, full), 1.3),
        Figure.at_most("peak memory of a sweep", peak, 300, "MiB"),
        Figure.at_least("bytes on the wire, fewer than a full read: 60 columns", _fewer(full, later), 20),
    ]
    what = f"{changed:.1%} changed and {deleted:.2%} deleted between runs"
    setting = f"{rows:,} rows of 60 columns in {_COMPANIES} companies; {what}; {effort.pairs} rounds."
    return Outcome("Change sweep", setting, _table(full, first, later), figures)


def unchanged(effort: Effort) -> Outcome:
    """300 columns, of which nothing changes."""
    rows = effort.size(200_000, 10_000)
    full, first, later = _runs("Bench300", effort, rows, changed=0, deleted=0)
    figures = [
        Figure.at_least(
            "bytes on the wire, fewer than a full read: unchanged, 300 columns", _fewer(full, later), 20
        )
    ]
    what = f"{rows:,} rows of 300 columns in {_COMPANIES} companies; nothing changed"
    return Outcome(
        "Sweep without change", f"{what}; {effort.pairs} rounds.", _table(full, first, later), figures
    )


def _runs(
    entity: str, effort: Effort, rows: int, *, changed: float, deleted: float
) -> tuple[list[Run], list[Run], list[Run]]:
    """Return full reads, first sweeps and later sweeps, round by round, after a round that does not count."""
    with bench(rows={entity: rows}, companies=_COMPANIES) as at:
        rounds = [_round(at, entity, changed=changed, deleted=deleted) for _ in range(effort.pairs + 1)][1:]
    full, first, later = ([one[place] for one in rounds] for place in range(3))
    return full, first, later


def _round(at: Bench, entity: str, *, changed: float, deleted: float) -> tuple[Run, Run, Run]:
    store = at.folder / "store"
    shutil.rmtree(store, ignore_errors=True)
    full = at.run(at.tap("full read", (entity,)))
    first = at.run(_sweep(at, entity, store))
    told = at.server.change(entity, changed=changed, deleted=deleted)
    later = at.run(_sweep(at, entity, store, state=_state(first)), lines=sum(told.values()))
    if later.lines > first.lines // 2:
        log = (at.folder / "stderr.log").read_text()
        raise ProgramFailed(f"A later sweep read everything again:\n{log[-2000:]}")
    return full, first, later


def _sweep(at: Bench, entity: str, store: Path, *, state: dict[str, Any] | None = None) -> Program:
    return at.tap("sweep", (entity,), state=state, change_store=str(store))


def _state(run: Run) -> dict[str, Any]:
    lines = [each for each in run.tail.splitlines() if each.startswith('{"type":"STATE"')]
    value: dict[str, Any] = json.loads(lines[-1])["value"]
    return value


def _fewer(full: list[Run], later: list[Run]) -> float:
    return median_ratio([each.server["bytes"] for each in full], [each.server["bytes"] for each in later])


def _wall_ratio(over: list[Run], under: list[Run]) -> float:
    return median_ratio([each.seconds for each in over], [each.seconds for each in under])


def _table(full: list[Run], first: list[Run], later: list[Run]) -> Table:
    groups = {"full read": full, "first sweep": first, "later sweep": later}
    return Table(_HEAD, [_row(label, group, full) for label, group in groups.items()])


def _row(label: str, group: list[Run], full: list[Run]) -> tuple[str, ...]:
    return (
        label,
        numbers([each.seconds for each in group]),
        f"{median(each.server['bytes'] for each in group) / _MIB:,.1f}",
        f"{median(each.server['requests'] for each in group):,.0f}",
        f"{median(each.lines for each in group):,.0f}",
        f"{median(each.cpu_seconds for each in group):,.1f}",
        f"{max(each.peak_mib for each in group):,.0f}",
        f"{median(each.server_idle for each in group):.0%}",
        f"{_wall_ratio(group, full):.2f}",
    )


_INTRODUCTION = """\
# What a change sweep costs

Written by `make bench-sweep`. Whole processes, start-up and sign-in included, run in turn against one load
server on the same machine: a full read, a first sweep (a full read that remembers row versions), then, after
rows were changed and deleted, a later sweep. Ratios are medians of those within a round. Pages travel
uncompressed over TLS. Only the ratios travel to other machines: a machine with other work lengthens times.

What a later sweep takes off the wire is key and etag of each row, some 120 bytes here, whatever else the row
holds: the wider the entity, the more it saves.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweeps", description=__doc__)
    parser.add_argument("--rows", type=int, help="Rows, in place of each scenario's own number.")
    parser.add_argument("--rounds", type=int, help="Rounds after the warm-up; 3 without it.")
    asked = parser.parse_args()
    effort = Effort(pairs=asked.rounds or 3, rows=asked.rows)
    outcomes = [scenario(effort) for scenario in (sweep, unchanged)]
    for each in outcomes:
        print(f"{report.as_text(each)}\n", flush=True)
    if not asked.rows:
        report.write_page_of("benchmarks-sweeps.md", _INTRODUCTION, outcomes)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
