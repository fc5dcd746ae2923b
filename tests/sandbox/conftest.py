"""Somebody who speaks to the sandbox with plain `requests`, with no idea of our client."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import requests

from tap_d365fo.sandbox.server import Sandbox


class Caller:
    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = box.ca_file

    def token(self, *, tenant: str | None = None, **form: str) -> requests.Response:
        body = {
            "grant_type": "client_credentials",
            "client_id": self.box.client_id,
            "client_secret": self.box.client_secret,
            "scope": f"{self.box.url}/.default",
        }
        url = f"{self.box.authority}/{tenant or self.box.tenant_id}/oauth2/v2.0/token"
        return self.session.post(url, data={**body, **form}, timeout=10)

    def sign_in(self) -> Caller:
        self.session.headers["Authorization"] = f"Bearer {self.token().json()['access_token']}"
        return self

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.session.get(self.box.url + path, headers=headers, timeout=10, allow_redirects=False)

    def pages(self, path: str, size: int = 1000) -> list[dict[str, Any]]:
        """Follow next links to the end."""
        found, url = [], self.box.url + path
        while url:
            found.append(
                self.session.get(url, headers={"Prefer": f"odata.maxpagesize={size}"}, timeout=10).json()
            )
            url = found[-1].get("@odata.nextLink")
        return found

    def rows(self, path: str, size: int = 1000) -> list[dict[str, Any]]:
        return [row for page in self.pages(path, size) for row in page["value"]]


@pytest.fixture(scope="module")
def calm():
    """A signed-in caller of a sandbox that nobody changes."""
    with Sandbox() as box:
        yield Caller(box).sign_in()


@pytest.fixture
def caller():
    """A signed-in caller of a sandbox of one's own."""
    with Sandbox() as box:
        yield Caller(box).sign_in()


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of genuine samples, there or not."""
    return Path(os.environ.get("D365FO_SAMPLES", Path(__file__).parents[3] / "shared" / "samples"))


@pytest.fixture(scope="session")
def recordings(samples) -> dict[str, dict[str, Any]]:
    """The genuine lists, by entity set."""
    found = {}
    for path in sorted(samples.glob("recordings/list-*.json")):
        recording = json.loads(path.read_text(encoding="utf-8"))[0]
        found[recording["path"].rpartition("/")[2]] = recording
    if not found:
        pytest.skip(f"There are no genuine recordings under {samples}.")
    return found
