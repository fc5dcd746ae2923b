"""The live view of a run: a table that is drawn anew a few times a second, and a summary that stays.

Nothing is imported from here unless somebody watches. Log lines pass above what is drawn.
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tap_d365fo.watch import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_d365fo.watch import State, StreamFigures, Watch

DRAWINGS_A_SECOND = 4
_FINISHED_SHOWN = 6
"""Streams that stay in the live table once they are done, the last ones."""
_BAR_WIDTH = 16
_WIDE = 100
"""Columns of a screen from which there is room for everything."""
_KIBI = 1024

_SHOWN: Mapping[State, tuple[str, str]] = {
    "waiting": ("not read", "dim"),
    "reading": ("reading", "cyan"),
    "whole": ("whole", "green"),
    "failed": ("failed", "bold red"),
    "interrupted": ("interrupted", "yellow"),
}
"""States as they are called on the screen, each with its style."""


class TerminalView:
    """Draws on a terminal while the run goes on; colours and width are rich's own affair."""

    def __init__(self, stderr: TextIO, *, width: int | None = None) -> None:
        self._console = Console(file=stderr, width=width, emoji=False, highlight=False, markup=False)
        self._live: Live | None = None
        self._moved: list[tuple[logging.StreamHandler[Any], Any]] = []

    @property
    def _is_narrow(self) -> bool:
        return self._console.width < _WIDE

    def open(self, watch: Watch) -> None:
        """Draw, and let log lines pass above."""
        above = _Above(self._console)
        for handler in _handlers_on(self._console.file):
            self._moved.append((handler, handler.setStream(above)))
        self._live = Live(
            console=self._console,
            get_renderable=lambda: self.drawing(watch),
            refresh_per_second=DRAWINGS_A_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def ended(self, watch: Watch, stream: StreamFigures) -> None:
        """Do nothing: the next drawing shows it."""

    def tick(self, watch: Watch) -> None:
        """Do nothing: it is drawn more often than that."""

    def close(self, watch: Watch) -> None:
        """Put the log back, and leave a summary."""
        if self._live is not None:
            self._live.stop()
        for handler, stream in self._moved:
            handler.setStream(stream)
        self._moved.clear()
        self._console.print(_summary(watch, is_narrow=self._is_narrow))
        self._console.print(watch.outcome, soft_wrap=True)

    def drawing(self, watch: Watch) -> RenderableType:
        """Return what is drawn while the run goes on."""
        now = watch.clock()
        streams = list(watch.streams.values())
        reading = [each for each in streams if each.state == "reading"]
        done = [each for each in streams if each.state not in ("reading", "waiting")]
        titles = ("stream", "", ">rows", ">rows/s", ">pages", ">companies", "progress", ">left")
        table = _table(*titles, is_narrow=self._is_narrow)
        for each in [*done[-_FINISHED_SHOWN:], *reading]:
            table.add_row(*_moving(each, now))
        line = f"{len(done)} of {len(streams)} streams done, {duration(watch.seconds)}"
        wait = watch.wait
        below = [Text(wait, style="yellow", no_wrap=True, overflow="ellipsis")] if wait else []
        return Group(table, Text(line, style="dim"), *below)


def _moving(stream: StreamFigures, now: float) -> tuple[RenderableType, ...]:
    left = stream.seconds_left(now)
    return (
        stream.name,
        Text("comparing", "cyan") if stream.listed and stream.state == "reading" else _state(stream.state),
        f"{stream.rows:,}",
        f"{stream.rows_per_second(now):,.0f}",
        f"{stream.pages:,}",
        "{}/{}".format(*stream.companies) if stream.companies else "",
        _bar(stream),
        "" if left is None else duration(left),
    )


_SUMMARY = (
    "stream",
    "method",
    ">rows",
    ">deletes",
    ">requests",
    ">bytes",
    ">throttled",
    ">time",
    ">rows/s",
    "",
)


def _summary(watch: Watch, *, is_narrow: bool) -> Table:
    now = watch.clock()
    rows: list[tuple[RenderableType, ...]] = [
        (
            each.name,
            each.method,
            f"{each.rows:,}",
            f"{each.deletes:,}" if each.deletes else "",
            f"{each.requests:,}",
            _size(each.bytes_on_wire),
            duration(each.throttled_seconds) if each.throttled_seconds else "",
            duration(each.seconds(now)),
            f"{each.rows_per_second(now):,.0f}",
            _state(each.state),
        )
        for each in watch.streams.values()
    ]
    # Where room is scarce, a column that says nothing gives way to names.
    kept = [at for at in range(len(_SUMMARY)) if not is_narrow or any(row[at] for row in rows)]
    table = _table(*(_SUMMARY[at] for at in kept), is_narrow=is_narrow)
    for row in rows:
        table.add_row(*(row[at] for at in kept))
    return table


def _table(*titles: str, is_narrow: bool) -> Table:
    """Return an empty table; titles of columns that are aligned to the right begin with `>`."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1 if is_narrow else 2, 0, 0))
    for title in titles:
        justify: Any = "right" if title.startswith(">") else "left"
        is_name = title == "stream"
        overflow: Any = "fold" if is_name else "ellipsis"
        table.add_column(title.lstrip(">"), justify=justify, no_wrap=not is_name, overflow=overflow)
    return table


def _state(state: State) -> Text:
    return Text(*_SHOWN[state])


def _bar(stream: StreamFigures) -> RenderableType:
    if stream.state != "reading" or not stream.expected:
        return ""
    return ProgressBar(total=stream.expected, completed=stream.seen, width=_BAR_WIDTH)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _KIBI:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIBI
    return f"{count:.1f} TiB"


class _Above(io.TextIOBase):
    """A stream whose lines are printed above what is drawn."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> int:
        line = text.rstrip("\n")
        if line:
            self._console.print(Text(line), soft_wrap=True)
        return len(text)


def _handlers_on(stream: Any) -> list[logging.StreamHandler[Any]]:
    """Return the log handlers that write to a stream, whoever configured them."""
    named = (logging.getLogger(name) for name in list(logging.root.manager.loggerDict))
    handlers = {id(each): each for logger in (logging.root, *named) for each in logger.handlers}
    return [
        each
        for each in handlers.values()
        if isinstance(each, logging.StreamHandler) and each.stream is stream
    ]
