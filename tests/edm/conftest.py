"""Fixtures of the EDM room: the genuine samples, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def samples() -> Path:
    default = Path(__file__).parents[3] / "shared" / "samples"
    folder = Path(os.environ.get("D365FO_SAMPLES", default))
    if not folder.is_dir():
        pytest.skip(f"the genuine samples are not at hand: no folder {folder}")
    return folder
