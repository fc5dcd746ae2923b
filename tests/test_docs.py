"""Pages that `make docs` makes from the program say what the program says today."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from tap_d365fo.remedies import REMEDIES

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

docs = importlib.import_module("docs")
docs_walk = importlib.import_module("docs_walk")

SETUP = docs.SETUP.read_text(encoding="utf-8")


def test_the_page_on_setting_up_shows_the_table_of_remedies_as_it_is():
    assert docs.remedies() in SETUP


@pytest.mark.parametrize("remedy", dict.fromkeys(REMEDIES.values()), ids=lambda each: each.cause)
def test_every_remedy_is_on_the_page_with_who_can_take_it(remedy):
    row = next(line for line in SETUP.splitlines() if f"| {remedy.cause.replace('<', '&lt;')} |" in line)

    assert row.endswith(f"| {remedy.who} |")


def test_every_place_in_which_trouble_arises_is_on_the_page():
    assert {place for place, _ in REMEDIES} == set(docs._PLACES)


def test_the_newcomers_walk_goes_today_as_it_is_recorded():
    assert docs_walk.page() == docs_walk.PAGE.read_text(encoding="utf-8")


def test_links_between_the_pages_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
