"""Outcomes as text: a table on the terminal, a page and a plot for the documentation.

Each scenario's outcome is kept as JSON, so that one can be measured again without the others.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from html import escape
from importlib.metadata import version
from pathlib import Path

from benchmarks.outcome import Figure, Outcome, Table
from benchmarks.server_process import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "benchmarks.svg"

_INTRODUCTION = """\
# Benchmarks

Written by `make bench`. Every comparison is of whole processes, start-up and sign-in included, run in turn
against one load server on the same machine; ratios are medians of the ratios within a round. Processor time
is the operating system's, output goes through a pipe and is thrown away. The server renders each page once
and serves it from memory over TLS; `server idle` shows how little it was the bottleneck. Absolute figures
belong to one machine: only the ratios travel.

The vanilla tap (`benchmarks/vanilla_tap.py`) is singer-sdk's `RESTStream` filled in as its template proposes.
The floor (`benchmarks/floor.py`) downloads pages in one thread and wraps each record, and does nothing else.
Floor and tap ask for rows without control information (`odata.metadata=none`), which leaves out etags; the vanilla
tap gets what comes unasked.
"""


def as_text(outcome: Outcome) -> str:
    """Return an outcome for a terminal."""
    widths = [max(map(len, column)) for column in zip(outcome.table.head, *outcome.table.rows, strict=True)]
    lines = [f"{outcome.title}: {outcome.setting}"]
    lines += [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in (outcome.table.head, *outcome.table.rows)
    ]
    lines += [f"  {_verdict(each)}" for each in outcome.figures]
    return "\n".join(lines)


def keep(name: str, outcome: Outcome) -> None:
    """Keep a scenario's outcome for the page."""
    RESULTS.mkdir(exist_ok=True)
    kept = {
        "measured": datetime.now(timezone.utc).date().isoformat(),
        "machine": _machine(),
        **outcome.to_json(),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")


def write_page(names: Sequence[str]) -> None:
    """Write the page and its plot from all outcomes kept, in the order given."""
    kept = [
        json.loads(path.read_text()) for path in (RESULTS / f"{name}.json" for name in names) if path.exists()
    ]
    outcomes = [Outcome.from_json(each) for each in kept]
    parts = [_INTRODUCTION, "## Figures", _figures(outcomes), _PICTURE, "## Measured"]
    for each, outcome in zip(kept, outcomes, strict=True):
        parts += [
            f"### {outcome.title}",
            outcome.setting,
            _markdown(outcome.table),
            f"_{each['measured']}, {each['machine']}._",
        ]
    PAGE.write_text("\n\n".join(part.strip("\n") for part in parts) + "\n")
    PLOT.write_text(_svg([bar for outcome in outcomes for bar in _bars(outcome)]))


def write_page_of(name: str, introduction: str, outcomes: Sequence[Outcome]) -> None:
    """Write a page of its own from outcomes that were just measured."""
    told = f"_{datetime.now(timezone.utc).date().isoformat()}, {_machine()}._"
    parts = [introduction, "## Figures", _figures(outcomes)]
    for each in outcomes:
        parts += [f"## {each.title}", each.setting, _markdown(each.table)]
    (PAGE.parent / name).write_text("\n\n".join(part.strip("\n") for part in [*parts, told]) + "\n")


_PICTURE = "![Processor seconds per million rows](benchmarks.svg)"


def _figures(outcomes: Sequence[Outcome]) -> str:
    figures = [each for outcome in outcomes for each in outcome.figures]
    rows = [
        (each.what, each.wanted, f"{each.value:,.2f} {each.unit}", "yes" if each.reached else "**no**")
        for each in figures
    ]
    return _markdown(Table(("what", "wanted", "measured", "reached"), rows))


def _verdict(figure: Figure) -> str:
    word = "reached" if figure.reached else "MISSED"
    return f"{word}: {figure.what}: {figure.value:,.2f} {figure.unit} ({figure.wanted})"


def _markdown(table: Table) -> str:
    lines = ["| " + " | ".join(table.head) + " |", "|" + " --- |" * len(table.head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in table.rows)])


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}, singer-sdk {version('singer-sdk')}"


# -- the plot ------------------------------------------------------------------------------------------------

_LEFT, _WIDTH, _STEP, _TOP = 320, 420, 26, 50


def _bars(outcome: Outcome) -> list[tuple[str, float]]:
    return [(f"{outcome.title}: {label}", value) for label, value in outcome.bars]


def _svg(bars: Sequence[tuple[str, float]]) -> str:
    """Return a bar chart; white behind, so that it reads on any page."""
    height, scale = _TOP + _STEP * len(bars) + 10, _WIDTH / max((value for _, value in bars), default=1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 80} {height}">',
        "<style>text { font: 12px sans-serif }</style>",
        f'<rect width="100%" height="{height}" fill="white"/>',
        '<text x="10" y="24" style="font-size: 16px">Processor seconds per million rows (shorter is better)</text>',
    ]
    for place, (label, value) in enumerate(bars):
        y, colour = _TOP + _STEP * place, _colour(label)
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{max(value * scale, 1):.1f}" height="18" fill="{colour}"/>',
            f'<text x="{_LEFT + value * scale + 6:.1f}" y="{y + 13}">{value:,.1f}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def _colour(label: str) -> str:
    return "#b0b7c3" if "vanilla" in label else "#dcdfe4" if "floor" in label else "#1f6feb"
