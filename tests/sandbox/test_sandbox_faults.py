"""Every fault by name: that it strikes, when it strikes, and what is recorded of how it was taken."""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

import pytest
import requests

from tap_d365fo.sandbox.faults import FAULTS, Fault, Faults

PATH = "/data/CustomersV3?cross-company=true&$orderby=dataAreaId,CustomerAccount"


def calls(caller, path=PATH, size=5):
    return caller.get(path, Prefer=f"odata.maxpagesize={size}")


def status(caller, fault=None, path=PATH, **params):
    caller.box.faults.add(Fault(fault, **params))
    return calls(caller, path)


SUITED = {
    "slow": {"seconds": 0.05},
    "stall": {"seconds": 0.05},
    "entra-timeout": {"seconds": 0.05},
    "error-500-poisoned-row": {"key": "dat|DAT-001"},
    "missing-property": {"property": "NameAlias"},
    "denied-entity": {"path": "/data/CustomersV3"},
    "dropped-company": {"company": "dat"},
}


def impression(ask):
    """What a caller sees of an answer: its status and content, or the error in its place."""
    try:
        answer = ask()
        content = answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.text
    except (requests.RequestException, ValueError) as error:
        return type(error).__name__
    if answer.ok and "access_token" in content:
        return answer.status_code, "a token"
    return answer.status_code, content


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_strikes_and_goes(caller, name):
    def ask():
        return caller.token() if name.startswith("entra-") else calls(caller)

    calm = impression(ask)
    fault = caller.box.faults.add(Fault(name, **SUITED.get(name, {})))
    struck, record = impression(ask), caller.box.requests[-1]
    caller.box.faults.remove(fault)
    caller.sign_in()

    assert record.faults == (name,)
    assert struck != calm if name != "slow" else record.seconds >= 0.05
    assert impression(ask) == calm


@pytest.mark.parametrize("name", FAULTS)
def test_the_short_form_makes_the_same_fault(name):
    made = Fault.parse(f"{name}:share=0.25,after_s=1")

    assert (made.name, made.share, made.after_s) == (name, 0.25, 1.0)
    assert Fault.parse(name).name == name


def test_names_and_parameters_are_checked():
    with pytest.raises(ValueError, match="There is no fault 'weather'"):
        Fault("weather")
    with pytest.raises(ValueError, match="throttle-429 takes retry_after, text, not seconds"):
        Fault("throttle-429", seconds=1)


def struck_of(fault, paths):
    faults = Faults(seed=3)
    faults.add(fault)
    return [bool(faults.choose(path)) for path in paths]


def test_a_fault_strikes_the_nth_request_of_its_path():
    paths = ["/data/A", "/data/B", "/data/A", "/data/A"]

    assert struck_of(Fault("slow", path="/data/A$", nth=2), paths) == [False, False, True, False]
    assert struck_of(Fault("slow", nth=(1, 4)), paths) == [True, False, False, True]


def test_a_fault_strikes_a_number_of_times_at_most():
    assert struck_of(Fault("slow", count=2), ["/data/A"] * 4) == [True, True, False, False]


def test_a_fault_strikes_a_share_the_same_for_the_same_seed():
    one, other = (struck_of(Fault("slow", share=0.3), ["/data/A"] * 400) for _ in range(2))

    assert one == other
    assert 80 < sum(one) < 160


def test_a_fault_strikes_within_a_span_of_time():
    assert struck_of(Fault("slow", after_s=60), ["/data/A"]) == [False]
    assert struck_of(Fault("slow", for_s=60), ["/data/A"]) == [True]
    assert struck_of(Fault("slow", for_s=-1), ["/data/A"]) == [False]


def test_faults_of_the_environment_spare_entra_and_the_other_way_round():
    assert struck_of(Fault("503-bare"), ["/tenant/oauth2/v2.0/token", "/data/A"]) == [False, True]
    assert struck_of(Fault("entra-500"), ["/tenant/oauth2/v2.0/token", "/data/A"]) == [True, False]


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [
        ("throttle-429", 429, "json"),
        ("unavailable-503", 503, "html"),
        ("503-bare", 503, "html"),
        ("gateway-502-html", 502, "html"),
        ("gateway-504-html", 504, "html"),
        ("error-500-transient", 500, "json"),
        ("error-500-outage", 500, "json"),
        ("redirect-302", 302, "html"),
        ("html-200", 200, "html"),
        ("permanent-400", 400, "json"),
    ],
)
def test_a_fault_answers_as_its_name_says(caller, name, code, kind):
    answer = status(caller, name)

    assert answer.status_code == code
    assert kind in answer.headers["Content-Type"]


def test_retry_after_comes_in_three_forms(caller):
    caller.box.clock = lambda: datetime(2026, 1, 1, tzinfo=timezone.utc)
    box = caller.box
    for name in ("throttle-429", "throttle-429-date", "throttle-429-bare"):
        box.faults.add(name, count=1)
    seconds, date, bare = (calls(caller).headers.get("Retry-After") for _ in range(3))

    assert seconds == "1"
    assert parsedate_to_datetime(date) == datetime(2026, 1, 1, 0, 0, 2, tzinfo=timezone.utc)
    assert bare is None


@pytest.mark.parametrize("form", ["envelope", "text", "empty"])
def test_the_text_of_a_429_stands_in_the_form_that_the_switch_says(caller, form):
    caller.box.switches["error.429_body"] = form

    answer = status(caller, "throttle-429", retry_after=60)

    text = "Retry the request after 60 seconds"
    found = answer.json()["error"]["message"] if form == "envelope" else answer.text
    assert (text in found) is (form != "empty")


def test_requests_before_a_retry_after_has_passed_are_recorded(caller):
    status(caller, "throttle-429", count=1, retry_after=30)
    assert caller.box.violations == []

    calls(caller, "/data/Workers")

    assert [each.path for each in caller.box.violations] == ["/data/Workers"]
    assert 25 < caller.box.violations[0].early_s < 30


def test_a_poisoned_row_spoils_every_page_that_holds_it(caller):
    box = caller.box
    box.faults.add(Fault("error-500-poisoned-row", key=("usmf", "US-005")))
    here = f"{PATH}&$filter=dataAreaId eq 'usmf' and CustomerAccount"

    bodies = {calls(caller, f"{here} ge 'US-00{n}'", 20).content for n in range(1, 6)}
    assert len(bodies) == 1
    assert b"innererror" in bodies.pop()
    assert calls(caller, f"{here} gt 'US-005'").status_code == 200
    assert calls(caller, f"{here} lt 'US-005'", 4).status_code == 200
    assert calls(caller, f"{here} eq 'US-005'&$select=dataAreaId,CustomerAccount").status_code == 200
    one = "/data/CustomersV3(dataAreaId='usmf',CustomerAccount='US-005')?cross-company=true"
    assert calls(caller, one).status_code == 500


@pytest.mark.parametrize("chunked", ["no", "yes"])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_truncated_body_cannot_be_read_whole(caller, chunked, encoding):
    caller.box.faults.add(Fault("truncated-body", chunked=chunked))

    with pytest.raises(requests.RequestException):
        _ = caller.get(PATH, **{"Accept-Encoding": encoding}).content


def test_broken_json_has_the_length_it_announces(caller):
    answer = status(caller, "broken-json")

    assert answer.status_code == 200
    with pytest.raises(ValueError):
        answer.json()


def test_an_empty_page_leads_on_to_the_rows(caller):
    page = status(caller, "empty-page-with-link", count=1).json()

    assert page["value"] == []
    again = caller.session.get(page["@odata.nextLink"], timeout=10).json()
    assert len(again["value"]) > 0


def test_a_repeating_link_leads_to_its_own_page(caller):
    page = status(caller, "repeating-link").json()

    again = caller.session.get(page["@odata.nextLink"], headers={"Prefer": "odata.maxpagesize=5"}, timeout=10)
    assert again.json()["value"] == page["value"]


def test_a_token_sent_to_a_foreign_host_is_a_leak(caller):
    link = status(caller, "foreign-host-link").json()["@odata.nextLink"]
    assert link.startswith(caller.box.foreign_url)

    requests.get(link, verify=caller.box.ca_file, timeout=10, proxies={"https": ""})
    assert caller.box.leaks == []
    caller.session.get(link, timeout=10)

    assert len(caller.box.foreign_requests) == 2
    assert [leak["path"] for leak in caller.box.leaks] == ["/data/CustomersV3"]


def test_a_token_sent_without_tls_is_a_leak(caller):
    with pytest.raises(requests.RequestException):
        caller.session.get(caller.box.url.replace("https", "http") + "/data", timeout=10)

    assert [leak["to"] for leak in caller.box.leaks] == ["plain HTTP"]


def test_a_query_may_be_too_long_in_three_ways(caller):
    box = caller.box
    for form, code in (("404.15", 404), ("414", 414), ("400", 400)):
        box.faults.clear()
        answer = status(caller, "query-too-long", form=form, longer_than=90)
        assert (answer.status_code, "html" in answer.headers["Content-Type"]) == (200, False)
        answer = calls(caller, PATH + "&$select=" + "CustomerAccount," * 9 + "dataAreaId")
        assert (answer.status_code, "html" in answer.headers["Content-Type"]) == (code, True)


def test_a_missing_property_is_refused_by_name_and_absent_from_rows(caller):
    caller.box.faults.add(Fault("missing-property", property="NameAlias"))

    refused = calls(caller, PATH + "&$select=CustomerAccount,NameAlias")
    assert "Could not find a property named 'NameAlias'" in refused.text
    assert "NameAlias" not in calls(caller).json()["value"][0]


def test_a_dropped_company_is_missing_in_silence(caller):
    answer = status(caller, "dropped-company", company="usmf", path="/data/CustomersV3")

    assert answer.status_code == 200
    rows = caller.rows("/data/CustomersV3?cross-company=true&$select=dataAreaId")
    assert {row["dataAreaId"] for row in rows} == {"dat", "ussi", "demf"}
    count = int(caller.get("/data/CustomersV3/$count?cross-company=true").text)
    assert count > len(rows)


def test_something_can_happen_before_the_nth_request(caller):
    box = caller.box
    key = {"dataAreaId": "dat", "CustomerAccount": "DAT-001"}
    box.before("/data/CustomersV3$", lambda: box.dataset.delete("CustomersV3", key), nth=2)

    first, second = (calls(caller, size=1).json()["value"][0]["CustomerAccount"] for _ in range(2))

    assert (first, second) == ("DAT-001", "DAT-002")


def test_requests_beyond_the_concurrent_limit_are_throttled(caller):
    caller.box.switches.update({"throttle.concurrent": 1, "latency.page_s": 0.2, "throttle.retry_after_s": 1})
    codes = []

    def ask():
        session = requests.Session()
        session.trust_env, session.verify = False, caller.box.ca_file
        session.headers["Authorization"] = caller.session.headers["Authorization"]
        codes.append(session.get(caller.box.url + PATH, timeout=10).status_code)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert 200 in codes
    assert 429 in codes
    assert 1 < caller.box.peak_concurrency <= 3


def test_a_page_beyond_the_gateways_time_limit_is_a_504(caller):
    caller.box.switches.update({"latency.per_skipped_row_s": 0.01, "request.timeout_s": 0.05})

    assert calls(caller, PATH + "&$skip=1").status_code == 200
    assert calls(caller, PATH + "&$skip=50").status_code == 504
