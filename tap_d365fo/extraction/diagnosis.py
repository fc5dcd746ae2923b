"""Walks the way of a sync step by step, and says at each what was found and what to do next.

No second code path: every step makes the calls that a sync makes, on the same session. After a failure the
steps behind it are not checked, and say so. A check reads little: one row of each selected entity.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tap_d365fo import remedies
from tap_d365fo.errors import (
    AccessDeniedError,
    AuthenticationError,
    BrokenAnswerError,
    ConfigurationError,
    D365FOError,
    EntitySetNotFoundError,
    MetadataError,
    QueryRejectedError,
    ServiceError,
    TransportError,
    UnreadablePageError,
)
from tap_d365fo.extraction.extractor import ReadPlan
from tap_d365fo.extraction.findings import Finding, Verdict, counted
from tap_d365fo.extraction.store_location import try_out
from tap_d365fo.extraction.walk import SHOWN, Settings, Walk, curt, listed, without_values
from tap_d365fo.transport.http import route_to

if TYPE_CHECKING:
    from tap_d365fo.extraction.entity import DataEntity
    from tap_d365fo.transport.clock import Clock

MOST_ENTITIES = 100
"""Selected entities of which a row is read."""
MOST_COMPANIES = 25
"""Legal entities that are looked into, where the settings name none."""
SLOW_METADATA_SECONDS = 60.0

_TEMPLATE_COMPANY = "dat"
"""The legal entity that every environment has and nobody does business in."""


def diagnose(
    settings: Settings | Callable[[], Settings],
    *,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> Iterator[Finding]:
    """Yield what is found, one finding or more for each of CHECKS, in the order in which data travels.

    Settings that have still to be read are given as a function, so that what is wrong with their file is a
    finding too.
    """
    walk = Walk(settings, clock, rng)
    failed = ""
    try:
        for name, step in _STEPS:
            if failed:
                yield Finding(name, "not-checked", f"Not checked, because {failed} failed.")
                continue
            for finding in _found(name, step, walk):
                yield walk.without_secrets(finding)
                failed = name if finding.verdict == "failed" else failed
    finally:
        walk.close()


def _found(name: str, step: Step, walk: Walk) -> Iterator[Finding]:
    try:
        yield from step(walk)
    except D365FOError as exc:
        remedy = exc.remedy or remedies.next_step(remedies.find("answer", "broken"))
        message = curt(exc) if isinstance(exc, BrokenAnswerError) else exc.message
        yield Finding(name, "failed", message, remedy, dict(exc.ids))


Step = Callable[[Walk], Iterable[Finding]]

# -- settings and the way to the environment -----------------------------------------------------------------


def _settings(walk: Walk) -> Iterator[Finding]:
    try:
        config = walk.open()
    except ConfigurationError as exc:
        remedy = str(remedies.find("settings", "incomplete").step)
        evidence = {"problems": list(exc.problems)}
        yield Finding("settings", "failed", " ".join(exc.problems), remedy, evidence)
        return
    odd = [each for each in config.notices if ": kept " not in each]
    kept = " ".join(each for each in config.notices if each not in odd)
    seen: dict[str, Any] = {
        "environment_url": config.environment_url,
        "tenant_id": config.tenant_id,
        "client_id": config.client_id,
        "credential": config.credentials.kind,
        "authority": config.authority,
        "entities": list(config.entities),
        "companies": list(config.companies),
    }
    message = f"Complete: {config.environment_url} with a {config.credentials.kind}. {kept}".strip()
    yield Finding("settings", "ok", message, evidence=seen)
    if odd:
        yield Finding("settings", "warning", " ".join(odd), remedies.find("settings", "odd").step)


def _host(walk: Walk) -> Iterator[Finding]:
    seconds = walk.extractor.session.reach()
    route = route_to(walk.config.environment_url)
    way = f" through the proxy {route.proxy}" if route.proxy else ""
    trust = f", with the certificates of {route.ca_bundle}" if route.ca_bundle else ""
    host = urlsplit(walk.config.environment_url).netloc
    evidence = {
        "host": host,
        "seconds": round(seconds, 3),
        "proxy": route.proxy,
        "ca_bundle": route.ca_bundle,
    }
    yield Finding("host", "ok", f"{host} answers over TLS in {seconds:.1f} s{way}{trust}.", evidence=evidence)


# -- signing in ----------------------------------------------------------------------------------------------


def _entra(walk: Walk) -> Iterator[Finding]:
    """Ask for a token: what comes instead tells about this step or one of the next."""
    began = walk.seconds()
    try:
        walk.extractor.session.authenticator.token()
    except AuthenticationError as exc:
        walk.refused = exc
    walk.token_seconds = walk.seconds() - began
    authority = walk.config.authority
    evidence = {"authority": authority, "seconds": round(walk.token_seconds, 3)}
    yield Finding("entra", "ok", f"Entra answers at {authority}.", evidence=evidence)


_RAISED_NO_OBJECTION = {
    "tenant": "Entra knows the tenant {config.tenant_id}.",
    "application": "Entra knows the application {config.client_id} in this tenant.",
    "credential": "Entra takes the {config.credentials.kind}.",
    "resource": "Entra knows the environment: Microsoft Dynamics ERP is present and enabled.",
}


def _of_sign_in(step: str) -> Step:
    def judge(walk: Walk) -> Iterator[Finding]:
        refused = walk.refused
        if refused and step == remedies.step_of_refusal(refused.code, refused.kind):
            code = {"aadsts": refused.code} if refused.code else {}
            yield Finding(step, "failed", refused.message, refused.remedy or "", {**code, **refused.ids})
        else:
            yield Finding(step, "ok", _RAISED_NO_OBJECTION[step].format(config=walk.config))

    return judge


def _token(walk: Walk) -> Iterator[Finding]:
    claims = walk.extractor.session.authenticator.claims()
    seen = {name: claims[name] for name in ("aud", "tid", "oid", "appid", "exp") if name in claims}
    if not claims:
        yield Finding(
            "token", "not-checked", "Not checked, because the token is not one that can be decoded."
        )
        return
    cause = remedies.cause_of_refusal(
        401, claims, environment_url=walk.config.environment_url, tenant_id=walk.config.tenant_id
    )
    if cause == "unregistered":  # nothing in the token itself speaks against it
        yield Finding("token", "ok", "Its audience, tenant and object id fit the environment.", evidence=seen)
        return
    remedy = remedies.find("refusal", cause)
    verdict: Verdict = "failed" if _is_refused(walk) else "warning"
    yield Finding("token", verdict, remedy.cause, remedies.next_step(remedy), seen)


def _is_refused(walk: Walk) -> bool:
    """Say whether F&O refuses the token: some environments take what others would not."""
    try:
        walk.extractor.service.service_document()
    except AccessDeniedError:
        return True
    except D365FOError:
        return False  # what is amiss instead is the next step's to tell
    return False


# -- F&O -----------------------------------------------------------------------------------------------------


def _access(walk: Walk) -> Iterator[Finding]:
    try:
        walk.extractor.service.service_document()
    except (EntitySetNotFoundError, QueryRejectedError, UnreadablePageError) as exc:
        # F&O looked at more than the token; what else is amiss comes up where it matters.
        yield Finding("access", "ok", f"F&O accepts the application. (It answered {exc.status}.)")
        return
    except MetadataError:
        yield Finding("access", "ok", "F&O accepts the application. (It lists no entity sets.)")
        return
    yield Finding("access", "ok", "F&O accepts the application.")


def _version(walk: Walk) -> Iterator[Finding]:
    step = remedies.next_step(remedies.find("entities", "version"))
    try:
        version = walk.extractor.service.application_version()
    except (ServiceError, BrokenAnswerError, TransportError) as exc:
        yield Finding("version", "warning", curt(exc), step, dict(exc.ids))
        return
    if not version:
        yield Finding("version", "warning", "F&O answers, but tells no version.", step)
        return
    yield Finding("version", "ok", f"Application version {version}.", evidence={"version": version})


def _companies(walk: Walk) -> Iterator[Finding]:
    environment = walk.extractor.environment
    visible = environment.companies()
    wanted = environment.wanted_companies(*walk.named[:1] or ("CustomerGroups",))
    if visible is None:
        unlisted = remedies.find("companies", "unlisted")
        yield Finding("companies", "warning", unlisted.cause, remedies.next_step(unlisted))
        return
    if not visible:
        none = remedies.find("companies", "none")
        yield Finding("companies", "warning", none.cause, remedies.next_step(none), {"visible": []})
        return
    default = environment.default_company(walk.named)
    own = f"its default is {default}" if default else "its default shows in no row"
    read = f" Of these are read: {listed(wanted)}." if wanted else ""
    companies = counted(len(visible), "company", "companies")
    message = f"The service user sees {companies}: {listed(visible)}; {own}.{read}"
    evidence = {"visible": list(visible), "default": default, "configured": list(wanted)}
    yield Finding("companies", "ok", message, evidence=evidence)
    if empty := _without_rows(walk, wanted or visible[:MOST_COMPANIES]):
        verdict: Verdict = "failed" if wanted else "warning"
        remedy = remedies.find("companies", "out-of-sight" if wanted else "without-rows")
        message = f"No row came of {listed(empty)}, from entities of which a company in use has some."
        step = remedies.next_step(remedy)
        yield Finding("companies", verdict, message, step, {"without_rows": list(empty)})


def _without_rows(walk: Walk, companies: Iterable[str]) -> tuple[str, ...]:
    """Return the legal entities that are listed, but of which no row comes: F&O says nothing of that."""
    looked = [each for each in companies if each != _TEMPLATE_COMPANY]
    with ThreadPoolExecutor(walk.config.max_parallel_requests) as beside:
        environment, named = walk.extractor.environment, walk.named
        shown = beside.map(lambda company: environment.shows_rows(company, named), looked)
        return tuple(company for company, is_shown in zip(looked, shown, strict=True) if not is_shown)


# -- entities ------------------------------------------------------------------------------------------------


def _metadata(walk: Walk) -> Iterator[Finding]:
    began = walk.seconds()
    try:
        walk.entities = walk.extractor.entities()
    except ConfigurationError as exc:
        walk.unfit = exc
    seconds = walk.seconds() - began
    model = walk.extractor.model
    readable = len(walk.entities) if walk.unfit is None else len(model.entity_sets)
    evidence = {"offered": len(model.offered), "readable": readable, "seconds": round(seconds, 1)}
    slow = " The server builds its cache after a restart." if seconds > SLOW_METADATA_SECONDS else ""
    message = f"{counted(len(model.offered), 'entity set')}, read in {seconds:.1f} s.{slow}"
    yield Finding("metadata", "ok", message, evidence=evidence)
    if model.left_out:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(model.left_out.items())[:SHOWN])
        yield Finding(
            "metadata", "warning", f"Left out: {reasons}.", evidence={"left_out": list(model.left_out)}
        )


def _entities(walk: Walk) -> Iterator[Finding]:
    if walk.unfit is not None:
        unknown = remedies.find("entities", "unknown")
        yield Finding("entities", "failed", " ".join(walk.unfit.problems), unknown.step)
        return
    if not walk.selected:
        none = remedies.find("entities", "none-selected")
        yield Finding("entities", "warning", none.cause, none.step)
        return
    methods = Counter(each.method for each in walk.selected)
    how = ", ".join(f"{count} by {method}" for method, count in sorted(methods.items()))
    evidence = {"selected": len(walk.selected), "methods": dict(methods)}
    selected = counted(len(walk.selected), "entity", "entities")
    yield Finding("entities", "ok", f"{selected} selected: {how}.", evidence=evidence)


def _rows(walk: Walk) -> Iterator[Finding]:
    selected = walk.selected
    if not selected:
        yield Finding("rows", "not-checked", "Not checked, because no entity is selected.")
        return
    with ThreadPoolExecutor(walk.config.max_parallel_requests) as beside:
        yield from beside.map(lambda each: _one_row(walk, each), selected[:MOST_ENTITIES])
    if (left := len(selected) - MOST_ENTITIES) > 0:
        more = counted(left, "more entity", "more entities")
        message = f"Not checked, because a check reads little: {more}."
        yield Finding("rows", "not-checked", message, evidence={"entities": left})


def _one_row(walk: Walk, entity: DataEntity) -> Finding:
    plan = ReadPlan(entity, frozenset(each.name for each in entity.properties), bookmark={})
    began = walk.seconds()
    try:
        row = walk.extractor.first_row(plan)
    except D365FOError as exc:
        filter_text = walk.config.options_for(entity.name).filter or ""
        message = f"{entity.name}: {without_values(curt(exc), filter_text)}"
        return Finding("rows", "failed", message, exc.remedy or "", {"entity": entity.name, **exc.ids})
    seconds = walk.seconds() - began
    came = "a row came" if row else "there is no row"
    evidence = {
        "entity": entity.name,
        "rows": int(row is not None),
        "columns": len(entity.properties),
        "method": entity.method,
        "seconds": round(seconds, 3),
    }
    return Finding(
        "rows", "ok", f"{entity.name}: {came} in {seconds:.1f} s; method {entity.method}.", evidence=evidence
    )


# -- pace and change store -----------------------------------------------------------------------------------


def _throttling(walk: Walk) -> Iterator[Finding]:
    pace = walk.extractor.session.pace
    sent, throttled = walk.sent, walk.throttled
    evidence = {
        "requests": sent,
        "throttled": throttled,
        "waited_seconds": round(pace.waited_seconds, 1),
        "parallel_allowed": pace.allowed,
    }
    if not throttled:
        message = f"None of {counted(sent, 'request')} was throttled; up to {pace.allowed} may be in flight."
        yield Finding("throttling", "ok", message, evidence=evidence)
        return
    remedy = remedies.find("answer", "throttled")
    message = (
        f"F&O throttled {throttled} of {counted(sent, 'request')}; {pace.waited_seconds:.0f} s were waited."
    )
    yield Finding("throttling", "warning", message, remedies.next_step(remedy), evidence)


def _change_store(walk: Walk) -> Iterator[Finding]:
    location = walk.config.change_store
    if location is None:
        message = "Not checked, because change_store is not set; without it there are no sweeps."
        yield Finding("change-store", "not-checked", message)
        return
    try_out(location)
    yield Finding("change-store", "ok", "The change store can be written and read.")


_STEPS: tuple[tuple[str, Step], ...] = (
    ("settings", _settings),
    ("host", _host),
    ("entra", _entra),
    *((step, _of_sign_in(step)) for step in remedies.SIGN_IN_STEPS),
    ("token", _token),
    ("access", _access),
    ("version", _version),
    ("companies", _companies),
    ("metadata", _metadata),
    ("entities", _entities),
    ("rows", _rows),
    ("throttling", _throttling),
    ("change-store", _change_store),
)
CHECKS = tuple(name for name, _ in _STEPS)
"""Names of the checks in their order."""
