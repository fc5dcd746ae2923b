"""How well waiting is used: a server that takes its time over each page, one request at a time or eight."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.load_server.entities import SMALL
from benchmarks.measure import Run, median_ratio
from benchmarks.outcome import Effort, Figure, Outcome, Table, numbers
from benchmarks.programs import Bench, Program, bench

_ENTITY = "Bench60"
_IN_FLIGHT = 8
_PAGE_ROWS = 1000


def companies(effort: Effort) -> Outcome:
    """Eight legal entities of ten pages, 1 s a page."""
    pages = 10 if not effort.quick else 4
    title = "Eight companies, 1 s a page"
    return _entity(title, effort, companies=8, pages=8 * pages, seconds=1.0, wanted=6.5)


def companies_200ms(effort: Effort) -> Outcome:
    """Eight legal entities of ten pages, 200 ms a page."""
    pages = 10 if not effort.quick else 4
    return _entity("Eight companies, 200 ms a page", effort, companies=8, pages=8 * pages, seconds=0.2)


def one_company(effort: Effort) -> Outcome:
    """One legal entity of 40 pages, 1 s a page."""
    pages = 40 if not effort.quick else 20
    return _entity("One company, 1 s a page", effort, companies=1, pages=pages, seconds=1.0, wanted=5)


def one_company_200ms(effort: Effort) -> Outcome:
    """One legal entity of 40 pages, 200 ms a page."""
    return _entity("One company, 200 ms a page", effort, companies=1, pages=40, seconds=0.2)


def small(effort: Effort) -> Outcome:
    """Two hundred entities of one page, 200 ms a page."""
    entities = SMALL[:40] if effort.quick else SMALL
    with bench(rows={}, companies=1) as at:
        programs = [_tap(at, entities, parallel) for parallel in (1, _IN_FLIGHT)]
        title = f"{len(entities)} small entities, 200 ms a page"
        return _outcome(title, at, programs, effort, pages=len(entities), seconds=0.2, wanted=6)


def _entity(
    title: str, effort: Effort, *, companies: int, pages: int, seconds: float, wanted: float | None = None
) -> Outcome:
    rows = pages * _PAGE_ROWS - companies * _PAGE_ROWS // 2  # a company's last page is seldom full
    with bench(rows={_ENTITY: rows}, companies=companies) as at:
        programs = [_tap(at, (_ENTITY,), parallel, page_size=_PAGE_ROWS) for parallel in (1, _IN_FLIGHT)]
        return _outcome(title, at, programs, effort, pages=pages, seconds=seconds, wanted=wanted)


def _tap(at: Bench, entities: tuple[str, ...], parallel: int, **config: Any) -> Program:
    return at.tap(f"{parallel} in flight", entities, max_parallel_requests=parallel, **config)


def _outcome(
    title: str,
    at: Bench,
    programs: list[Program],
    effort: Effort,
    *,
    pages: int,
    seconds: float,
    wanted: float | None,
) -> Outcome:
    """Run one request at a time and eight, and compare with as many pages at once, all the time."""
    for each in programs:
        at.run(each)
    unhurried = at.run(programs[1]).seconds
    at.server.behave(page_seconds=seconds)
    rounds = [[at.run(each) for each in programs] for _ in range(effort.pairs)]
    alone, together = ([one[place] for one in rounds] for place in range(2))
    gain = median_ratio([each.seconds for each in alone], [each.seconds for each in together])
    ideal = pages * seconds / _IN_FLIGHT + unhurried
    rows = [_row(each.label, group) for each, group in zip(programs, (alone, together), strict=True)]
    rows.append(("ideal: eight in flight all the time", f"{ideal:.1f}", "", ""))
    rows.append(("without waiting", f"{unhurried:.1f}", "", ""))
    figures = [Figure.at_least(f"faster with 8 in flight than with 1: {title}", gain, wanted or 1)]
    setting = (
        f"{pages} pages, every request takes {seconds:g} s; {effort.pairs} rounds. Gain {gain:.1f} times."
    )
    return Outcome(title, setting, Table(_HEAD, rows), figures if wanted else [])


_HEAD = ("program", "wall s", "requests", "most in flight")


def _row(label: str, group: list[Run]) -> tuple[str, ...]:
    return (
        label,
        numbers([each.seconds for each in group]),
        f"{median(each.server['requests'] for each in group):.0f}",
        f"{max(each.server['most_in_flight'] for each in group)}",
    )


_DEEP_PAGES = 1000
_DEEP_ROWS = 100
_SPAN = 100


def deep(effort: Effort) -> Outcome:
    """A thousand pages from a server that charges for every row it skips."""
    pages = _DEEP_PAGES if not effort.quick else _DEEP_PAGES // 4
    with bench(rows={_ENTITY: pages * _DEEP_ROWS}) as at:
        programs = [
            _tap(at, (_ENTITY,), 1, page_size=_DEEP_ROWS),
            _tap(at, (_ENTITY,), _IN_FLIGHT, page_size=_DEEP_ROWS),
            at.floor(_ENTITY, page_size=_DEEP_ROWS),
        ]
        for each in programs:
            at.run(each)
        at.server.behave(page_seconds=0.01, skipped_row_seconds=5e-7)
        rounds = [[at.run(each) for each in programs] for _ in range(effort.pairs)]
    labels = ("by seek, 1 in flight", "by seek, 8 in flight", "by next links, as a plain client does")
    spans = [[_first_and_last(one[place]) for one in rounds] for place in range(3)]
    rows = [(label, *_span_row(each)) for label, each in zip(labels, spans, strict=True)]
    growth = median_ratio([last for _, last in spans[0]], [first for first, _ in spans[0]])
    figures = [
        Figure.at_most(f"time for the last {_SPAN} pages of {pages:,} against the first {_SPAN}", growth, 1.1)
    ]
    setting = f"{pages:,} pages of {_DEEP_ROWS}; 10 ms a page and 1 ms for every 2,000 rows skipped."
    head = ("way of paging", f"first {_SPAN} pages, s", f"last {_SPAN} pages, s", "growth")
    return Outcome("Deep reads", setting, Table(head, rows), figures)


def _first_and_last(run: Run) -> tuple[float, float]:
    ends = run.server["page_ends"]
    return ends[_SPAN] - ends[0], ends[-1] - ends[-1 - _SPAN]


def _span_row(spans: list[tuple[float, float]]) -> tuple[str, ...]:
    first, last = ([each[place] for each in spans] for place in range(2))
    return f"{median(first):.2f}", f"{median(last):.2f}", f"{median_ratio(last, first):.2f}"
