"""A key that is a decimal finds its row again, however the decimal leaves."""

from __future__ import annotations

import pytest
from singer import Target, sync

STREAM, KEY = "LedgerJournalLines", ("dataAreaId", "JournalBatchNumber", "LineNumber")


@pytest.mark.parametrize("decimals", ["number", "string"])
def test_a_deleted_row_is_told_by_the_key_that_it_came_with(sandbox, tmp_path, decimals):
    config = sandbox.config(entities=[STREAM], change_store=str(tmp_path), decimals=decimals)
    first = sync(config)
    gone = tuple(sandbox.truth(STREAM)[5][name] for name in KEY)
    sandbox.dataset.delete(STREAM, gone)

    second = sync(config, state=first.state)

    (told,) = second.records(STREAM)
    assert isinstance(told["LineNumber"], str) == (decimals == "string")
    if decimals == "string":
        assert told["LineNumber"] == str(gone[2])
    target = Target().apply(first.messages).apply(second.messages)
    assert len(target.rows[STREAM]) == len(sandbox.truth(STREAM))
