"""What the README says of settings and commands is what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tap_d365fo.config import SETTINGS, Config, config_jsonschema

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def settings_table() -> str:
    """Return the table as the declaration has it."""

    def default(setting) -> str:
        if setting.required:
            return "required"
        return (
            f"`{json.dumps(setting.default, default=list)}`" if setting.default not in (None, (), {}) else ""
        )

    rows = [f"| `{each.name}` | {each.kind} | {default(each)} | {each.description} |" for each in SETTINGS]
    return "\n".join(["| setting | kind | default | meaning |", "|---|---|---|---|", *rows])


def test_the_settings_table_is_the_declaration():
    shown = re.search(r"<!-- settings:.*?-->\n(.*?)\n<!-- /settings -->", README, re.DOTALL)

    assert shown is not None
    assert shown[1] == settings_table()


def test_about_shows_every_setting_of_the_declaration():
    about = subprocess.run(
        [sys.executable, "-m", "tap_d365fo.tap", "--about", "--format=json"],
        capture_output=True,
        text=True,
        check=True,
    )
    properties = json.loads(about.stdout)["settings"]["properties"]

    for name, schema in config_jsonschema()["properties"].items():
        assert properties[name]["description"] == schema["description"]
        assert properties[name].get("default") == schema.get("default")


def test_the_sample_configuration_holds_known_settings_and_the_four_credentials():
    sample = json.loads((ROOT / "sample_config.json").read_text(encoding="utf-8"))

    assert set(sample) <= {setting.name for setting in SETTINGS}
    assert {"environment_url", "tenant_id", "client_id", "client_secret"} <= set(sample)
    assert Config.from_mapping(sample).entities


@pytest.mark.parametrize(
    "verb", sorted(set(re.findall(r"`?make ([a-z]+)`|^make ([a-z]+)$", README, re.MULTILINE)))
)
def test_every_verb_of_the_readme_is_in_the_makefile(verb):
    verb = "".join(verb)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert re.search(rf"^{verb}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", ["d365fo", "tap-d365fo", "source-d365fo"])
def test_every_command_is_installed_and_helps(command):
    path = Path(sys.executable).parent / command
    done = subprocess.run([str(path), "--help"], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "usage" in done.stdout.lower()
