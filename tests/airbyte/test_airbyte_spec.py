"""The connection form can be drawn, masks what is secret, and fills in the tap's settings."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from door import Door

from tap_d365fo.airbyte.specification import settings_from, specification, without_methods
from tap_d365fo.config import SETTINGS, Config

FILLED = {
    "environment_url": "https://contoso.operations.dynamics.com",
    "tenant_id": "contoso.onmicrosoft.com",
    "client_id": "1234",
    "credential": {"kind": "client_secret", "client_secret": "s3cret-value"},
}


def form() -> dict[str, Any]:
    return specification()["connectionSpecification"]


def fields(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, each in schema.get("properties", {}).items():
        found.append((f"{path}{name}", each))
        found += fields(each, f"{path}{name}.")
        found += fields(each.get("items", {}), f"{path}{name}[].")
        for index, choice in enumerate(each.get("oneOf", ())):
            found += fields(choice, f"{path}{name}/{index}.")
    return found


def test_the_program_prints_the_specification_alone(program: Door):
    outcome = program.spec()

    assert outcome.code == 0
    assert [each["type"] for each in outcome.messages] == ["SPEC"]
    assert outcome.of("SPEC") == [specification()]
    assert outcome.of("SPEC")[0]["documentationUrl"].endswith("airbyte.md")


def test_every_field_is_of_one_type_that_a_form_can_draw():
    for path, each in fields(form()):
        assert isinstance(each["type"], str), path
        assert each["type"] in ("string", "integer", "boolean", "array", "object"), path
        if each["type"] == "object":
            assert each.get("oneOf") or each.get("airbyte_hidden"), path
        if each["type"] == "array":
            assert each["items"]["type"] in ("string", "object"), path
        assert not {"anyOf", "allOf", "not", "$ref"} & each.keys(), path


def test_fields_stand_in_an_order_with_titles_and_known_groups():
    top = form()
    groups = {each["id"] for each in top["groups"]}

    assert [each["order"] for each in top["properties"].values()] == list(range(len(top["properties"])))
    assert all(each["group"] in groups for each in top["properties"].values())
    for path, each in fields(top):
        if "const" not in each:
            assert each["title"], path
            assert each["description"].endswith("."), path


def test_every_secret_is_masked_and_nothing_else():
    secret = {each.name for each in SETTINGS if each.secret}
    masked = {path.rpartition(".")[2] for path, each in fields(form()) if each.get("airbyte_secret")}

    assert masked == secret


def test_the_credential_is_a_choice_with_the_plain_secret_first():
    choices = form()["properties"]["credential"]["oneOf"]

    assert list(choices[0]["properties"]) == ["kind", "client_secret"]
    constants = [each["properties"]["kind"]["const"] for each in choices]
    assert len(set(constants)) == len(choices) == 3
    assert all("kind" in each["required"] for each in choices)


def test_every_setting_is_in_the_form_but_those_of_files_on_the_machine():
    names = {path.rpartition(".")[2] for path, _ in fields(form())}

    assert {each.name for each in SETTINGS} - names == {"metrics_file"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"entities": ["CustomersV3"], "companies": ["usmf"], "start_date": "2024-01-01T00:00:00Z"},
        {"start_date": "2024-01-01"},
        {"entity_options": {"CustomersV3": {"method": "full"}}},
        {"entity_options_list": [{"entity": "CustomersV3", "method": "full"}]},
        {"decimals": "string", "page_size": 100, "__injected_declarative_manifest": {}},
    ],
    ids=lambda more: "+".join(more) or "least",
)
def test_what_the_form_accepts_the_tap_accepts(more):
    filled = {**FILLED, **more}

    jsonschema.validate(filled, form())

    assert Config.from_mapping(settings_from(filled)).credentials.secret == "s3cret-value"


def test_a_flat_configuration_is_as_good():
    flat = {**FILLED, "client_secret": "s3cret-value"}
    del flat["credential"]

    assert settings_from(flat) == settings_from(FILLED)


def test_only_settings_reach_the_tap():
    assert set(settings_from({**FILLED, "__x": 1, "batch_config": {}, "stream_maps": {}, "kind": "x"})) == {
        "environment_url",
        "tenant_id",
        "client_id",
        "client_secret",
    }


def test_options_listed_in_the_form_are_those_of_the_mapping():
    filled = {
        **FILLED,
        "entity_options": {"VendorsV2": {"method": "full"}},
        "entity_options_list": [{"entity": "CustomersV3", "filter": "x eq 1", "method": "sweep"}],
    }

    assert settings_from(filled)["entity_options"] == {
        "VendorsV2": {"method": "full"},
        "CustomersV3": {"filter": "x eq 1", "method": "sweep"},
    }


def test_a_method_gives_way_to_the_sync_mode_and_a_filter_stays():
    options = {
        "CustomersV3": {"method": "timestamp", "replication_key": "x", "filter": "y"},
        "B": {"method": "full"},
    }

    assert without_methods(options, ["customersv3"]) == {
        "CustomersV3": {"filter": "y"},
        "B": {"method": "full"},
    }
