"""How the commands begin: garbage is not looked for in what is imported, neither meanwhile nor later.

Modules stay as long as the program. Going through all that they made, time and again while they are imported and
once more at the end, is a quarter of what a short run costs, measured.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def tap() -> None:
    """Run `tap-d365fo`."""
    with _kept_for_good():
        from tap_d365fo.tap import main  # noqa: PLC0415  what is imported here is what this is about
    main()


def source() -> None:
    """Run `source-d365fo`."""
    with _kept_for_good():
        from tap_d365fo.airbyte.source import main  # noqa: PLC0415
    main()


def people() -> None:
    """Run `d365fo`."""
    with _kept_for_good():
        from tap_d365fo.cli import main  # noqa: PLC0415
    main()


@contextmanager
def _kept_for_good() -> Iterator[None]:
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
