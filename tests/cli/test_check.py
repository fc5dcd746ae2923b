"""The people's door says what is wrong, and what can be extracted."""

from __future__ import annotations

import json

import pytest

from tap_d365fo.cli import main


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


def test_all_is_well(d365fo):
    code, out = d365fo("check")

    assert code == 0
    assert out.count("[ok  ]") == 7


@pytest.mark.parametrize(
    ("switches", "changes", "check", "words"),
    [
        ({}, {"client_secret": "wrong"}, "sign-in to Entra", "AADSTS7000215"),
        ({"setup": "unregistered"}, {}, "access to F&O", "Microsoft Entra ID applications"),
        ({}, {"companies": ["nosuch"]}, "companies", "nosuch"),
        ({}, {"page_size": 0}, "settings", "page_size"),
    ],
)
def test_the_first_trouble_is_said_with_its_next_step(sandbox, d365fo, switches, changes, check, words):
    sandbox.switches.update(switches)

    code, out = d365fo("check", "--json", **changes)

    findings = json.loads(out)
    (failed,) = [each for each in findings if each["verdict"] == "failed"]
    assert code == 1
    assert failed["check"] == check
    assert words in failed["message"] + failed["remedy"]
    after = findings[findings.index(failed) + 1 :]
    assert {each["verdict"] for each in after} == {"not-checked"}
    assert sandbox.client_secret not in out


def test_entities_are_listed_with_method_and_reason(d365fo):
    code, out = d365fo("entities", "--json", entities=[])

    by_name = {each["entity_set"]: each for each in json.loads(out)}
    assert code == 0
    assert by_name["CustTransBiEntities"]["method"] == "timestamp"
    assert by_name["CustomersV3"]["keys"] == ["dataAreaId", "CustomerAccount"]
    assert all(each["why"] for each in by_name.values())


def test_entities_can_be_searched(d365fo):
    _, out = d365fo("entities", "--json", "--company-scoped", "Customer*", entities=[])

    assert {each["entity_set"] for each in json.loads(out)} >= {"CustomersV3", "CustomerGroups"}
