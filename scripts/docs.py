"""`make docs`: what the documentation shows of the program is made by the program.

Remedies and the newcomer's walk are text; the explorer's screenshots and the picture of a run are pictures.
Everything runs against the sandbox; what differs from run to run (ports, times, ids) is written in one way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import docs_walk
from environments import ROOT

from tap_d365fo.remedies import REMEDIES, Remedy, Where

SETUP = ROOT / "docs" / "setup.md"
_BEGIN, _END = "<!-- remedies: written by `make docs`, compared by a test -->\n", "<!-- /remedies -->"

_PLACES: Mapping[Where, str] = {
    "entra": "Entra says no, by its code",
    "entra-error": "Entra says no, by its kind of error",
    "refusal": "F&O refuses a token that Entra gave out",
    "no-answer": "No answer comes",
    "answer": "F&O answers with something else",
    "settings": "The settings",
    "companies": "Companies",
    "entities": "Entities",
    "change-store": "The change store",
}


def main() -> None:
    """Make what was asked for, or everything."""
    import docs_pictures  # noqa: PLC0415  needs more than the tests, which use the rest of this

    makers: Mapping[str, Callable[[], None]] = {
        "setup": write_setup,
        "walk": docs_walk.write,
        "explorer": docs_pictures.write_explorer,
        "run": docs_pictures.write_run,
    }
    for name in sys.argv[1:] or makers:
        makers[name]()
        print(f"* {name}", flush=True)


def write_setup() -> None:
    """Write the remedies into the page on setting up."""
    before, _, rest = SETUP.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    SETUP.write_text(f"{before}{_BEGIN}{remedies()}\n{_END}{after}", encoding="utf-8")


def remedies() -> str:
    """Return every row of the table of remedies, as tables by place."""
    parts = []
    for where, title in _PLACES.items():
        codes: dict[Remedy, list[str]] = {}
        for (place, code), remedy in REMEDIES.items():
            if place == where:
                codes.setdefault(remedy, []).append(f"`{code}`" if code else "any other")
        rows = [_row(remedy, found) for remedy, found in codes.items()]
        parts += [
            f"### {title}\n",
            "| code | what it means | next step | who |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    return "\n".join(parts)


def _row(remedy: Remedy, codes: list[str]) -> str:
    step = remedy.step + (f" [More]({remedy.link})" if remedy.link else "")
    cells = (", ".join(codes), remedy.cause, step, remedy.who)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


if __name__ == "__main__":
    main()
