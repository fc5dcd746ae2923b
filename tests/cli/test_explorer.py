"""The explorer in a real browser: searching, looking, choosing, by keyboard and on a phone, at full size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tap_d365fo.cli import main

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import browser as browsers

pytestmark = pytest.mark.skipif(browsers.PROGRAM is None, reason="Chromium is not installed")

SHOWN = "[...document.querySelectorAll('.entity b')].map(each => each.textContent)"
FIND = """(text => {{ const box = document.getElementById('query'); box.value = text;
box.dispatchEvent(new Event('input')); return explorer.searchMs; }})({text})"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The page of an environment of the usual size."""
    from tap_d365fo.sandbox.server import Sandbox

    folder = tmp_path_factory.mktemp("explorer")
    with Sandbox(seed=7, switches={"metadata.scale": "full"}) as box, pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(box.ca_file))
        patch.setenv("XDG_CACHE_HOME", str(folder))
        (folder / "config.json").write_text(json.dumps(box.config()))
        with pytest.raises(SystemExit) as ended:
            main(["entities", "--config", str(folder / "config.json"), "--html", str(folder / "page.html")])
    assert ended.value.code == 0
    return folder / "page.html"


@pytest.fixture(scope="module")
def running(page):
    with browsers.Browser() as made:
        made.open(page)
        yield made


@pytest.fixture
def browser(running, page):
    running.run("try { localStorage.clear() } catch (_) { }")
    running.open(page, fragment="")
    running.run("location.hash = ''; location.reload()")
    running.open(page)
    return running


def find(browser, text: str) -> float:
    return browser.run(FIND.format(text=json.dumps(text)))


def test_it_asks_no_server_for_anything(page):
    text = page.read_text(encoding="utf-8")

    assert "http://" not in text
    assert "https://" not in text.replace("https://localhost", "")
    assert " src=" not in text
    assert len(text) < 8_000_000


def test_it_is_there_within_a_second_and_searches_within_50_ms(browser):
    first_paint = browser.run("performance.getEntriesByName('first-paint')[0].startTime")
    ready = browser.run("explorer.readyMs")
    searches = [find(browser, text) for text in ("c", "cu", "sales order", "entity", "zzz", "")]

    assert first_paint < 1000
    assert ready < 1000
    assert max(searches) < 50


def test_rows_out_of_sight_are_not_in_the_page(browser):
    assert browser.run("document.getElementById('count').textContent").startswith("3,868 shown")
    assert browser.run("document.querySelectorAll('.entity').length") < 40


def test_a_search_goes_over_all_names_and_the_best_comes_first(browser):
    find(browser, "customersv3")
    by_set = browser.run(SHOWN)
    find(browser, "custcustomerv3entity")
    by_aot_name = browser.run(SHOWN)

    assert by_set[0] == "CustomersV3"
    assert by_aot_name == ["CustomersV3"]


def test_column_names_are_searched_where_that_is_asked_for(browser):
    find(browser, "primarycontactfaxextension")
    without = browser.run(SHOWN)
    browser.run("document.getElementById('deep').click()")

    assert without == []
    assert "CustomersV3" in browser.run(SHOWN)


@pytest.mark.parametrize(("choice", "value"), [("scope", "0"), ("method", "timestamp"), ("keyed", "0")])
def test_filters_narrow_the_list(browser, choice, value):
    browser.run(
        f"(box => {{ box.value = '{value}'; box.dispatchEvent(new Event('change')); }})"
        f"(document.getElementById('{choice}'))"
    )

    shown = int(browser.run("document.getElementById('count').textContent").split()[0].replace(",", ""))
    assert 0 < shown < 3868


def test_the_keyboard_is_enough_to_find_open_and_choose(browser):
    browser.press("ArrowDown", "/", *"customersv3", "Enter")
    browser.until("document.querySelector('#detail h2')")
    assert browser.run("document.querySelector('#detail h2').textContent") == "CustomersV3"

    browser.press("ArrowDown", "Space")
    assert json.loads(browser.run("document.getElementById('setting').value")) == {
        "entities": ["CustomersV3"]
    }

    browser.press("Space", "ArrowDown", "End", "Home")
    assert json.loads(browser.run("document.getElementById('setting').value")) == {"entities": []}


def test_an_entity_shows_columns_types_enum_members_keys_and_relations(browser, page):
    browser.open(page, fragment="CustomersV3")
    browser.run("location.hash = '#CustomersV3'")
    browser.until("document.querySelector('#detail h2')")

    text = browser.run("document.getElementById('detail').innerText")
    assert "Columns (80)" in text
    assert "dataAreaId, CustomerAccount" in text
    assert "CustCustomerV3Entity" in text
    assert browser.run("document.querySelectorAll('#detail .badge').length") > 2
    members = "[...document.querySelectorAll('.members')].map(each => each.textContent).join(' ')"
    assert "No = 0, Yes = 1" in browser.run(members)
    assert browser.run("document.querySelector('svg.relations a').getAttribute('href')") == "#CustomerGroups"


def test_columns_that_are_left_out_become_rules_of_meltano(browser):
    browser.run("location.hash = '#CustomersV3'")
    browser.until("document.querySelector('#detail h2')")
    browser.run("document.querySelector('[data-column=CustomerGroupId]').click()")

    rules = browser.run("document.getElementById('select').value")
    assert rules == "select:\n- CustomersV3.*\n- '!CustomersV3.CustomerGroupId'"
    assert browser.run("document.querySelector('[data-column=dataAreaId]').disabled") is True


def test_what_was_chosen_is_still_chosen_after_the_page_was_closed(browser, page):
    find(browser, "mainaccounts")
    browser.press("ArrowDown", "Space")
    browser.run("location.reload()")
    browser.open(page)

    assert json.loads(browser.run("document.getElementById('setting').value")) == {
        "entities": ["MainAccounts"]
    }


def test_on_a_phone_an_entity_takes_the_whole_screen_and_goes_back(page):
    with browsers.Browser(width=390, height=844, phone=True) as phone:
        phone.open(page)
        overflow = phone.run("document.documentElement.scrollWidth - innerWidth")
        phone.run(
            "document.querySelector('.entity .names').click(); new Promise(done => setTimeout(done, 100))"
        )
        width = phone.run("document.getElementById('detail').getBoundingClientRect().width")
        phone.run("document.getElementById('back').click()")

        assert overflow <= 0
        assert width == 390
        assert phone.run("getComputedStyle(document.getElementById('detail')).display") == "none"


def test_names_from_the_environment_are_text_and_never_markup(tmp_path):
    from tap_d365fo.cli import explorer
    from tap_d365fo.edm.model import Property
    from tap_d365fo.extraction.entity import DataEntity

    bad = "</script><img src=x onerror=document.title='broken'>"
    entity = DataEntity(bad, bad, ("a",), (Property("a", "Edm.String"),), why=bad, label=bad, category=bad)
    path = tmp_path / "page.html"
    path.write_text(explorer.page("https://x", [entity], {}, [{"rows": None, "bytes_per_row": 1}]))

    with browsers.Browser() as made:
        made.open(path)
        made.run(
            "document.querySelector('.entity .names').click(); new Promise(done => setTimeout(done, 100))"
        )

        assert made.run("document.querySelectorAll('img').length") == 0
        assert made.run("document.title") == "Entities of x"
        assert made.run("document.querySelector('#detail h2').textContent") == bad
