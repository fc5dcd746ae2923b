"""Memory, discovery and start-up: what grows with the environment rather than with rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

from benchmarks.measure import Run, median_ratio
from benchmarks.outcome import Effort, Figure, Outcome, Table, numbers
from benchmarks.programs import Bench, Catalog, Program, bench, select

_WIDE = "Bench300"
_MIB = 1024 * 1024


def memory(effort: Effort) -> Outcome:
    """Very many very wide rows, eight requests in flight."""
    rows = effort.size(1_000_000, 20_000)
    with bench(rows={_WIDE: rows}, companies=8) as at:
        at.server.behave(page_seconds=0.2)
        programs = [
            at.tap(f"{parallel} in flight", (_WIDE,), max_parallel_requests=parallel) for parallel in (1, 8)
        ]
        runs = [at.run(each, lines=rows) for each in (programs if rows <= 100_000 else programs[1:])]
    labels = [each.label for each in programs[-len(runs) :]]
    found = [(label, *_wide_row(run)) for label, run in zip(labels, runs, strict=True)]
    figures = [Figure.at_most("peak memory, wide rows, 8 in flight", runs[-1].peak_mib, 600, "MiB")]
    head = ("program", "peak MiB", "wall s", "MiB/s off the wire", "most in flight", "server idle")
    setting = f"{rows:,} rows of 300 columns, about 10 kB each, 8 companies, 200 ms a page; one run."
    return Outcome("Memory", setting, Table(head, found), figures)


def _wide_row(run: Run) -> tuple[str, ...]:
    return (
        f"{run.peak_mib:,.0f}",
        f"{run.seconds:,.0f}",
        f"{run.server['bytes'] / run.seconds / _MIB:,.0f}",
        f"{run.server['most_in_flight']}",
        f"{run.server_idle:.0%}",
    )


def discovery(effort: Effort) -> Outcome:
    """`--discover` over metadata of a real environment's size, whole and narrowed."""
    with bench(rows={}, full_metadata=True) as at:
        catalog = _full_catalog(at)
        few = tuple(each["stream"] for each in catalog["streams"][500::600])
        programs = [
            at.expat(),
            at.discovery("--discover, everything"),
            at.discovery("--discover, a handful", few),
        ]
        groups = _interleaved(at, programs, effort.pairs)
    expat, whole, narrow = ([each.seconds for each in group] for group in groups)
    peak = max(each.peak_mib for each in groups[1])
    figures = [
        Figure.at_most(
            "time to discover everything, against a bare expat pass", median_ratio(whole, expat), 3
        ),
        Figure.at_most(
            "time to discover a handful, against a bare expat pass", median_ratio(narrow, expat), 1.5
        ),
        Figure.at_most("peak memory of discovery", peak, 250, "MiB"),
    ]
    setting = (
        f"{len(catalog['streams']):,} entity sets, {_properties(catalog):,} properties; the handful is {len(few)}; "
        f"{effort.pairs} rounds."
    )
    return Outcome("Discovery", setting, _wall_table(programs, groups), figures)


def start_up(effort: Effort) -> Outcome:
    """What a run costs before its first request, and with a catalog of thousands."""
    rounds = effort.pairs + 2
    with bench(rows={}, full_metadata=True) as at:
        catalog = _full_catalog(at)
        for entry in catalog["streams"]:
            select(entry, wanted=entry["stream"] == "Small001")
        alone = {"streams": [each for each in catalog["streams"] if each["stream"] == "Small001"]}
        tap = str(Path(sys.executable).parent / "tap-d365fo")
        programs = [
            Program("python -c 'import singer_sdk'", (sys.executable, "-c", "import singer_sdk")),
            Program("tap-d365fo --version", (tap, "--version")),
            Program("tap-d365fo --help", (tap, "--help")),
            at.given_catalog("sync, a catalog of one", alone),
            at.given_catalog(f"sync, a catalog of {len(catalog['streams']):,}, one selected", catalog),
        ]
        groups = _interleaved(at, programs, rounds)
    bare, version, usage, small, large = ([each.seconds for each in group] for group in groups)
    figures = [
        Figure.at_most("time of --version against importing singer_sdk", median_ratio(version, bare), 1.3),
        Figure.at_most("time of --help against importing singer_sdk", median_ratio(usage, bare), 1.3),
        Figure.at_most(
            "start with thousands of unselected entries against one", median_ratio(large, small), 1.2
        ),
    ]
    return Outcome("Start-up", f"{rounds} rounds.", _wall_table(programs, groups), figures)


def _interleaved(at: Bench, programs: list[Program], rounds: int) -> list[list[Run]]:
    for each in programs:
        at.run(each)
    found = [[at.run(each) for each in programs] for _ in range(rounds)]
    return [[one[place] for one in found] for place in range(len(programs))]


def _full_catalog(at: Bench) -> Catalog:
    return dict(json.loads(at.run_kept(at.discovery(""))))


def _properties(catalog: Catalog) -> int:
    return sum(len(each["schema"]["properties"]) for each in catalog["streams"])


def _wall_table(programs: list[Program], groups: list[list[Run]]) -> Table:
    base = [each.seconds for each in groups[0]]
    rows = [
        (
            program.label,
            numbers([each.seconds for each in group], "{:,.2f}"),
            f"{median(each.cpu_seconds for each in group):.2f}",
            f"{max(each.peak_mib for each in group):,.0f}",
            f"{median_ratio([each.seconds for each in group], base):.2f}",
        )
        for program, group in zip(programs, groups, strict=True)
    ]
    return Table(("program", "wall s", "CPU s", "peak MiB", "wall against the first"), rows)
