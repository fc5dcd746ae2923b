"""Discovery tells Airbyte all that a read needs, so that a read asks for nothing twice."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from door import Door, configured

from tap_d365fo.airbyte.catalog import HINTS, configured_streams, singer_catalog, to_entry, to_stream
from tap_d365fo.config import Config
from tap_d365fo.errors import CatalogError
from tap_d365fo.extraction.catalog import catalog_entry, entity_from_catalog
from tap_d365fo.extraction.extractor import Extractor

STAMPED, PLAIN, WITHOUT_KEY = "CustTransBiEntities", "CustomersV3", "CashControlConfigurations"


@pytest.fixture
def streams(sandbox, door) -> dict[str, dict[str, Any]]:
    outcome = door.discover(sandbox.config())
    assert outcome.code == 0
    return {each["name"]: each for each in outcome.catalog["streams"]}


def test_streams_carry_keys_cursors_and_modes_by_method(sandbox, streams):
    assert set(streams) == set(sandbox.dataset.names)
    stamped, plain = streams[STAMPED], streams[PLAIN]
    assert stamped["source_defined_primary_key"] == [["dataAreaId"], ["SourceKey"]]
    assert stamped["supported_sync_modes"] == ["full_refresh", "incremental"]
    assert stamped["source_defined_cursor"] is True
    assert stamped["default_cursor_field"] == ["SysModifiedDateTime"]
    assert plain["supported_sync_modes"] == ["full_refresh"]
    assert "default_cursor_field" not in plain
    assert streams[WITHOUT_KEY]["source_defined_primary_key"] == []
    assert streams[WITHOUT_KEY]["is_resumable"] is False
    assert not any("namespace" in each for each in streams.values())


def test_keys_and_cursors_are_columns_of_the_schema(streams):
    for each in streams.values():
        jsonschema.Draft7Validator.check_schema(each["json_schema"])
        named = [*each["source_defined_primary_key"], each.get("default_cursor_field", ["dataAreaId"])]
        assert all(path == ["dataAreaId"] or path[0] in each["json_schema"]["properties"] for path in named)


def test_swept_streams_tell_deletes_and_when_they_saw_a_row(sandbox, door, tmp_path):
    catalog = door.discover(sandbox.config(entities=[PLAIN], change_store=str(tmp_path))).catalog

    (stream,) = catalog["streams"]
    columns = stream["json_schema"]["properties"]
    assert stream["supported_sync_modes"] == ["full_refresh", "incremental"]
    assert stream["source_defined_cursor"] is True
    assert stream["default_cursor_field"] == ["_ab_cdc_cursor"]
    assert columns["_ab_cdc_deleted_at"]["format"] == "date-time"
    assert "null" in columns["_ab_cdc_deleted_at"]["type"]
    assert "_sdc_deleted_at" not in columns


def test_binary_columns_are_offered_only_when_asked_for(sandbox, door):
    def columns(**settings):
        catalog = door.discover(sandbox.config(entities=["CustomerDocumentAttachments"], **settings)).catalog
        return catalog["streams"][0]["json_schema"]["properties"].keys()

    assert columns(include_binary=True) - columns() == {"FileContents"}


def test_decimals_as_strings_have_a_matching_schema(sandbox, door):
    (stream,) = door.discover(sandbox.config(entities=["ExchangeRates"], decimals="string")).catalog[
        "streams"
    ]

    assert stream["json_schema"]["properties"]["Rate"]["type"] == ["string", "null"]


@pytest.mark.parametrize("decimals", ["number", "string"])
def test_a_stream_tells_everything_that_its_entry_told(sandbox, tmp_path, decimals):
    """Key, method, replication key, and the type of every column, for every entity of the sandbox."""
    settings = sandbox.config(decimals=decimals, include_binary=True, change_store=str(tmp_path))
    config = Config.from_mapping(settings)
    extractor = Extractor(config)
    entities = extractor.entities()
    extractor.close()
    assert len(entities) >= 12

    for entity in entities:
        entry = catalog_entry(entity, config)
        catalog = json.loads(json.dumps(configured({"streams": [to_stream(entry)]})))
        (stream,) = configured_streams(catalog)
        (rebuilt,) = singer_catalog([stream], lambda _: pytest.fail("asked again"))["streams"]

        again, columns = entity_from_catalog(rebuilt, config)
        assert (again.name, again.key, again.method, again.replication_key) == (
            entity.name,
            entity.key,
            entity.method,
            entity.replication_key,
        )
        assert columns == {each.name for each in entity.properties}
        for before, after in zip(entity.properties, again.properties, strict=True):
            assert (before.name, before.type) == (after.name, after.type)
            assert (before.ax_type == "Date") == (after.ax_type == "Date")


def test_columns_taken_out_are_not_read(streams):
    catalog = configured({"streams": [streams[PLAIN]]})
    del catalog["streams"][0]["stream"]["json_schema"]["properties"]["NameAlias"]
    (stream,) = configured_streams(catalog)

    entry = to_entry(stream)

    assert entry is not None
    assert "NameAlias" not in entry["schema"]["properties"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda schema: schema.pop(HINTS),
        lambda schema: schema.pop("properties"),
        lambda schema: schema.clear(),
        lambda schema: schema[HINTS].pop("method"),
        lambda schema: schema.update({HINTS: "gone"}),
        lambda schema: schema["properties"].pop("CustomerAccount"),
    ],
    ids=["no hints", "no columns", "nothing", "half the hints", "other hints", "a key column taken out"],
)
def test_a_stream_that_does_not_describe_itself_is_asked_for_again(streams, spoil):
    catalog = configured({"streams": [streams[PLAIN]]})
    spoil(catalog["streams"][0]["stream"]["json_schema"])

    assert to_entry(configured_streams(catalog)[0]) is None


@pytest.mark.parametrize(
    "catalog", [None, [], {}, {"streams": 3}, {"streams": [{}]}, {"streams": [{"stream": {}}]}]
)
def test_what_is_no_configured_catalog_is_refused(catalog):
    with pytest.raises(CatalogError, match="not one of Airbyte's"):
        configured_streams(catalog)


def test_an_unknown_sync_mode_is_refused():
    with pytest.raises(CatalogError, match="resumable"):
        configured_streams({"streams": [{"stream": {"name": "A"}, "sync_mode": "resumable"}]})


def test_the_whole_of_a_large_environment_is_one_catalog(sandbox, program: Door):
    sandbox.switches["metadata.scale"] = "full"

    outcome = program.discover(sandbox.config())

    (line,) = [each for each in outcome.text.split("\n") if each.startswith('{"type":"CATALOG"')]
    assert len(outcome.catalog["streams"]) > 3800
    assert len(line) < 10_000_000
