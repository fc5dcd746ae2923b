"""How much processor time a row costs: this tap on each of its paths, the usual tap, and the floor.

All programs of a scenario are run in turn, round after round, and compared within a round.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.measure import Run, median_ratio
from benchmarks.outcome import Effort, Figure, Outcome, Table, numbers
from benchmarks.programs import Bench, Program, bench, half_deselected, without_ax_dates

_ENTITY = "Bench45"
_MILLION = 1_000_000
_MAP = {_ENTITY: {"OrderLabel": "OrderAccountNumber + '-' + CurrencyCode", "OrderNotes": None}}
_LINES_OF_BATCHES = 3


def as_is(effort: Effort) -> Outcome:
    """Nothing in a record has to be touched: no AX dates, `null_dates` off."""

    def programs(at: Bench) -> list[Program]:
        tap = at.tap("tap-d365fo, as is", (_ENTITY,), edit=without_ax_dates, null_dates=False)
        return [at.vanilla((_ENTITY,)), at.floor(_ENTITY), tap]

    return _compared(
        "As is", effort, programs, effort.size(500_000, 50_000), against_vanilla=20, against_floor=1.4
    )


def dates(effort: Effort) -> Outcome:
    """The default: AX dates become dates, empty dates become null."""

    def programs(at: Bench) -> list[Program]:
        return [at.vanilla((_ENTITY,)), at.floor(_ENTITY), at.tap("tap-d365fo, dates and nulls", (_ENTITY,))]

    return _compared("Dates and nulls", effort, programs, effort.size(500_000, 50_000), against_vanilla=12)


def selection(effort: Effort) -> Outcome:
    """Every second column deselected, in both catalogs."""

    def programs(at: Bench) -> list[Program]:
        tap = at.tap("tap-d365fo, half the columns", (_ENTITY,), edit=half_deselected)
        return [at.vanilla((_ENTITY,), edit=half_deselected), at.floor(_ENTITY), tap]

    return _compared("Selection", effort, programs, effort.size(200_000, 30_000))


def stream_map(effort: Effort) -> Outcome:
    """A computed column and a removed one, by the SDK's stream maps in both."""

    def programs(at: Bench) -> list[Program]:
        mapped = at.vanilla((_ENTITY,), stream_maps=_MAP)
        tap = at.tap("tap-d365fo, stream map", (_ENTITY,), stream_maps=_MAP)
        return [mapped, at.floor(_ENTITY), tap]

    return _compared("Stream map", effort, programs, effort.size(200_000, 30_000), against_vanilla=5)


def batch(effort: Effort) -> Outcome:
    """Gzip files of records in place of RECORD lines, in both."""

    def programs(at: Bench) -> list[Program]:
        vanilla = at.vanilla((_ENTITY,), batch_config=_batches(at, "vanilla"))
        tap = at.tap("tap-d365fo, BATCH", (_ENTITY,), batch_config=_batches(at, "tap"))
        return [vanilla, at.floor(_ENTITY), tap]

    return _compared("BATCH", effort, programs, effort.size(200_000, 30_000), lines=_LINES_OF_BATCHES)


def gzip(effort: Effort) -> Outcome:
    """The default path, answers compressed by the server."""

    def programs(at: Bench) -> list[Program]:
        at.server.behave(gzip=True)
        return [at.vanilla((_ENTITY,)), at.floor(_ENTITY), at.tap("tap-d365fo, dates and nulls", (_ENTITY,))]

    return _compared("Compressed answers", effort, programs, effort.size(200_000, 30_000))


def airbyte(effort: Effort) -> Outcome:
    """The Airbyte door beside the Singer door, both with their defaults."""

    def programs(at: Bench) -> list[Program]:
        return [at.tap("tap-d365fo", (_ENTITY,)), at.airbyte("source-d365fo", _ENTITY)]

    rows = effort.size(500_000, 50_000)
    runs = _runs(programs, effort, rows, lines=rows)
    singer, door = runs.values()
    ratio = median_ratio([each.seconds for each in singer], [each.seconds for each in door])
    figures = [Figure.at_least("throughput of the Airbyte door against the Singer door", ratio, 0.8)]
    return Outcome("Airbyte door", _setting(rows, effort), _table(runs, rows), figures)


def _compared(
    title: str,
    effort: Effort,
    programs: Callable[[Bench], list[Program]],
    rows: int,
    *,
    against_vanilla: float | None = None,
    against_floor: float | None = None,
    lines: int | None = None,
) -> Outcome:
    """Run a vanilla tap, the floor and this tap, in this order, and compare processor seconds."""
    runs = _runs(programs, effort, rows, lines=rows if lines is None else lines)
    vanilla, floor, tap = ([each.cpu_seconds for each in group] for group in runs.values())
    gain, cost = median_ratio(vanilla, tap), median_ratio(tap, floor)
    path = title.lower() if title != "BATCH" else title
    figures = [
        Figure.at_least(
            f"processor time per row, less than the vanilla tap: {path}", gain, against_vanilla or 1
        ),
        Figure.at_most(f"processor time per row, against the floor: {path}", cost, against_floor or 1000),
    ]
    wanted = [against_vanilla, against_floor]
    kept = [figure for figure, bound in zip(figures, wanted, strict=True) if bound]
    bars = [(label, median(_per_million(each, rows) for each in group)) for label, group in runs.items()]
    table = _table(runs, rows, ratios={"vanilla": vanilla, "floor": floor})
    return Outcome(title, _setting(rows, effort), table, kept, bars)


def _runs(
    programs: Callable[[Bench], list[Program]], effort: Effort, rows: int, *, lines: int
) -> dict[str, list[Run]]:
    """Run the programs in turn, round after round, after a round that does not count."""
    with bench(rows={_ENTITY: rows}) as at:
        made = programs(at)
        for each in made:
            at.run(each)
        rounds = [[at.run(each, lines=lines) for each in made] for _ in range(effort.pairs)]
    return {each.label: [one[place] for one in rounds] for place, each in enumerate(made)}


def _table(runs: dict[str, list[Run]], rows: int, *, ratios: dict[str, list[float]] | None = None) -> Table:
    ratios = ratios or {}
    head = ("program", "rows/s", "CPU s per million rows", "peak MiB", "server idle")
    return Table(
        (*head, *(f"CPU against {name}" for name in ratios)),
        [(label, *_measures(group, rows), *_against(group, ratios)) for label, group in runs.items()],
    )


def _measures(group: list[Run], rows: int) -> tuple[str, ...]:
    return (
        f"{median(rows / each.seconds for each in group):,.0f}",
        numbers([_per_million(each, rows) for each in group]),
        f"{max(each.peak_mib for each in group):,.0f}",
        f"{median(each.server_idle for each in group):.0%}",
    )


def _against(group: list[Run], ratios: dict[str, list[float]]) -> tuple[str, ...]:
    mine = [each.cpu_seconds for each in group]
    return tuple(f"{median_ratio(mine, other):.2f}" for other in ratios.values())


def _per_million(run: Run, rows: int) -> float:
    return run.cpu_seconds * _MILLION / rows


def _setting(rows: int, effort: Effort) -> str:
    return f"{rows:,} rows of 45 columns, about 1.6 kB each, pages of 10,000, TLS; {effort.pairs} rounds."


def _batches(at: Bench, name: str) -> dict[str, Any]:
    storage = {"root": f"file://{at.folder / name}", "prefix": "rows-"}
    return {"encoding": {"format": "jsonl", "compression": "gzip"}, "storage": storage}
