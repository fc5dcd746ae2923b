"""What an environment says about itself."""

from __future__ import annotations

import dataclasses
import logging

import pytest
from scripted import Reply, reply_error, reply_html, reply_json

from tap_d365fo.errors import (
    BrokenAnswerError,
    EntitySetNotFoundError,
    MetadataError,
    PagingError,
    TransportError,
)
from tap_d365fo.transport.service import ODataService

METADATA = "/data/$metadata"
CSDL = (
    b'<?xml version="1.0" encoding="utf-8"?><edmx:Edmx xmlns:edmx="x">'
    + b"<a/>" * 200_000
    + b"</edmx:Edmx>\r\n"
)
DOCUMENT = Reply(200, CSDL, {"Content-Type": "application/xml"})


@pytest.fixture
def service(session):
    def make(**settings) -> ODataService:
        made = session(**settings)
        return ODataService(made, made._config)

    return make


# -- metadata ---------------------------------------------------------------------------------------------


def test_metadata_is_read_in_pieces(service, fno):
    fno.script(METADATA, dataclasses.replace(DOCUMENT, is_gzip=True))
    pieces: list[bytes] = []

    service().metadata(pieces.extend)

    assert b"".join(pieces) == CSDL
    assert len(pieces) > 2
    assert fno.to(METADATA)[0].headers["accept"] == "application/xml"


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\r\n  "])
def test_metadata_may_begin_with_a_mark_or_blanks(service, fno, mark):
    fno.script(METADATA, dataclasses.replace(DOCUMENT, body=mark + CSDL))

    assert service().metadata(b"".join) == mark + CSDL


def test_metadata_has_the_time_that_a_cold_server_needs_and_says_so(service, fno, clock, caplog):
    caplog.set_level(logging.INFO, "tap_d365fo")
    fno.script(METADATA, dataclasses.replace(DOCUMENT, during=lambda: clock.pass_time(1500)))

    assert service().metadata(b"".join) == CSDL
    assert "builds its cache, which can take minutes" in caplog.text


@pytest.mark.parametrize(
    "weather",
    [
        reply_html(200),
        reply_html(503),
        Reply(200, b""),
        reply_json({"value": []}),
        dataclasses.replace(DOCUMENT, sent=1000),
        dataclasses.replace(DOCUMENT, sent=1000, is_chunked=True),
        Reply(200, CSDL[:70_000]),
        Reply(is_reset=True),
    ],
)
def test_metadata_that_came_broken_is_asked_for_whole_again(service, fno, weather):
    fno.script(METADATA, weather, DOCUMENT)

    assert service().metadata(b"".join) == CSDL
    assert len(fno.to(METADATA)) == 2


def test_metadata_that_cannot_be_understood_is_not_asked_for_again_and_quotes_the_ids(service, fno):
    fno.script(METADATA, dataclasses.replace(DOCUMENT, headers={"ms-dyn-aid": "act-1"}))

    def read(_pieces) -> None:
        raise MetadataError("no schema")

    with pytest.raises(MetadataError) as caught:
        service().metadata(read)

    assert caught.value.ids["ms-dyn-aid"] == "act-1"
    assert len(fno.to(METADATA)) == 1


# -- the rest ---------------------------------------------------------------------------------------------


def test_the_version_is_asked_for_by_the_action(service, fno):
    path = "/data/DataManagementEntities/Microsoft.Dynamics.DataEntities.GetApplicationVersion"
    fno.script(path, reply_json({"@odata.context": "x#Edm.String", "value": "10.0.47"}))

    assert service().application_version() == "10.0.47"
    asked = fno.to(path)[0]
    assert (asked.method, asked.body, asked.headers["content-type"]) == ("POST", b"{}", "application/json")


def test_json_below_the_address_is_read_whatever_mark_it_begins_with(service, fno):
    fno.script("/metadata/DataEntities", Reply(200, b'\xef\xbb\xbf{"value": [1]}'))

    assert service().get_json("/metadata/DataEntities", what="reading the data entities") == {"value": [1]}


@pytest.mark.parametrize("body", [b"[1]", b"5", b"{", b"<html>", b"", b"[" * 100_000, b"\xff\xfe{}"])
def test_json_that_is_no_object_is_a_broken_answer(service, fno, body):
    fno.script("/metadata/DataEntities", Reply(200, body))

    with pytest.raises(BrokenAnswerError):
        service(retry_budget_seconds=0).get_json("metadata/DataEntities", what="reading the data entities")


def test_json_that_is_not_there_is_an_error_of_its_own(service, fno):
    fno.script("/metadata/DataEntities", reply_error(404))

    with pytest.raises(EntitySetNotFoundError):
        service().get_json("metadata/DataEntities", what="reading the data entities")


@pytest.mark.parametrize(
    "link", ["{url}/data?$skiptoken=2", "?$skiptoken=2", "/data?$skiptoken=2", "../data?$skiptoken=2"]
)
def test_the_service_document_lists_entity_sets_over_all_its_pages(service, fno, link):
    first = {
        "value": [
            {"name": "CustomersV3", "kind": "EntitySet", "url": "CustomersV3"},
            {"name": "Me", "kind": "Singleton", "url": "Me"},
            {"name": "Old", "url": "Old"},
            "odd",
        ],
        "@odata.nextLink": link.replace("{url}", fno.url),
    }
    second = {
        "value": [{"name": "VendorsV2", "kind": "EntitySet"}, {"name": "CustomersV3", "kind": "EntitySet"}]
    }
    fno.script("/data", lambda received: reply_json(second if "skiptoken" in received.path else first))

    assert service().service_document() == ["CustomersV3", "Old", "VendorsV2"]


def test_a_service_document_that_leads_back_to_itself_is_an_error(service, fno):
    fno.script("/data", reply_json({"value": [], "@odata.nextLink": f"{fno.url}/data"}))

    with pytest.raises(PagingError, match="leads back"):
        service().service_document()


def test_a_service_document_that_leads_elsewhere_is_an_error(service, fno):
    fno.script("/data", reply_json({"value": [], "@odata.nextLink": "https://evil.example/data"}))

    with pytest.raises(PagingError, match="leads away"):
        service().service_document()


def test_a_service_document_without_a_list_is_an_error(service, fno):
    fno.script("/data", reply_json({"odd": 1}))

    with pytest.raises(MetadataError, match="lists no entity sets"):
        service().service_document()


@pytest.mark.parametrize("body", [b"42", b"\xef\xbb\xbf42", b" 42\r\n"])
def test_a_count_is_a_bare_number(service, fno, body):
    fno.script("/data/CustomersV3/$count", Reply(200, body, {"Content-Type": "text/plain"}))

    assert service().count(f"{fno.url}/data/CustomersV3/$count", what="counting CustomersV3") == 42


@pytest.mark.parametrize("body", [b"", b"many", b"-1", b"<html>", b"1e9", b"9" * 30])
def test_a_count_that_is_no_number_is_a_broken_answer(service, fno, body):
    fno.script("/data/CustomersV3/$count", Reply(200, body))

    with pytest.raises(BrokenAnswerError, match="Counting CustomersV3: The answer is not a number"):
        service(retry_budget_seconds=0).count(
            f"{fno.url}/data/CustomersV3/$count", what="counting CustomersV3"
        )


def test_the_whole_is_given_up_within_the_budget(service, fno, clock):
    fno.script(METADATA, dataclasses.replace(DOCUMENT, sent=1000))

    with pytest.raises(TransportError, match="The connection was cut off"):
        service(retry_budget_seconds=60).metadata(b"".join)

    assert sum(clock.waits) <= 60
