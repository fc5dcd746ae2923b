"""`python -m benchmarks.run`: measures scenarios, prints tables, and writes docs/benchmarks.md.

`--quick`, `--rows` and `--pairs` make runs that are shorter or other than those documented; their results are
printed only, unless `--write` is given.
"""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks import report, sizes, sweeps, throughput, waiting
from benchmarks.measure import ProgramFailed
from benchmarks.outcome import Effort, Scenario

SCENARIOS: dict[str, Scenario] = {
    "as-is": throughput.as_is,
    "dates": throughput.dates,
    "selection": throughput.selection,
    "stream-map": throughput.stream_map,
    "batch": throughput.batch,
    "gzip": throughput.gzip,
    "airbyte": throughput.airbyte,
    "companies": waiting.companies,
    "companies-200ms": waiting.companies_200ms,
    "one-company": waiting.one_company,
    "one-company-200ms": waiting.one_company_200ms,
    "small": waiting.small,
    "deep": waiting.deep,
    "memory": sizes.memory,
    "discovery": sizes.discovery,
    "start-up": sizes.start_up,
    "sweep": sweeps.sweep,
    "sweep-unchanged": sweeps.unchanged,
}
"""In the order in which they are run and told."""


def main() -> int:
    options = _arguments()
    effort = Effort(
        pairs=options.pairs or (2 if options.quick else 5), rows=options.rows, quick=options.quick
    )
    writes = options.write or not (options.quick or options.rows or options.pairs)
    missed = failed = 0
    for name in options.only or SCENARIOS:
        began = time.monotonic()
        try:
            outcome = SCENARIOS[name](effort)
        except ProgramFailed as exc:
            failed += 1
            print(f"{name} FAILED: {exc}\n", flush=True)
            continue
        missed += sum(not each.reached for each in outcome.figures)
        print(f"{report.as_text(outcome)}\n  [{name}: {time.monotonic() - began:.0f} s]\n", flush=True)
        if writes:
            report.keep(name, outcome)
            report.write_page(tuple(SCENARIOS))
    return 1 if failed or (missed and options.strict) else 0


def _arguments() -> argparse.Namespace:
    listed = "\n".join(f"  {name:18} {scenario.__doc__}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=f"{__doc__}\nScenarios:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, metavar="SCENARIO", help="Run these alone.")
    parser.add_argument("--rows", type=int, help="Rows, in place of each scenario's own number.")
    parser.add_argument("--pairs", type=int, help="Rounds after the warm-up; 5 without it.")
    parser.add_argument("--quick", action="store_true", help="Fewer rows, two rounds: to see that all runs.")
    parser.add_argument(
        "--write", action="store_true", help="Write results into the documentation in any case."
    )
    parser.add_argument("--strict", action="store_true", help="Exit with 1 when a figure is missed.")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
