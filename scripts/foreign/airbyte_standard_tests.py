"""Airbyte's standard tests over the installed program; runs in the CDK's environment, started by scripts/airbyte.py.

The suite calls a CDK source object in process. This one has no logic: each of its verbs runs `source-d365fo` and
hands on what it says.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airbyte_cdk.models import AirbyteMessage, AirbyteMessageSerializer
from airbyte_cdk.sources import Source
from airbyte_cdk.test.standard_tests import SourceTestSuiteBase

PROGRAM = os.environ["SOURCE_D365FO"]


class SourceD365FO(Source):
    """The program, as an object."""

    def spec(self, logger: Any) -> Any:  # noqa: ARG002  the CDK's signature
        return next(each.spec for each in _run("spec") if each.spec)

    def check(self, logger: Any, config: Mapping[str, Any]) -> Any:  # noqa: ARG002  the CDK's signature
        return next(each.connectionStatus for each in _run("check", config=config) if each.connectionStatus)

    def discover(self, logger: Any, config: Mapping[str, Any]) -> Any:  # noqa: ARG002  the CDK's signature
        return next(each.catalog for each in _run("discover", config=config) if each.catalog)

    def read(self, logger: Any, config: Any, catalog: Any, state: Any = None) -> Iterator[AirbyteMessage]:  # noqa: ARG002
        yield from _run("read", config=config, catalog=catalog, **({"state": state} if state else {}))

    @classmethod
    def read_catalog(cls, catalog_path: str) -> Any:
        """Leave it as it is: what is wrong with it is for the program to say."""
        return json.loads(Path(catalog_path).read_text(encoding="utf-8"))

    @classmethod
    def read_state(cls, state_path: str) -> Any:
        return json.loads(Path(state_path).read_text(encoding="utf-8")) if state_path else []


def _run(verb: str, **files: Any) -> Iterator[AirbyteMessage]:
    arguments = [PROGRAM, verb]
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / f"{name}.json"
            path.write_text(json.dumps(content, default=str), encoding="utf-8")
            arguments += [f"--{name}", str(path)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        yield AirbyteMessageSerializer.load(json.loads(line))


class TestSuite(SourceTestSuiteBase):
    """All of Airbyte's standard tests for sources."""

    connector = SourceD365FO
