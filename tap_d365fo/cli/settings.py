"""Reads the settings for the commands of this door, from a file or the environment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_d365fo.config import SETTINGS
from tap_d365fo.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--config`."""
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="settings as JSON, or ENV for TAP_D365FO_*"
    )


def read(path: str) -> dict[str, Any]:
    """Return the settings; raises ConfigurationError where the file cannot be read."""
    if path == "ENV":
        values = {each.name: os.environ.get(f"TAP_D365FO_{each.name.upper()}") for each in SETTINGS}
        return {name: value for name, value in values.items() if value is not None}
    try:
        settings = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as exc:
        raise ConfigurationError([f"The file {path} cannot be read as JSON: {exc}."]) from exc
    if not isinstance(settings, dict):
        raise ConfigurationError([f"The file {path} holds no JSON object."])
    return settings
