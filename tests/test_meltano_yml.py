"""meltano.yml describes the settings that there are, and the capabilities that the tap has."""

from __future__ import annotations

from pathlib import Path

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
