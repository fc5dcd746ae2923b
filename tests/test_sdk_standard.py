"""The SDK's own tests for taps, over a few of the sandbox's entities."""

from __future__ import annotations

import atexit
import os

import pytest
from singer_sdk.testing import SuiteConfig, get_tap_test_class

from tap_d365fo.sandbox.server import Sandbox
from tap_d365fo.tap import TapD365FO

pytestmark = pytest.mark.filterwarnings(
    "ignore:No records were available to test"
)  # columns that are null throughout

# The SDK builds the tap while this module is imported, so the sandbox runs before any fixture could start it.
_BOX = Sandbox(seed=7, switches={"companies.hidden": ""}).start()
atexit.register(_BOX.close)
_CA_BEFORE = os.environ.get("REQUESTS_CA_BUNDLE")
os.environ["REQUESTS_CA_BUNDLE"] = str(_BOX.ca_file)

_ENTITIES = ["CustomersV3", "CustTransBiEntities", "CashControlConfigurations", "ExchangeRates"]

TestTapD365FO = get_tap_test_class(
    TapD365FO,
    config=_BOX.config(entities=_ENTITIES),
    suite_config=SuiteConfig(max_records_limit=20),
    parse_env_config=False,
)
# Only this module's tests trust the sandbox: others install packages.
os.environ.pop("REQUESTS_CA_BUNDLE")
if _CA_BEFORE is not None:
    os.environ["REQUESTS_CA_BUNDLE"] = _CA_BEFORE


@pytest.fixture(autouse=True, scope="module")
def _trust():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(_BOX.ca_file))
        yield


def test_keys_are_unique_and_never_null():
    """The SDK's test of primary keys compares generators; this one compares keys."""
    from singer import sync

    outcome = sync(_BOX.config(entities=_ENTITIES, page_size=7))

    for schema in outcome.of("SCHEMA"):
        names = schema["key_properties"]
        keys = [tuple(str(record[name]) for name in names) for record in outcome.records(schema["stream"])]
        assert not names or len(keys) == len(set(keys))
        assert all(record[name] is not None for record in outcome.records(schema["stream"]) for name in names)
