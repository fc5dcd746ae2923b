"""The tap under every fault alone, in pairs, in seeded storms; sweeps through random histories.

`python -m tests.faults.suite` runs every fault alone; `--full` everything. `--seed` and `--runs` choose the
storms. Prints a table; the exit code is 1 if anything in it is wrong.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from histories import HistoryVerdict, histories, live  # noqa: E402  found by the path above
from naive import naive_sync  # noqa: E402
from runs import Verdict, run  # noqa: E402
from weather import Case, alone, pairs, storm  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "faults.md"
STORMS = 500
HISTORIES = 2000
COLUMNS = (
    "fault",
    "runs",
    "rows lost",
    "rows doubled",
    "exit code honest",
    "token leaks",
    "Retry-After violations",
)

_HEAD = """# What was tried against the tap, and what came of it

Written by `python -m tests.faults.suite --write {arguments}`: {took}.

Each run reads nine entities from the sandbox under one fault, a pair or a storm of several, and is compared row by
row with what the sandbox holds. *Rows lost* counts rows that did not arrive though the run did not say so;
*rows doubled* those that arrived more often than they exist, beyond an overlap that a method announces. An exit code
is *honest* where a run that ended well brought everything, and one that failed named what it did not bring, ended
within its budget and left a state from which a calm run brought the rest. A *token leak* is a token or secret in the
output, in the log or at another host; a *Retry-After violation* is a request that was sent before its time. Names of
faults are those of `d365fo sandbox --list-faults`; the clock of these runs is fifty times as fast as the machine's.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for, print the table, and return the exit code."""
    asked = _asked(arguments)
    logging.disable(logging.NOTSET)
    print(f"seed {asked.seed}", flush=True)
    began = time.monotonic()
    with ProcessPoolExecutor(asked.workers, mp_context=multiprocessing.get_context("fork")) as pool:
        verdicts = list(_told(pool.map(_run, list(_cases(asked)), chunksize=1)))
        tales = list(_told(pool.map(live, list(histories(asked.histories, seed=asked.seed)), chunksize=4)))
        believed = [name for name, passed in pool.map(_naive, list(_alone(asked))) if passed]
    took = f"{len(verdicts)} runs and {len(tales)} histories in {time.monotonic() - began:.0f} s, seed {asked.seed}"
    blind = _blind(believed)
    told = [
        *_table(verdicts),
        *_tales(tales),
        "",
        f"The naive reader passes: {', '.join(believed) or 'nothing'}.",
    ]
    told += [f"WRONG: the suite lets it pass under {', '.join(blind)}."] if blind else []
    print("\n".join([*told, "", f"{took}."]))
    if asked.write:
        shown = (each for each in (sys.argv[1:] if arguments is None else arguments) if each != "--write")
        PAGE.write_text(
            "\n".join([_HEAD.format(took=took, arguments=" ".join(shown)), *told]) + "\n", encoding="utf-8"
        )
    return 1 if blind or not all(each.is_good for each in (*verdicts, *tales)) else 0


def _asked(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="pairs, storms and histories too")
    parser.add_argument(
        "--seed", type=int, default=None, help="of storms and histories; random when left out"
    )
    parser.add_argument("--runs", type=int, default=None, help=f"how many storms ({STORMS} with --full)")
    parser.add_argument("--histories", type=int, default=None, help=f"how many ({HISTORIES} with --full)")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name} too")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2, help="processes side by side")
    asked = parser.parse_args(arguments)
    asked.seed = int(time.time()) % 1_000_000 if asked.seed is None else asked.seed
    asked.runs = (STORMS if asked.full else 0) if asked.runs is None else asked.runs
    asked.histories = (HISTORIES if asked.full else 0) if asked.histories is None else asked.histories
    return asked


def _alone(asked: argparse.Namespace) -> Iterator[Case]:
    yield from (case for case in alone() if asked.only in case.name)


def _cases(asked: argparse.Namespace) -> Iterator[Case]:
    yield from _alone(asked)
    yield from (case for case in (pairs() if asked.full else ()) if asked.only in case.name)
    yield from (storm(asked.seed * 10_000 + number) for number in range(asked.runs))


def _run(case: Case) -> Verdict:
    return run(case)


def _naive(case: Case) -> tuple[str, bool]:
    return case.name, run(case, naive_sync).is_good


def _told(found: Iterable[Any]) -> Iterator[Any]:
    """Pass verdicts through, saying at once what is wrong with one."""
    for each in found:
        if not each.is_good:
            print(f"WRONG: {each}", flush=True)
        yield each


def _table(verdicts: list[Verdict]) -> Iterator[str]:
    """Yield one row for each fault, for all pairs and for all storms."""
    rows: dict[str, list[Verdict]] = {}
    for each in verdicts:
        rows.setdefault("pairs" if " + " in each.case.name else each.case.name, []).append(each)
    yield _line(*COLUMNS)
    yield _line(*("---" for _ in COLUMNS))
    for name, of_name in [*rows.items(), ("all", verdicts)]:
        total: Callable[[str], int] = lambda what, of=of_name: sum(getattr(each, what) for each in of)  # noqa: E731
        honest = sum(not each.lies for each in of_name)
        is_honest = "yes" if honest == len(of_name) else f"{honest} of {len(of_name)}"
        counts = (total(each) for each in ("lost", "doubled"))
        yield _line(name, len(of_name), *counts, is_honest, total("leaks"), total("violations"))


def _line(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _tales(tales: list[HistoryVerdict]) -> Iterator[str]:
    bad = sum(not each.is_good for each in tales)
    runs, crashes = sum(each.runs for each in tales), sum(each.crashes for each in tales)
    if tales:
        yield ""
        yield (
            f"Sweeps: {len(tales)} histories of {runs} runs, {crashes} of them cut short; target unlike the "
            f"truth in {bad}."
        )


def _blind(passed: list[str]) -> list[str]:
    """The naive reader may pass under a calm sky and under what it cannot notice; a suite that passes more is blind."""
    harmless = {"calm", "page-limit", "no-prefer", "short-tokens", "throttled-at-four", "no-more-companies"}
    unnoticed = ("link-", "query-", "short-page", "bare-")
    return [name for name in passed if name not in harmless and not name.startswith(unnoticed)]


if __name__ == "__main__":
    raise SystemExit(main())
