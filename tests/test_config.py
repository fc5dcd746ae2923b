"""Settings: every problem is named at once, nothing secret is ever said, pasted values are understood."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_d365fo.config import SETTINGS, Config, EntityOptions, config_jsonschema
from tap_d365fo.errors import ConfigurationError

GUID = "11111111-2222-3333-4444-555555555555"
GOOD = {
    "environment_url": "https://contoso.operations.dynamics.com",
    "tenant_id": "contoso.onmicrosoft.com",
    "client_id": GUID,
    "client_secret": "s3cr3t~value",
}
BY_NAME = {setting.name: setting for setting in SETTINGS}


def config(**settings) -> Config:
    return Config.from_mapping({**GOOD, **settings})


def problems(**settings) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        config(**settings)
    return caught.value.problems


# -- the one declaration ----------------------------------------------------------------------------------


def test_every_setting_of_the_public_interface_is_declared():
    interface = (
        "environment_url tenant_id client_id client_secret client_certificate client_certificate_password "
        "federated_token_file authority entities companies start_date lookback_seconds page_size "
        "max_parallel_requests request_timeout_seconds retry_budget_seconds null_dates include_binary "
        "change_store entity_options"
    )

    assert set(interface.split()) <= set(BY_NAME)
    assert [each.name for each in SETTINGS if each.required] == ["environment_url", "tenant_id", "client_id"]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: each.name)
def test_each_setting_has_a_title_and_one_sentence_in_the_second_person(setting):
    assert setting.title
    assert setting.description.endswith(".")
    assert "you" in setting.description.lower()
    assert setting.group


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: each.name)
def test_the_declared_default_is_what_a_config_without_the_setting_has(setting):
    derived = {"client_secret", "client_certificate", "client_certificate_password", "federated_token_file"}
    if setting.required or setting.name in derived:
        return

    assert getattr(config(), setting.name) == setting.default


def test_defaults_of_the_value_and_of_the_declaration_do_not_part():
    for each in fields(Config):
        if each.name in BY_NAME and not BY_NAME[each.name].required and not callable(each.default_factory):
            assert each.default == BY_NAME[each.name].default, each.name


def test_the_schema_is_valid_and_accepts_the_sample_and_marks_secrets():
    schema = config_jsonschema()
    sample = json.loads((Path(__file__).parents[1] / "sample_config.json").read_text())

    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(sample, schema)
    assert set(sample) <= set(schema["properties"])
    secret = {name for name, each in schema["properties"].items() if each.get("secret")}
    assert secret == {"client_secret", "client_certificate", "client_certificate_password"}
    assert schema["properties"]["page_size"]["maximum"] == 10000
    assert schema["properties"]["decimals"]["enum"] == ["number", "string", None]


def test_schemas_do_not_share_what_a_caller_may_change():
    config_jsonschema()["properties"]["entities"]["type"].append("changed")

    assert config_jsonschema()["properties"]["entities"]["type"] == ["array", "null"]


def test_importing_the_settings_brings_no_framework_along():
    code = "import sys, tap_d365fo.config; print({'singer_sdk', 'msal', 'requests', 'cryptography'} & set(sys.modules))"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "set()"


def test_the_sample_config_names_placeholders_that_would_be_refused_by_no_rule_of_ours():
    sample = json.loads((Path(__file__).parents[1] / "sample_config.json").read_text())

    assert Config.from_mapping(sample).entities == ("CustomersV3", "SalesOrderHeadersV2")


# -- the address as people paste it -----------------------------------------------------------------------

CONTOSO = "https://contoso.operations.dynamics.com"


@pytest.mark.parametrize(
    ("pasted", "kept"),
    [
        (CONTOSO, CONTOSO),
        (f"{CONTOSO}/", CONTOSO),
        (f"{CONTOSO}/data", CONTOSO),
        (f"{CONTOSO}/data/CustomersV3?$top=1", CONTOSO),
        ("https://CONTOSO.Operations.Dynamics.COM/?cmp=USMF&mi=DefaultDashboard", CONTOSO),
        ("HTTPS://contoso.operations.dynamics.com:443/#top", CONTOSO),
        ("contoso.operations.dynamics.com", CONTOSO),
        ("//contoso.operations.dynamics.com/", CONTOSO),
        (f"  {CONTOSO}\n", CONTOSO),
        ("https://ax.contoso.local/namespaces/AXSF", "https://ax.contoso.local/namespaces/axsf"),
        ("https://ax.contoso.local/namespaces/AXSF/data/", "https://ax.contoso.local/namespaces/axsf"),
        (
            "https://aos-rts-1.hr.talent.dynamics.com/namespaces/0a1b/",
            "https://aos-rts-1.hr.talent.dynamics.com/namespaces/0a1b",
        ),
        ("https://ax.contoso.local/namespaces/", "https://ax.contoso.local"),
        ("https://localhost:8443", "https://localhost:8443"),
        ("localhost:8443/data", "https://localhost:8443"),
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
        ("https://[::1]:8443/x", "https://[::1]:8443"),
        ("https://contoso.operations.dynamics.cn", "https://contoso.operations.dynamics.cn"),
    ],
)
def test_an_address_keeps_scheme_host_port_and_namespace(pasted, kept):
    read = config(environment_url=pasted)

    assert read.environment_url == kept
    assert read.scope == f"{kept}/.default"
    assert read.service_root == f"{kept}/data"


def test_what_was_kept_is_noticed_only_where_something_was_dropped():
    assert config().notices == ()
    assert config(environment_url=f"{CONTOSO}/?cmp=USMF").notices == (
        f"environment_url: kept {CONTOSO} of what was given.",
    )


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("http://contoso.operations.dynamics.com", "must begin with https://"),
        ("ftp://contoso.operations.dynamics.com", "must begin with https://"),
        ("https://", "no usable host name"),
        ("https://con toso.com", "no usable host name"),
        ("https://contoso..com", "no usable host name"),
        ("https://-contoso.com", "no usable host name"),
        (f"https://{'a' * 64}.com", "no usable host name"),
        ("https://contoso.com:port", "cannot be read as an address"),
        ("https://contoso.com:99999", "cannot be read as an address"),
        ("https://[contoso", "cannot be read as an address"),
        ("https://evil.com\\@contoso.com", "no usable host name"),
        (5, "must be text, not 5"),
        ("", "environment_url is missing"),
        (None, "environment_url is missing"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_problem(pasted, said):
    found = problems(environment_url=pasted)

    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize("rest", ["contoso.com", "contoso.com:port", "[contoso", "con toso.com/a@b"])
@pytest.mark.parametrize("setting", ["environment_url", "authority"])
def test_a_password_in_an_address_is_refused_and_not_repeated(setting, rest):
    found = problems(**{setting: f"https://user:hunter2@{rest}"})

    assert len(found) == 1
    assert "hunter2" not in found[0]


@given(st.text(max_size=60))
def test_whatever_is_pasted_is_an_https_origin_or_a_problem(pasted):
    try:
        kept = config(environment_url=pasted).environment_url
    except ConfigurationError:
        return

    parts = urlsplit(kept)
    assert parts.scheme == "https"
    assert parts.netloc
    assert kept == kept.lower()
    assert not parts.query
    assert not parts.fragment
    assert parts.path == "" or parts.path.startswith("/namespaces/")
    assert config(environment_url=kept).environment_url == kept


# -- tenant, client, authority ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tenant", [GUID, GUID.upper(), "contoso.com", "Contoso.onmicrosoft.com", "a-b.c-d.co.uk"]
)
def test_a_tenant_is_a_guid_or_a_domain(tenant):
    assert config(tenant_id=f" {tenant} ").tenant_id == tenant


@pytest.mark.parametrize(
    "tenant", ["contoso", GUID[:-1], "contoso.com/x", "a b.com", "contoso..com", "-a.com"]
)
def test_another_tenant_is_refused(tenant):
    assert "must be a GUID or a domain" in problems(tenant_id=tenant)[0]


@pytest.mark.parametrize("tenant", ["common", "Organizations", "consumers"])
def test_a_tenant_for_everyone_is_refused_with_the_reason(tenant):
    assert "app-only tokens are issued by one tenant" in problems(tenant_id=tenant)[0]


def test_a_client_id_that_is_no_guid_is_noticed_and_accepted():
    read = config(client_id="sandbox")

    assert read.client_id == "sandbox"
    assert read.notices == ("client_id is not a GUID, which application ids of Entra are.",)


@pytest.mark.parametrize(
    ("given", "kept", "noticed"),
    [
        ("https://login.microsoftonline.us", "https://login.microsoftonline.us", False),
        ("https://login.microsoftonline.us/", "https://login.microsoftonline.us", False),
        ("login.partner.microsoftonline.cn", "https://login.partner.microsoftonline.cn", True),
        ("https://login.microsoftonline.com/contoso.com", "https://login.microsoftonline.com", True),
        ("https://ADFS.contoso.local/adfs", "https://adfs.contoso.local/adfs", True),
        ("https://localhost:9443", "https://localhost:9443", False),
    ],
)
def test_an_authority_is_a_host(given, kept, noticed):
    read = config(authority=given)

    assert read.authority == kept
    assert bool(read.notices) is noticed


@pytest.mark.parametrize(
    "given", ["http://login.microsoftonline.com", "https://", "https://a b", "https://x:port"]
)
def test_an_authority_that_is_no_https_address_is_refused(given):
    assert problems(authority=given)[0].startswith("authority ")


# -- credentials ------------------------------------------------------------------------------------------

PEM = "-----BEGIN PRIVATE KEY-----\nMIIBVg\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----"


def without_secret(**settings) -> dict:
    return {**{name: value for name, value in GOOD.items() if name != "client_secret"}, **settings}


def refused(settings) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Config.from_mapping(settings)
    return caught.value.problems


def test_none_of_the_credentials_is_one_problem():
    assert refused(without_secret()) == [
        "No credential is given: set client_secret, or client_certificate, or federated_token_file."
    ]


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_secret_is_named_as_the_reason(empty):
    assert refused(without_secret(client_secret=empty))[0].startswith(
        "No credential is given (client_secret is empty): set client_secret, or client_certificate, or "
    )


def test_more_than_one_credential_is_a_problem_that_names_them(tmp_path):
    token = tmp_path / "token"
    token.write_text("eyJ")

    found = problems(client_certificate=PEM, federated_token_file=str(token))

    assert len(found) == 1
    assert "(client_secret, client_certificate, federated_token_file): keep exactly one." in found[0]


def test_a_password_without_a_certificate_is_a_problem():
    assert problems(client_certificate_password="hunter2") == [
        "client_certificate_password is given without client_certificate."
    ]


@pytest.mark.parametrize("name", ["client_certificate", "federated_token_file"])
@pytest.mark.parametrize("path", ["missing.pem", "", "folder", "eyJhbGciOi" * 500, "nul\0l"])
def test_a_file_that_cannot_be_read_is_a_problem_that_does_not_repeat_what_was_given(name, path, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_bytes(b"")
    given = str(tmp_path / path) if len(path) < 100 else path
    given = str(tmp_path / "empty") if path == "" else given

    found = refused(without_secret(**{name: given}))

    assert len(found) == 1
    assert found[0].startswith(f"{name} is n")
    assert given not in found[0]


def test_credentials_say_their_kind_and_hide_themselves(tmp_path):
    file = tmp_path / "cert.pfx"
    file.write_bytes(b"\x30\x82")

    secret = config(client_secret=" s3cr3t~value\n")
    certificate = Config.from_mapping(
        without_secret(client_certificate=str(file), client_certificate_password=" hunter2 ")
    )
    federated = Config.from_mapping(without_secret(federated_token_file=str(file)))

    assert secret.credentials.secret == "s3cr3t~value"
    assert certificate.credentials.certificate_password == " hunter2 "
    kinds = [each.credentials.kind for each in (secret, certificate, federated)]
    assert kinds == ["client secret", "client certificate", "federated token"]
    for each in (secret, certificate):
        for shown in (repr(each), str(each), f"{each.credentials}", repr(each.credentials)):
            assert "s3cr3t" not in shown
            assert "hunter2" not in shown


def test_pem_text_whose_line_ends_were_escaped_is_read():
    read = Config.from_mapping(without_secret(client_certificate=PEM.replace("\n", "\\n")))

    assert read.credentials.certificate == PEM


@pytest.mark.parametrize("name", ["client_secret", "client_certificate", "client_certificate_password"])
@pytest.mark.parametrize("value", [12345678901, ["hunter2"], {"a": "hunter2"}, True])
def test_a_secret_of_the_wrong_kind_is_not_repeated(name, value):
    found = problems(**{name: value})

    assert f"{name} must be text." in found
    assert "hunter2" not in " ".join(found)
    assert "12345678901" not in " ".join(found)


# -- kinds, ranges, and the forms that environment variables give -----------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("page_size", "500", 500),
        ("page_size", " 500 ", 500),
        ("page_size", 500.0, 500),
        ("page_size", None, 10000),
        ("page_size", "", 10000),
        ("max_parallel_requests", 52, 52),
        ("lookback_seconds", 0, 0),
        ("null_dates", "false", False),
        ("null_dates", "True", True),
        ("null_dates", "0", False),
        ("include_binary", "yes", True),
        ("include_binary", 1, True),
        ("entities", '["CustomersV3", " Sales* "]', ("CustomersV3", "Sales*")),
        ("entities", "CustomersV3, Sales*,", ("CustomersV3", "Sales*")),
        ("entities", "CustomersV3", ("CustomersV3",)),
        ("entities", ["Customers V3"], ("Customers V3",)),
        ("entities", [], ()),
        ("entities", "[]", ()),
        ("companies", ["USMF", "dat", "usmf"], ("usmf", "dat")),
        ("companies", " USMF , DEMF ", ("usmf", "demf")),
        ("decimals", "string", "string"),
        ("change_store", "s3://bucket/fno", "s3://bucket/fno"),
        ("change_store", "", None),
        ("metrics_file", "run.prom", "run.prom"),
    ],
)
def test_values_are_read_in_every_clean_form(name, given, read):
    assert getattr(config(**{name: given}), name) == read


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("page_size", 0, "at least 1, not 0"),
        ("page_size", 10001, "at most 10000, not 10001"),
        ("max_parallel_requests", "53", "at most 52, not 53"),
        ("lookback_seconds", -1, "at least 0, not -1"),
        ("request_timeout_seconds", 0, "at least 1"),
        ("retry_budget_seconds", "-1", "at least 0"),
        ("page_size", "many", "must be a whole number, not 'many'"),
        ("page_size", "1_000", "must be a whole number"),
        ("page_size", "1e3", "must be a whole number"),
        ("page_size", 1.5, "must be a whole number"),
        ("page_size", float("inf"), "must be a whole number"),
        ("page_size", float("nan"), "must be a whole number"),
        ("page_size", True, "must be a whole number"),
        ("page_size", [1], "must be a whole number"),
        ("page_size", "9" * 5000, "must be a whole number"),
        ("null_dates", "perhaps", "must be true or false, not 'perhaps'"),
        ("null_dates", 2, "must be true or false"),
        ("null_dates", [], "must be true or false"),
        ("entities", '["CustomersV3"', "must be a list of texts"),
        ("entities", [1], "must be a list of texts"),
        ("entities", {"a": 1}, "must be a list of texts"),
        ("entities", "[" * 100_000, "must be a list of texts"),
        ("companies", 5, "must be a list of texts"),
        ("decimals", "float", "must be one of number, string, not 'float'"),
        ("change_store", 5, "must be text, not 5"),
        ("entity_options", "[]", "must be an object"),
        ("entity_options", "{", "must be an object"),
        ("entity_options", 5, "must be an object"),
    ],
)
def test_a_value_of_the_wrong_kind_or_range_is_one_problem_that_names_it(name, given, said):
    found = problems(**{name: given})

    assert len(found) == 1
    assert found[0].startswith(name)
    assert said in found[0]


def test_all_problems_are_named_at_once():
    with pytest.raises(ConfigurationError) as caught:
        Config.from_mapping({"page_size": 0, "start_date": "soon", "decimals": "x", "authority": "http://x"})

    named = [problem.partition(" ")[0] for problem in caught.value.problems]
    assert named == [
        "environment_url",
        "tenant_id",
        "client_id",
        "page_size",
        "decimals",
        "No",
        "authority",
        "start_date",
    ]
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    assert caught.value.fault == "config"


def test_a_problem_cannot_forge_a_log_line():
    found = problems(decimals="x\nERROR all is lost")

    assert "\n" not in found[0]


@given(
    st.dictionaries(
        st.sampled_from(sorted(BY_NAME)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
def test_whatever_is_given_is_read_or_named_as_a_problem(settings):
    with suppress(ConfigurationError):
        Config.from_mapping({**GOOD, **settings})


def test_a_name_that_is_nearly_a_setting_is_noticed():
    read = config(compnies=["usmf"], stream_maps={}, flattening_enabled=True, batch_config=None)

    assert read.notices == ("compnies is not a setting of this connector; did you mean companies?",)


# -- start_date -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "utc"),
    [
        ("2024-01-31", (2024, 1, 31)),
        ("2024-01-31T00:00:00Z", (2024, 1, 31)),
        ("2024-01-31T10:20:30", (2024, 1, 31, 10, 20, 30)),
        ("2024-01-31 10:20:30", (2024, 1, 31, 10, 20, 30)),
        ("2024-01-31T10:20", (2024, 1, 31, 10, 20)),
        ("2024-01-31T10:20:30.123456", (2024, 1, 31, 10, 20, 30, 123456)),
        ("2024-01-31T10:20:30.1", (2024, 1, 31, 10, 20, 30, 100000)),
        ("2024-01-31T10:20:30.1234567Z", (2024, 1, 31, 10, 20, 30, 123456)),
        ("2024-01-31T10:20:30+02:00", (2024, 1, 31, 8, 20, 30)),
        ("2024-01-31T10:20:30.5-0530", (2024, 1, 31, 15, 50, 30, 500000)),
        ("2024-01-31T10:20:30+02", (2024, 1, 31, 8, 20, 30)),
        (" 2024-01-31t10:20:30z ", (2024, 1, 31, 10, 20, 30)),
    ],
)
def test_a_start_date_is_read_as_utc_unless_it_says_otherwise(given, utc):
    assert config(start_date=given).start_date == datetime(*utc, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "given",
    [
        "yesterday",
        "2024-13-01",
        "2024-01-31T25:00:00",
        "31/01/2024",
        "2024-1-1",
        "1706659200",
        "0001-01-01T00:00:00+14:00",
        "2024-01-31T10:20:30+99:00:00",
        "٢٠٢٤-٠١-٠١",
    ],
)
def test_a_start_date_that_is_none_is_refused(given):
    assert problems(start_date=given)[0].startswith("start_date must be a date or date-time such as")


def test_without_a_start_date_there_is_none():
    assert config().start_date is None
    assert config(start_date="").start_date is None


# -- entity options ---------------------------------------------------------------------------------------


def test_options_are_found_whatever_the_case_and_are_empty_elsewhere():
    read = config(
        entity_options={
            "CustomersV3": {
                "method": "full",
                "filter": " CustomerGroupId eq '10' ",
                "skip_unreadable_rows": True,
            }
        }
    )

    assert read.options_for("customersv3") == EntityOptions(
        method="full", filter="CustomerGroupId eq '10'", skip_unreadable_rows=True
    )
    assert read.options_for("VendorsV2") == EntityOptions()


def test_options_are_read_from_text_as_environment_variables_give_them():
    read = config(entity_options='{"CustomersV3": {"replication_key": "ModifiedDateTime1"}}')

    assert read.options_for("CustomersV3").replication_key == "ModifiedDateTime1"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"X": {"mehtod": "full"}}, "entity_options.X.mehtod is not an option; did you mean method?"),
        ({"X": {"zzz": 1}}, "entity_options.X.zzz is not an option; there are method, replication_key"),
        (
            {"X": {"method": "fast"}},
            "entity_options.X.method must be one of timestamp, sequence, sweep, full",
        ),
        ({"X": {"method": 5}}, "entity_options.X.method must be text."),
        ({"X": {"filter": ["a"]}}, "entity_options.X.filter must be text."),
        ({"X": {"filter": "$filter=a eq 1"}}, "entity_options.X.filter is the expression alone"),
        (
            {"X": {"skip_unreadable_rows": "yes"}},
            "entity_options.X.skip_unreadable_rows must be true or false.",
        ),
        ({"X": "full"}, "entity_options.X must be an object."),
        ({"X": {}, "x": {}}, "entity_options has X and x, which name the same entity."),
    ],
)
def test_a_bad_option_is_one_problem_with_its_path(options, said):
    found = problems(entity_options=options)

    assert len(found) == 1
    assert found[0].startswith(said)


def test_a_config_cannot_be_changed():
    read = config(entity_options={"X": {}})

    with pytest.raises(AttributeError):
        read.page_size = 1
    with pytest.raises(TypeError):
        read.entity_options["Y"] = EntityOptions()
