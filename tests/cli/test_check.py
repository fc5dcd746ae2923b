"""`d365fo check` and `tap-d365fo --test` show what the diagnosis finds, for people and for machines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tap_d365fo.cli import main
from tap_d365fo.extraction.diagnosis import CHECKS


@pytest.fixture
def d365fo(sandbox, tmp_path, capsys):
    """Run the command with the sandbox's settings, changed as the test says."""

    def run(verb: str, *arguments: str, **changes):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**sandbox.config(entities=["CustomersV3"]), **changes}))
        with pytest.raises(SystemExit) as ended:
            main([verb, "--config", str(path), *arguments])
        return ended.value.code, capsys.readouterr().out

    return run


def test_a_line_for_each_check_and_exit_code_0_when_all_is_well(d365fo):
    code, out = d365fo("check")

    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["[ok"] * (len(CHECKS) - 1) + ["[-"]
    assert [line[7:].split()[0] for line in out.splitlines()] == list(CHECKS)


def test_the_first_trouble_has_its_next_step_below_it_and_exit_code_1(d365fo, sandbox):
    sandbox.switches["setup"] = "unregistered"

    code, out = d365fo("check")

    lines = out.splitlines()
    trouble = next(number for number, line in enumerate(lines) if line.startswith("[FAIL] access"))
    assert code == 1
    assert lines[trouble + 1].strip().startswith("Next: The token was issued")
    assert all(line.endswith("Not checked, because access failed.") for line in lines[trouble + 2 :])


def test_machines_get_a_list_of_findings(d365fo, sandbox):
    code, out = d365fo("check", "--json", companies=["nosuch"])

    found = json.loads(out)
    assert code == 1
    assert all(list(each) == ["check", "verdict", "message", "remedy", "evidence"] for each in found)
    assert [each["check"] for each in found if each["verdict"] == "failed"] == ["companies"]
    assert sandbox.client_secret not in out


def test_a_ticket_gets_a_table(d365fo):
    code, out = d365fo("check", "--markdown", client_secret="wrong-secret|value")

    lines = out.splitlines()
    assert code == 1
    assert lines[:2] == ["| check | verdict | found | next step |", "|---|---|---|---|"]
    assert len(lines) == 2 + len(CHECKS)
    assert all(line.replace("\\|", "").count("|") == 5 for line in lines)
    assert "wrong-secret" not in out


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "\xff"])
def test_a_file_that_holds_no_settings_is_the_first_finding(tmp_path, capsys, text):
    path = tmp_path / "config.json"
    path.write_text(text, encoding="latin-1")

    with pytest.raises(SystemExit) as ended:
        main(["check", "--config", str(path)])

    out = capsys.readouterr().out
    assert ended.value.code == 1
    assert out.startswith("[FAIL] settings     The file")


def test_settings_can_come_from_the_environment(sandbox, monkeypatch, capsys):
    for name, value in sandbox.config(entities="MainAccounts,CustomersV3").items():
        monkeypatch.setenv(f"TAP_D365FO_{name.upper()}", value)

    with pytest.raises(SystemExit) as ended:
        main(["check", "--config", "ENV"])

    assert ended.value.code == 0
    assert capsys.readouterr().out.count("[ok  ] rows") == 2


@pytest.mark.parametrize("verb", ["check", "entities", "sandbox"])
def test_each_verb_says_what_it_is_for(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])

    assert ended.value.code == 0
    assert "usage: d365fo" in capsys.readouterr().out


def tap_test(sandbox, tmp_path, *arguments: str, **changes) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**sandbox.config(entities=["CustomersV3", "MainAccounts"]), **changes}))
    tap = Path(sys.executable).with_name("tap-d365fo")
    return subprocess.run(
        [str(tap), "--config", str(path), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"REQUESTS_CA_BUNDLE": sandbox.ca_file, "PATH": "", "HOME": str(tmp_path)},
    )


def test_the_tap_tests_with_the_same_findings_and_one_record_of_each_stream(sandbox, tmp_path):
    done = tap_test(sandbox, tmp_path, "--test")

    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    for check in CHECKS[:-1]:
        assert f"[ok  ] {check}" in done.stderr
    assert [each["stream"] for each in messages if each["type"] == "RECORD"] == [
        "CustomersV3",
        "MainAccounts",
    ]


def test_the_tap_ends_with_1_where_a_check_fails_and_writes_nothing_to_stdout(sandbox, tmp_path):
    done = tap_test(sandbox, tmp_path, "--test", client_secret="wrong-secret")

    assert done.returncode == 1
    assert "[FAIL] credential" in done.stderr
    assert done.stdout == ""


def test_the_tap_finds_settings_that_are_missing(sandbox, tmp_path):
    done = tap_test(sandbox, tmp_path, "--test", tenant_id="", client_secret=None)

    assert done.returncode == 1
    assert "[FAIL] settings     tenant_id is missing" in done.stderr


def test_the_tap_tests_a_set_up_in_which_nothing_is_selected_yet(sandbox, tmp_path):
    done = tap_test(sandbox, tmp_path, "--test", entities=[])

    assert done.returncode == 0
    assert "[warn] entities" in done.stderr
    assert done.stdout == ""


def test_schemas_alone_are_tested_as_before(sandbox, tmp_path):
    done = tap_test(sandbox, tmp_path, "--test=schema")

    assert done.returncode == 0
    assert {json.loads(line)["type"] for line in done.stdout.splitlines()} == {"SCHEMA"}
    assert "[ok" not in done.stderr


# -- three doors, one diagnosis -----------------------------------------------------------------------------

DOORS = {
    "all is well": ({}, {}, 0),
    "wrong secret": ({}, {"client_secret": "wrong-secret"}, 1),
    "settings missing": ({}, {"tenant_id": "", "client_secret": None}, 1),
    "not registered": ({"setup": "unregistered"}, {}, 1),
    "Dynamics ERP missing": ({"entra.error": "500011"}, {}, 1),
    "unknown company": ({}, {"companies": ["nosuch"]}, 1),
    "unknown entity": ({}, {"entities": ["CustomersV33"]}, 1),
    "no privilege": ({"auth.denied": "MainAccounts"}, {}, 1),
    "no list of companies": ({"auth.denied": "LegalEntities"}, {}, 0),
    "change store": ({}, {"change_store": "/dev/null/store"}, 1),
}


def run(sandbox, tmp_path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments, "--config", str(tmp_path / "config.json")],
        capture_output=True,
        text=True,
        check=False,
        env={"REQUESTS_CA_BUNDLE": str(sandbox.ca_file), "PATH": "", "HOME": str(tmp_path)},
    )


@pytest.mark.parametrize(("switches", "changes", "code"), DOORS.values(), ids=DOORS)
def test_three_doors_name_the_same_check_verdict_and_remedy(sandbox, tmp_path, switches, changes, code):
    sandbox.switches.update(switches)
    settings = {**sandbox.config(entities=["CustomersV3", "MainAccounts"]), **changes}
    (tmp_path / "config.json").write_text(json.dumps(settings))

    human = run(sandbox, tmp_path, "d365fo", "check", "--json")
    singer = run(sandbox, tmp_path, "tap-d365fo", "--test")
    airbyte = run(sandbox, tmp_path, "source-d365fo", "check")

    told = [(each["check"], each["verdict"], each["remedy"]) for each in json.loads(human.stdout)]
    messages = [json.loads(line) for line in airbyte.stdout.splitlines()]
    (status,) = [each["connectionStatus"] for each in messages if each["type"] == "CONNECTION_STATUS"]
    assert from_lines(singer.stderr) == told
    assert from_logs(messages) == [(check, verdict) for check, verdict, _ in told]
    assert (human.returncode, singer.returncode, airbyte.returncode) == (code, code, 0)
    assert status["status"] == ("FAILED" if code else "SUCCEEDED")
    for check, _, remedy in [each for each in told if each[1] == "failed"][:1]:
        assert status["message"].startswith(f"{check}: ")
        assert status["message"].endswith(remedy)
    for _, _, remedy in [each for each in told if each[1] == "warning"]:
        assert remedy in airbyte.stdout
    assert (code == 0) == (not any(verdict == "failed" for _, verdict, _ in told))


def from_lines(text: str) -> list[tuple[str, str, str]]:
    """Read check, verdict and remedy from what people are shown."""
    verdicts = {"ok  ": "ok", "warn": "warning", "FAIL": "failed", "-   ": "not-checked"}
    told: list[tuple[str, str, str]] = []
    for line in text.splitlines():
        if line[:1] == "[" and line[1:5] in verdicts and line[5] == "]":
            told.append((line[7:].split()[0], verdicts[line[1:5]], ""))
        elif line.strip().startswith("Next: "):
            told[-1] = (*told[-1][:2], line.strip().removeprefix("Next: "))
    return told


def from_logs(messages) -> list[tuple[str, str]]:
    """Read check and verdict from Airbyte's log."""
    texts = [each["log"]["message"] for each in messages if each["type"] == "LOG"]
    shown = [text[1:].partition("] ") for text in texts if text.startswith("[")]
    return [(said.partition(":")[0], verdict) for verdict, _, said in shown]
