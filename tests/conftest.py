"""A sandbox for every test that asks, trusted as users trust a corporate CA: through the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tap_d365fo.sandbox.server import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox of its own: the test may change data, faults and switches."""
    with Sandbox(seed=7, switches={"companies.hidden": ""}) as box:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(box.ca_file))
        yield box
