"""The three commands, as their entry points begin them."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

COMMANDS = {
    "tap-d365fo": "tap_d365fo.tap",
    "source-d365fo": "tap_d365fo.airbyte.source",
    "d365fo": "tap_d365fo.cli",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_leaves_what_it_imported_out_of_garbage_collection(name):
    (command,) = entry_points(group="console_scripts", name=name)
    function = command.value.rpartition(":")[2]
    program = f"""
import gc, importlib
before = gc.isenabled(), gc.get_freeze_count()
def told(): print(before, gc.isenabled(), gc.get_freeze_count() > 10_000)
from tap_d365fo import start
module = importlib.import_module({COMMANDS[name]!r})
module.main = told
start.{function}()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert command.value == f"tap_d365fo.start:{function}"
    assert ran.stdout == "(True, 0) True True\n"


def test_garbage_is_looked_for_again_when_an_import_fails():
    program = """
import gc, sys
sys.modules["tap_d365fo.tap"] = None
from tap_d365fo import start
try:
    start.tap()
except ImportError:
    print(gc.isenabled())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ran.stdout == "True\n"
