"""`/__sandbox__/...`: what a script outside the process may ask of a running sandbox.

No token is needed; it answers on loopback only.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tap_d365fo.sandbox import entities
from tap_d365fo.sandbox.reply import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_d365fo.sandbox.server import Sandbox

_JSON = "application/json; charset=utf-8"


def control(box: Sandbox, request: Request) -> Reply:
    """Answer a request to the control endpoint."""
    verb, _, rest = request.path.removeprefix("/__sandbox__/").partition("/")
    wanted = (request.method, verb)
    if wanted not in _VERBS:
        known = ", ".join(f"{method} /__sandbox__/{name}" for method, name in _VERBS)
        return _reply({"error": f"There is no {request.method} {verb}; there is {known}."}, status=404)
    try:
        return _reply(_VERBS[wanted](box, rest, request.json()))
    except (KeyError, ValueError, TypeError) as error:
        return _reply({"error": str(error)}, status=400)


def _advance(box: Sandbox, _rest: str, body: Any) -> Any:
    return box.dataset.advance(body.get("seed"))


def _reset(box: Sandbox, _rest: str, _body: Any) -> Any:
    box.faults.clear()
    box.switches.update(box.started_with)
    box.dataset.replace_with(entities.built_in(seed=box.seed, scale=box.scale, clock=box.clock))
    return {"reset": True}


def _faults(box: Sandbox, _rest: str, body: Any) -> Any:
    if body.get("clear"):
        box.faults.clear()
    for each in body.get("add", ()):
        box.faults.add(str(each))
    return {"faults": [each.name for each in box.faults]}


def _switches(box: Sandbox, _rest: str, body: Any) -> Any:
    for name, value in body.items():
        box.switches[name] = value
    return dict(box.switches)


def _report(box: Sandbox, _rest: str, _body: Any) -> Any:
    return box.report()


def _truth(box: Sandbox, rest: str, _body: Any) -> Any:
    return box.truth(rest)


def _insert(box: Sandbox, rest: str, body: Any) -> Any:
    return box.dataset.insert(rest, body)


def _update(box: Sandbox, rest: str, body: Any) -> Any:
    return box.dataset.update(rest, body["key"], body["changes"])


def _delete(box: Sandbox, rest: str, body: Any) -> Any:
    box.dataset.delete(rest, body["key"])
    return {"deleted": True}


_VERBS: Mapping[tuple[str, str], Callable[[Sandbox, str, Any], Any]] = {
    ("POST", "advance"): _advance,
    ("POST", "reset"): _reset,
    ("POST", "faults"): _faults,
    ("POST", "switches"): _switches,
    ("POST", "insert"): _insert,
    ("POST", "update"): _update,
    ("POST", "delete"): _delete,
    ("GET", "report"): _report,
    ("GET", "truth"): _truth,
}


def _reply(value: Any, *, status: int = 200) -> Reply:
    # Decimals as text: a reader of this endpoint compares digits, not numbers.
    body = json.dumps(
        value, ensure_ascii=False, default=lambda each: str(each) if isinstance(each, Decimal) else None
    )
    return Reply(status, body.encode(), _JSON)
