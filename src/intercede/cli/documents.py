r"""The shapes of what `--json` prints. Fields are added, never taken away or changed, within a major release.

job         {"ref", "tag", "copy", "state", "native_state", "reason", "exit_code", "signal", "detail", "node", "queue",
             "submitted", "started", "ended", "source", "observed", "attempt",
             "usage": {"cpu_seconds", "wall_seconds", "peak_memory"} | null}
error       {"type", "message", "exit_code"}
output      {"directory", "stdout", "stderr", "files": {name: path}, "skipped": {name: why}, "missing": [name]}

submit      {"tag", "on", "resource", "copies", "jobs": [{"copy", "key", "ref", "error"}]}, find the same
run         {"tag", "on", "resource", "directory", "purged", "jobs": [job + {"output": output | error | null}]}
status      {"jobs": [job], "errors": {resource: error}}, watch the same, at the end
output      {"directory", "jobs": [{"ref", "tag", "copy", "output": output | error}]}
cancel      {"jobs": [{"ref", "tag", "copy", "outcome": "DONE" | "NOT_NEEDED" | null, "error": error | null}]},
            release, purge the same
list        {"submissions": [{"tag", "on", "program", "submitted", "copies", "complete", "purged", "jobs": [ref]}]}
sweep       {"purged": [tag]}
queues      {"resource", "queues": [{"name", "is_default", "accepting", "max_walltime" (seconds), "cores",
             "free_cores", "waiting", "running", "ours_waiting", "ours_running"}]}
resources   {"resources": [{"name", "scheduler", "host", "queue", "work_area", "error"}]}

Times are ISO 8601 in UTC, spans are seconds, sizes are bytes. Bytes that are not UTF-8 are lone surrogates (`\udc80` to
`\udcff`), as Python writes them.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from intercede.answers import JobOutput, JobState, JobStatus, Reason
from intercede.cli.exit_codes import of_error

if TYPE_CHECKING:
    from intercede.answers import QueueInfo
    from intercede.errors import IntercedeError
    from intercede.model import JobRef

__all__ = ["error_document", "job_document", "output_document", "queue_document", "ref_document", "status_from"]

_TIMES = ("submitted", "started", "ended", "observed")


def ref_document(ref: JobRef) -> dict[str, Any]:
    """Which job is meant."""
    return {"ref": str(ref), "tag": ref.submission, "copy": ref.copy_index}


def job_document(status: JobStatus) -> dict[str, Any]:
    """What is known of a job."""
    document = ref_document(status.ref)
    for name in ("state", "native_state", "reason", "exit_code", "signal", "detail", "node", "queue"):
        document[name] = getattr(status, name)
    for name in _TIMES:
        document[name] = when(getattr(status, name))
    document |= {"source": status.source, "attempt": status.attempt, "usage": None}
    if status.usage:
        document["usage"] = {
            "cpu_seconds": _seconds(status.usage.cpu_time),
            "wall_seconds": _seconds(status.usage.wall_time),
            "peak_memory": status.usage.peak_memory,
        }
    return document


def status_from(ref: JobRef, document: dict[str, Any]) -> JobStatus:
    """Read back what was remembered of a job, for showing it."""
    times: dict[str, Any] = {
        name: datetime.fromisoformat(document[name]) if document.get(name) else None for name in _TIMES
    }
    reason = document.get("reason")
    return JobStatus(
        ref,
        JobState(document.get("state") or "UNKNOWN"),
        native_state=document.get("native_state") or "",
        reason=Reason(reason) if reason else None,
        exit_code=document.get("exit_code"),
        signal=document.get("signal"),
        detail=document.get("detail") or "",
        node=document.get("node"),
        queue=document.get("queue"),
        source="memory",
        attempt=document.get("attempt") or 1,
        **times,
    )


def error_document(error: IntercedeError) -> dict[str, Any]:
    """What went wrong."""
    return {"type": type(error).__name__, "message": str(error), "exit_code": int(of_error(error))}


def output_document(output: JobOutput | IntercedeError) -> dict[str, Any]:
    """What was brought back."""
    if not isinstance(output, JobOutput):
        return {"error": error_document(output)}
    return {
        "directory": str(output.directory),
        "stdout": str(output.stdout) if output.stdout else None,
        "stderr": str(output.stderr) if output.stderr else None,
        "files": {name: str(path) for name, path in output.files.items()},
        "skipped": output.skipped,
        "missing": list(output.missing),
    }


def queue_document(queue: QueueInfo) -> dict[str, Any]:
    """What is known of a queue."""
    return asdict(queue) | {"max_walltime": _seconds(queue.max_walltime)}


def when(moment: datetime | float | None) -> str | None:
    """A moment in ISO 8601, UTC."""
    if isinstance(moment, int | float):
        moment = datetime.fromtimestamp(int(moment), UTC)
    return moment.astimezone(UTC).isoformat() if moment else None


def _seconds(span: timedelta | None) -> float | None:
    return span.total_seconds() if span is not None else None
