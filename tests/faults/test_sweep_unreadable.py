"""Sweeps over rows that F&O cannot read."""

from __future__ import annotations

import pytest
from fast import FastClock, fast_sync
from singer import discover, sync
from test_sweep import STREAM, key_of
from test_sweep_doubts import deleted, rows_of


@pytest.fixture
def config(sandbox, tmp_path):
    return sandbox.config(entities=[STREAM], change_store=str(tmp_path / "store"), page_size=20)


def test_a_row_that_cannot_be_read_is_not_told_to_be_gone(sandbox, config):
    config = {**config, "entity_options": {STREAM: {"skip_unreadable_rows": True}}}
    first = sync(config)
    changed = rows_of(sandbox, "usmf")[3:6]
    for row in changed:
        sandbox.dataset.update(STREAM, key_of(row), {"CredManNotes": "moved"})
    sandbox.faults.add("error-500-poisoned-row", key="|".join(key_of(changed[1])))

    second = fast_sync(config, discover(config), first.state, clock=FastClock())

    assert second.error is None
    assert deleted(second) == []
    assert {key_of(record) for record in second.records(STREAM)} == {key_of(changed[0]), key_of(changed[2])}


def test_rows_beside_one_that_cannot_be_read_arrive(sandbox, config):
    first = sync(config)
    changed = rows_of(sandbox, "usmf")[3:6]
    for row in changed:
        sandbox.dataset.update(STREAM, key_of(row), {"CredManNotes": "moved"})
    sandbox.faults.add("error-500-poisoned-row", key="|".join(key_of(changed[1])))

    second = fast_sync(config, discover(config), first.state, clock=FastClock())

    assert "virtual field" in str(second.error)
    assert {key_of(record) for record in second.records(STREAM)} == {key_of(changed[0]), key_of(changed[2])}
    assert second.state["bookmarks"][STREAM] == first.state["bookmarks"][STREAM]
