"""When faults strike; what each one does is a row of the table in `fault_kinds.py`.

The nth requests that match a path, a share of them (by a seeded chance), a number of times at most, or
within a span of time.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from tap_d365fo.sandbox.fault_kinds import FAULTS

Nth = int | Iterable[int] | None


class Fault:
    """One fault, and when it strikes.

    `path` is searched in the decoded path. `nth` counts matching requests from 1. `share` is a chance for
    each, `count` the most strikes; `after_s` and `for_s` bound the time since it was added. With none of
    these it strikes always. What is left over are the fault's own parameters.
    """

    def __init__(
        self,
        name: str,
        *,
        path: str | None = None,
        nth: Nth = None,
        share: float | None = None,
        count: int | None = None,
        after_s: float = 0.0,
        for_s: float | None = None,
        **params: Any,
    ) -> None:
        if name not in FAULTS:
            raise ValueError(f"There is no fault {name!r}; there are {', '.join(FAULTS)}.")
        kind = FAULTS[name]
        unknown = sorted(set(params) - set(kind.params))
        if unknown:
            raise ValueError(
                f"{name} takes {', '.join(kind.params) or 'no parameters'}, not {', '.join(unknown)}."
            )
        self.name, self.kind = name, kind
        self.path = re.compile(path or kind.path)
        self.nth = None if nth is None else frozenset([nth] if isinstance(nth, int) else nth)
        self.share, self.count, self.after_s, self.for_s = share, count, after_s, for_s
        self.params: Mapping[str, Any] = {**kind.params, **params}

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read `name` or `name:share=0.1,retry_after=2`; without a trigger, one that suits trying out."""
        name, _, rest = text.partition(":")
        given = dict(part.partition("=")[::2] for part in rest.split(",") if part)
        read: dict[str, Any] = {key: _TRIGGERS.get(key, _scalar)(value) for key, value in given.items()}
        if name in FAULTS and not set(read) & {"nth", "share", "count", "for_s"}:
            read |= FAULTS[name].at_first
        return cls(name, **read)

    def __repr__(self) -> str:
        return f"Fault({self.name!r}, path={self.path.pattern!r})"


def _scalar(text: str) -> Any:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


_TRIGGERS: Mapping[str, Callable[[str], Any]] = {
    "nth": lambda text: [int(each) for each in text.split("|")],
    "share": float,
    "count": int,
    "after_s": float,
    "for_s": float,
    "path": str,
    "key": str,
}


@dataclass(slots=True)
class _Counter:
    """How often a fault was considered and struck."""

    fault: Fault
    added: float
    matched: int = 0
    struck: int = 0


class Faults:
    """The faults in force. Every method may be called from any thread."""

    def __init__(self, faults: Iterable[Fault | str] = (), *, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._rng = Random(f"faults/{seed}")
        self._counters: list[_Counter] = []
        self.struck: list[tuple[str, str]] = []
        """(fault, path) of every strike, in order."""
        for each in faults:
            self.add(each)

    def add(self, fault: Fault | str, **rest: Any) -> Fault:
        """Put a fault in force: a Fault, a name with arguments, or the short form of the command line."""
        made = fault if isinstance(fault, Fault) else Fault(fault, **rest) if rest else Fault.parse(fault)
        with self._lock:
            self._counters.append(_Counter(made, time.monotonic()))
        return made

    def remove(self, fault: Fault) -> None:
        """Take one fault out of force."""
        with self._lock:
            self._counters = [each for each in self._counters if each.fault is not fault]

    def clear(self) -> None:
        """Let the sky clear."""
        with self._lock:
            self._counters.clear()

    def __iter__(self) -> Iterator[Fault]:
        return iter([each.fault for each in self._counters])

    def __len__(self) -> int:
        return len(self._counters)

    def count(self, name: str) -> int:
        """Return how often faults of that name struck."""
        return sum(1 for struck, _ in self.struck if struck == name)

    def choose(self, path: str) -> list[Fault]:
        """Return the faults that strike a request for `path`, and count them."""
        now = time.monotonic()
        chosen: list[Fault] = []
        with self._lock:
            for each in self._counters:
                if not each.fault.path.search(path):
                    continue
                each.matched += 1
                # What stands in place of the answer leaves the others nothing to strike.
                if not any(fault.kind.is_final for fault in chosen) and self._strikes(each, now):
                    chosen.append(each.fault)
            self.struck += [(each.name, path) for each in chosen]
        return chosen

    def _strikes(self, counter: _Counter, now: float) -> bool:
        fault, age = counter.fault, now - counter.added
        if age < fault.after_s or (fault.for_s is not None and age > fault.after_s + fault.for_s):
            return False
        if fault.count is not None and counter.struck >= fault.count:
            return False
        if fault.nth is not None and counter.matched not in fault.nth:
            return False
        if fault.share is not None and self._rng.random() >= fault.share:
            return False
        counter.struck += 1
        return True
