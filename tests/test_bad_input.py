"""Bad input is one clear message, exit code 1, and nothing on standard output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.fixture
def tap(sandbox, tmp_path):
    """Run the installed tap as a program."""

    def run(config: dict, *arguments: str, **files: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "config.json").write_text(json.dumps(config))
        for name, text in files.items():
            (tmp_path / f"{name}.json").write_text(text)
            arguments = (*arguments, f"--{name}", str(tmp_path / f"{name}.json"))
        return subprocess.run(
            [str(BIN / "tap-d365fo"), "--config", str(tmp_path / "config.json"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TAP_D365FO_LOGLEVEL": "WARNING"},
            timeout=60,
        )

    return run


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"environment_url": None}, ["environment_url is missing"]),
        ({"environment_url": "http://contoso.operations.dynamics.com"}, ["https://"]),
        ({"tenant_id": "common"}, ["tenant_id"]),
        ({"client_secret": None}, ["No credential"]),
        ({"client_secret": "x", "federated_token_file": __file__}, ["More than one credential"]),
        ({"page_size": 0}, ["page_size"]),
        ({"page_size": "many"}, ["page_size"]),
        ({"start_date": "yesterday"}, ["start_date"]),
        ({"client_certificate": "/nowhere.pem", "client_secret": None}, ["client_certificate"]),
        ({"entity_options": {"CustomersV3": {"method": "magic"}}}, ["entity_options.CustomersV3.method"]),
        ({"entity_options": {"CustomersV3": {"metod": "full"}}}, ["did you mean method"]),
        ({"tenant_id": None, "client_id": None, "page_size": 99999}, ["tenant_id", "client_id", "page_size"]),
    ],
)
@pytest.mark.parametrize("arguments", [(), ("--discover",)])
def test_a_wrong_setting_is_named(sandbox, tap, change, words, arguments):
    config = {
        name: value
        for name, value in {**sandbox.config(entities=["CustomersV3"]), **change}.items()
        if value is not None
    }

    refused(tap(config, *arguments), *words)


def test_no_message_holds_the_secret(sandbox, tap):
    config = sandbox.config(entities=["CustomersV3"], page_size=0)

    done = tap(config)

    assert config["client_secret"] not in done.stderr


def test_a_pattern_that_matches_nothing_names_the_nearest(sandbox, tap):
    refused(tap(sandbox.config(entities=["CustomerV33"])), "CustomerV33", "CustomersV3")


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", '{"streams": 3}', '{"streams": [{"stream": "CustomersV3"}]}']
)
def test_an_unreadable_catalog_is_refused(sandbox, tap, text):
    refused(tap(sandbox.config(), catalog=text), "atalog" if text else "")


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"bookmarks": {"CustomersV3": 1}}'])
def test_a_broken_state_is_refused(sandbox, tap, text):
    refused(tap(sandbox.config(entities=["CustomersV3"]), state=text))


def test_a_wrong_secret_is_said_once_with_its_remedy(sandbox, tap):
    done = tap(sandbox.config(entities=["CustomersV3"], client_secret="wrong"))

    refused(done, "AADSTS7000215", "Value")
    assert done.stderr.count("AADSTS7000215") == 1


def test_a_missing_configuration_file_is_said(tmp_path):
    done = subprocess.run(
        [str(BIN / "tap-d365fo"), "--config", str(tmp_path / "none.json")],
        capture_output=True,
        text=True,
        check=False,
    )

    refused(done, "none.json")
