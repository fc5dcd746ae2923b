"""Between Airbyte's array of per-stream states and the bookmarks that the tap is given.

A stream's state is the tap's bookmark of it, unchanged, with one addition: the platform runs a failed job
again in a further attempt, and a full refresh that was finished in an earlier attempt must not be sent
twice. So its last state names the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_d365fo.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

FINISHED_IN_JOB = "finished_in_job"
JOB_VARIABLE = "WORKER_JOB_ID"
"""The environment variable in which Airbyte's platform names the job that it runs."""

_OURS = frozenset({"partitions", "replication_key", "progress", "generation", FINISHED_IN_JOB})
"""Keys of which a bookmark of ours has at least one."""

_REMEDY = "Clear the connection's state, or give the state that this connector wrote last."


def to_bookmarks(state: Any) -> dict[str, dict[str, Any]]:
    """Return bookmarks by stream; raises StateError for a state of any other shape."""
    if state in (None, {}, []):
        return {}
    if not isinstance(state, list) or not all(isinstance(each, dict) for each in state):
        raise StateError(
            "The state is not a list of per-stream states, as this connector writes it.", remedy=_REMEDY
        )
    return dict(_bookmark(each) for each in state)


def _bookmark(state: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    kind = state.get("type", "STREAM")
    if kind != "STREAM":
        raise StateError(
            f"The state holds one of type {kind}; this connector writes one for each stream (type STREAM).",
            remedy=_REMEDY,
        )
    try:
        name = state["stream"]["stream_descriptor"]["name"]
        bookmark = state["stream"].get("stream_state") or {}
    except (TypeError, KeyError, AttributeError) as exc:
        raise StateError(
            f"A state of the list has no stream descriptor with a name ({exc!r}).", remedy=_REMEDY
        ) from exc
    if not _is_ours(bookmark):
        raise StateError(f"The state of stream {name} is not one that this connector wrote.", remedy=_REMEDY)
    return str(name), dict(bookmark)


def _is_ours(bookmark: Any) -> bool:
    if not isinstance(bookmark, dict) or (bookmark and _OURS.isdisjoint(bookmark)):
        return False
    partitions = bookmark.get("partitions", [])
    return isinstance(partitions, list) and all(isinstance(each, dict) for each in partitions)


def finished_in(job: str | None) -> dict[str, Any]:
    """Return the state of a full refresh that was finished in a job; empty where there is no job to tell from."""
    return {FINISHED_IN_JOB: job} if job else {}


def is_finished(bookmark: Mapping[str, Any], job: str | None) -> bool:
    """Say whether an earlier attempt of this very job has sent the whole stream."""
    return job is not None and bookmark.get(FINISHED_IN_JOB) == job
