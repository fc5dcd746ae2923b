"""meltano.yml describes the settings that there are, and the capabilities that the tap has."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
import referencing
import referencing.jsonschema
import yaml

from tap_d365fo.config import SETTINGS
from tap_d365fo.tap import TapD365FO

PROJECT = yaml.safe_load((Path(__file__).parent.parent / "meltano.yml").read_text(encoding="utf-8"))
(EXTRACTOR,) = PROJECT["plugins"]["extractors"]
KINDS = {
    "string": None,
    "integer": "integer",
    "boolean": "boolean",
    "date-time": "date_iso8601",
    "strings": "array",
    "object": "object",
}


def test_every_setting_is_declared_with_its_kind_and_secrecy():
    declared = [
        (each["name"], each.get("kind"), each.get("sensitive", False), each["label"], each["description"])
        for each in EXTRACTOR["settings"]
    ]

    assert declared == [
        (each.name, KINDS[each.kind], each.secret, each.title, each.description) for each in SETTINGS
    ]


def test_defaults_are_the_declarations():
    values = {each["name"]: each["value"] for each in EXTRACTOR["settings"] if "value" in each}

    assert values == {each.name: each.default for each in SETTINGS if each.default not in (None, (), {})}


def test_capabilities_are_stated_truly():
    known = {str(each.value) for each in TapD365FO.capabilities}

    assert known | {"test"} == set(EXTRACTOR["capabilities"])


def test_every_selected_stream_is_among_the_entities():
    streams = {rule.partition(".")[0] for rule in EXTRACTOR["select"]}

    assert streams == set(EXTRACTOR["config"]["entities"])


def test_loaders_are_pinned_as_the_targets_that_were_tried():
    sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
    from targets import TARGETS

    tried = {" ".join(each.packages) for each in TARGETS}

    assert {each["pip_url"] for each in PROJECT["plugins"]["loaders"]} <= tried


HUB = yaml.safe_load((Path(__file__).parent.parent / "docs/hub/tap-d365fo.yml").read_text(encoding="utf-8"))
HUB_FORM = {
    "type": "object",
    "required": [
        "name",
        "namespace",
        "variant",
        "label",
        "description",
        "pip_url",
        "executable",
        "settings",
        "quality",
    ],
    "additionalProperties": False,
    "properties": {
        **{name: {"type": "string"} for name in ("name", "namespace", "variant", "label", "description")},
        **{name: {"type": "string"} for name in ("definition", "prereq", "usage", "pip_url", "executable")},
        "domain_url": {"type": "string", "pattern": "^https://"},
        "quality": {"enum": ["gold", "silver", "bronze", "unknown"]},
        "supported_python_versions": {"type": "array", "items": {"pattern": r"^3\.\d+$"}},
        "maintenance_status": {"enum": ["active", "beta", "development", "inactive", "unknown"]},
        "keywords": {"type": "array", "items": {"type": "string"}},
        "capabilities": {"type": "array"},
        "settings_group_validation": {"type": "array"},
        "settings": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "label", "description"],
                "additionalProperties": False,
                "properties": {
                    **{name: {"type": "string"} for name in ("name", "label", "description")},
                    "kind": {"enum": ["integer", "boolean", "date_iso8601", "array", "object"]},
                    "sensitive": {"const": True},
                    "value": {},
                },
            },
        },
    },
}


def test_the_hubs_definition_has_the_hubs_form():
    jsonschema.validate(HUB, HUB_FORM)


@pytest.mark.parametrize(
    "name",
    ["name", "namespace", "executable", "capabilities", "settings", "settings_group_validation"],
)
def test_the_hubs_definition_says_what_the_project_says(name):
    assert HUB[name] == EXTRACTOR[name]


@pytest.mark.skipif("MELTANO_HUB" not in os.environ, reason="MELTANO_HUB names no checkout of Meltano's hub")
def test_the_hubs_definition_stands_before_the_hubs_own_schema():
    schema = Path(
        os.environ["MELTANO_HUB"], "schemas", "plugin_definitions", "extractors.schema.json"
    ).resolve()

    def retrieve(uri: str) -> referencing.Resource:
        return referencing.jsonschema.DRAFT7.create_resource(
            json.loads(Path(unquote(urlsplit(uri).path)).read_text())
        )

    root = {**json.loads(schema.read_text()), "$id": schema.as_uri()}
    validator = jsonschema.Draft7Validator(root, registry=referencing.Registry(retrieve=retrieve))

    assert [error.message for error in validator.iter_errors(HUB)] == []


def test_the_pythons_of_the_hubs_definition_are_those_of_the_package():
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")

    assert HUB["supported_python_versions"] == re.findall(r"Python :: (3\.\d+)", project)
