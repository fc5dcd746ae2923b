"""The usual tap: singer-sdk's RESTStream filled in as its template proposes, and nothing else.

It is what a competent afternoon gives: typed schema, JSONPath records, next links by `BaseHATEOASPaginator`,
the SDK's OAuth authenticator. Nothing in it is slowed down, and nothing is tuned.
"""

from __future__ import annotations

import decimal
import os
from collections.abc import Iterable
from functools import cached_property
from typing import Any, ClassVar

import requests
from singer_sdk import RESTStream, Stream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import OAuthAuthenticator
from singer_sdk.helpers.jsonpath import extract_jsonpath
from singer_sdk.pagination import BaseHATEOASPaginator

from benchmarks.load_server.entities import shape_named
from tap_d365fo.edm.model import Property

_TYPES = {
    "Edm.Decimal": th.NumberType,
    "Edm.Int32": th.IntegerType,
    "Edm.Int64": th.IntegerType,
    "Edm.DateTimeOffset": th.DateTimeType,
}
"""Every other type, enums among them, is a string."""


class Authenticator(OAuthAuthenticator):
    """Client credentials."""

    @property
    def oauth_request_body(self) -> dict[str, Any]:
        return {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "scope": self.oauth_scopes,
        }


class NextLinkPaginator(BaseHATEOASPaginator):
    """Follows OData's next links."""

    def get_next_url(self, response: requests.Response) -> str | None:
        return response.json().get("@odata.nextLink")


class EntityStream(RESTStream):
    """One entity set."""

    records_jsonpath = "$.value[*]"

    @property
    def url_base(self) -> str:
        return f"{self.config['environment_url']}/data"

    @cached_property
    def authenticator(self) -> Authenticator:
        return Authenticator(
            auth_endpoint=f"{self.config['authority']}/{self.config['tenant_id']}/oauth2/v2.0/token",
            oauth_scopes=f"{self.config['environment_url']}/.default",
            client_id=self.config["client_id"],
            client_secret=self.config["client_secret"],
        )

    @property
    def requests_session(self) -> requests.Session:
        """Return the SDK's session; it would forget this variable, and the server is on loopback."""
        session = super().requests_session
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        return session

    @property
    def http_headers(self) -> dict[str, Any]:
        return {"Accept": "application/json", "Prefer": "odata.maxpagesize=10000"}

    def get_new_paginator(self) -> NextLinkPaginator:
        return NextLinkPaginator()

    def get_url_params(self, context: Any, next_page_token: Any) -> dict[str, Any] | str:  # noqa: ARG002  the SDK's
        return next_page_token.query if next_page_token else {"cross-company": "true"}

    def parse_response(self, response: requests.Response) -> Iterable[dict[str, Any]]:
        yield from extract_jsonpath(self.records_jsonpath, input=response.json(parse_float=decimal.Decimal))


class TapVanilla(Tap):
    """The load server's entities, typed as its metadata says."""

    name = "tap-vanilla"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("environment_url", th.StringType, required=True),
        th.Property("authority", th.StringType, required=True),
        th.Property("tenant_id", th.StringType, required=True),
        th.Property("client_id", th.StringType, required=True),
        th.Property("client_secret", th.StringType, required=True, secret=True),
        th.Property("entities", th.ArrayType(th.StringType), required=True),
    ).to_dict()

    def discover_streams(self) -> list[Stream]:
        return [self._stream(name) for name in self.config["entities"]]

    def _stream(self, name: str) -> Stream:
        entity_type = shape_named(name).definition.entity_type
        columns = [_column(each, entity_type.key) for each in entity_type.properties]
        stream = EntityStream(self, name=name, schema=th.PropertiesList(*columns).to_dict(), path=f"/{name}")
        stream.primary_keys = entity_type.key
        return stream


def _column(column: Property, key: tuple[str, ...]) -> th.Property:
    return th.Property(column.name, _TYPES.get(column.type, th.StringType), required=column.name in key)


if __name__ == "__main__":
    TapVanilla.cli()
