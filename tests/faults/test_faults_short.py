"""The short form of the fault suite; `make faults` runs the long one."""

from __future__ import annotations

import pytest
from histories import History, live
from naive import naive_sync
from runs import run
from weather import Case, alone, storm

from tap_d365fo.sandbox.fault_kinds import FAULTS

CASES = list(alone())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_under_every_fault_all_rows_arrive_or_the_run_says_which_did_not(case: Case):
    verdict = run(case)

    assert verdict.is_good, str(verdict)


# The large ones are storms that once brought a row too many, or did not name one that was missing.
@pytest.mark.parametrize("seed", [*range(8), 20260064, 20260207])
def test_in_a_storm_of_faults_all_rows_arrive(seed: int):
    verdict = run(storm(seed))

    assert verdict.is_good, str(verdict)


def test_every_fault_of_the_sandbox_is_in_the_suite():
    # A company dropped in silence is no read's fault: sweeps meet it in their histories.
    struck = {fault.partition(":")[0] for case in CASES for fault in case.faults} | {"dropped-company"}

    assert struck == set(FAULTS)


@pytest.mark.parametrize(
    "name",
    [
        "throttle-429",
        "503-bare",
        "unauthorized-401",
        "truncated-body",
        "html-200",
        "empty-page-with-link",
        "foreign-host-link",
        "connection-reset",
        "error-500-poisoned-row",
        "missing-property",
        "repeating-link",
        "denied-entity-401",
        "entra-refuses-7000215",
    ],
)
def test_a_naive_reader_fails_the_suite(name: str):
    case = next(each for each in CASES if each.name == name)

    assert not run(case, naive_sync).is_good


def test_a_naive_reader_passes_where_nothing_goes_wrong():
    assert run(Case("calm"), naive_sync).is_good


@pytest.mark.parametrize("block", range(5))
def test_after_any_history_of_sweeps_the_target_holds_what_the_environment_holds(block: int):
    for number in range(10):
        verdict = live(History(block * 10 + number))

        assert verdict.is_good, str(verdict)
