"""`check` always exits 0 and answers with one verdict that a person can act on."""

from __future__ import annotations

import pytest
from door import Door

pytestmark = pytest.mark.usefixtures("hasty")


def test_success_names_the_version_and_how_much_can_be_read(sandbox, program: Door):
    outcome = program.check(sandbox.config())

    assert outcome.code == 0
    assert outcome.status["status"] == "SUCCEEDED"
    assert "10.0." in outcome.status["message"]
    assert str(len(sandbox.dataset.names)) in outcome.status["message"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"client_secret": "wrong-secret-value"}, "secret"),
        ({"client_id": "00000000-0000-0000-0000-000000000000"}, "application"),
        ({"tenant_id": "nobody.onmicrosoft.com"}, "tenant"),
        ({"environment_url": "http://contoso.operations.dynamics.com"}, "https://"),
        ({"client_secret": None}, "credential"),
        ({"companies": ["nosuch"]}, "nosuch"),
        ({"entities": ["NoSuchEntities"]}, "NoSuchEntities"),
        ({"environment_url": "https://localhost:1", "retry_budget_seconds": 1}, "localhost"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_failure_says_what_to_do(sandbox, door: Door, settings, words):
    outcome = door.check({**sandbox.config(), **settings})

    assert outcome.code == 0
    assert outcome.status["status"] == "FAILED"
    assert words.lower() in outcome.status["message"].lower()
    assert "wrong-secret-value" not in outcome.text
    assert sandbox.client_secret not in outcome.text
    assert outcome.errors == []


@pytest.mark.parametrize("config", ["", "{", "[]", "{}", "null"])
def test_settings_of_any_shape_get_a_verdict(door: Door, config):
    outcome = door.check(config)

    assert outcome.code == 0
    assert outcome.status["status"] == "FAILED"


def test_a_user_without_rights_is_told_so(sandbox, door: Door):
    sandbox.faults.add("denied-entity", path="/data/")

    outcome = door.check(sandbox.config(entities=["CustomersV3"]))

    assert outcome.status["status"] == "FAILED"
    assert "Microsoft Entra ID applications" in outcome.status["message"]
