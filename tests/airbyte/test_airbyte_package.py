"""What surrounds the connector agrees with it: metadata, image, documentation."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import yaml

from tap_d365fo import __version__
from tap_d365fo.airbyte.specification import specification

ROOT = Path(__file__).parents[2]


def test_the_metadata_is_of_this_version_and_image():
    data = yaml.safe_load((ROOT / "metadata.yaml").read_text())["data"]
    script = (ROOT / "scripts" / "image.sh").read_text()

    assert data["dockerImageTag"] == __version__
    assert f"NAME=${{NAME:-{data['dockerRepository']}}}" in script
    assert data["documentationUrl"] == specification()["documentationUrl"]
    assert "language:python" in data["tags"]


def test_the_image_starts_what_airbyte_is_told_it_starts():
    dockerfile = (ROOT / "Dockerfile").read_text()
    data = yaml.safe_load((ROOT / "metadata.yaml").read_text())["data"]

    (told,) = re.findall(r"AIRBYTE_ENTRYPOINT=(\S+)", dockerfile)
    assert f'ENTRYPOINT ["{told}"]' in dockerfile
    assert f'io.airbyte.name="{data["dockerRepository"]}"' in dockerfile
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["airbyte"]


def test_the_icon_is_a_picture():
    icon = ET.fromstring((ROOT / "icon.svg").read_text())

    assert icon.tag.endswith("svg")
    assert icon.attrib["viewBox"] == "0 0 250 250"


def test_the_documentation_names_every_field_of_the_form():
    text = (ROOT / "docs" / "airbyte.md").read_text()
    fields = specification()["connectionSpecification"]["properties"]

    missing = [
        name for name, each in fields.items() if not each.get("airbyte_hidden") and each["title"] not in text
    ]
    assert missing == []


def test_the_documented_configuration_fits_the_form():
    text = (ROOT / "docs" / "airbyte.md").read_text()

    (shown,) = re.findall(r"config=(\{.*?\n    \}),", text, re.DOTALL)

    jsonschema.validate(ast.literal_eval(shown), specification()["connectionSpecification"])
