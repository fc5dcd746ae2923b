"""The sandbox over its sockets, spoken to with plain `requests`."""

from __future__ import annotations

import pytest
import requests

from tap_d365fo.sandbox.server import Sandbox


class Caller:
    """Somebody who signs in and asks, with no idea of our client."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = box.ca_file

    def token(self, *, scope: str | None = None, tenant: str | None = None, **form: str) -> requests.Response:
        body = {
            "grant_type": "client_credentials",
            "client_id": self.box.client_id,
            "client_secret": self.box.client_secret,
            "scope": scope or f"{self.box.url}/.default",
        }
        url = f"{self.box.authority}/{tenant or self.box.tenant_id}/oauth2/v2.0/token"
        return self.session.post(url, data={**body, **form}, timeout=10)

    def sign_in(self) -> Caller:
        self.session.headers["Authorization"] = f"Bearer {self.token().json()['access_token']}"
        return self

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.session.get(self.box.url + path, headers=headers, timeout=10, allow_redirects=False)

    def rows(self, path: str, size: int = 1000) -> list[dict]:
        """Follow next links to the end."""
        found, url = [], self.box.url + path
        while url:
            page = self.session.get(url, headers={"Prefer": f"odata.maxpagesize={size}"}, timeout=10).json()
            found += page["value"]
            url = page.get("@odata.nextLink")
        return found


@pytest.fixture
def box():
    with Sandbox() as box:
        yield box


@pytest.fixture
def caller(box):
    return Caller(box).sign_in()


def test_paging_in_key_order_yields_every_row_once(box, caller):
    found = caller.rows(
        "/data/CustomersV3?cross-company=true&$orderby=dataAreaId,CustomerAccount&$select=dataAreaId,CustomerAccount", 17
    )

    keys = [(row["dataAreaId"], row["CustomerAccount"]) for row in found]
    visible = [row for row in box.truth("CustomersV3") if row["dataAreaId"] != "gbsi"]
    assert len(keys) == len(set(keys)) == len(visible)


def test_without_cross_company_only_the_default_company_is_seen(caller):
    assert {row["dataAreaId"] for row in caller.rows("/data/CustomersV3")} == {"dat"}

    answer = caller.get("/data/CustomersV3?$filter=dataAreaId eq 'usmf'")
    assert (answer.status_code, answer.json()["value"]) == (200, [])
