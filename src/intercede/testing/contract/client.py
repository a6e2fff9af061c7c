"""The suite's other process: reads one order on stdin, says `ready`, waits for `go`, prints what came of it as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from intercede.credentials import FileCredentials
from intercede.errors import IntercedeError
from intercede.model import Copy, JobDescription, JobRef
from intercede.registry import open_element
from intercede.settings import ResourceSettings

if TYPE_CHECKING:
    from intercede.protocols import Element


async def _carry_out(ce: Element, order: dict[str, Any]) -> object:
    operation = order["operation"]
    refs = [JobRef.parse(text) for text in order.get("refs", ())]
    if operation == "submit":
        description = JobDescription.model_validate(order["description"])
        copies = [Copy.model_validate(each) for each in order["copies"]]
        submission = await ce.submit(description, copies, tag=order["tag"])
        return [str(each) for each in submission.results]
    if operation == "find":
        submission = await ce.find(order["tag"])
        return {"keys": submission.keys, "refs": [str(ref) for ref in submission.refs]}
    if operation == "status":
        statuses = await ce.status(refs)
        return [
            {"ref": str(ref), "state": each.state, "exit_code": each.exit_code, "signal": each.signal}
            for ref, each in statuses.items()
        ]
    if operation == "cancel":
        return {str(ref): str(each) for ref, each in (await ce.cancel(refs)).items()}
    raise ValueError(operation)


async def _main() -> None:
    order = json.loads(sys.stdin.readline())
    settings = ResourceSettings.model_validate(order["settings"])
    if settings.ssh is not None:
        import asyncssh  # noqa: F401 - so that `go` is soon followed by bytes on the wire
    credentials = FileCredentials(**order["files"]) if order["files"] else None
    async with open_element(settings, credentials=credentials) as ce:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        try:
            answer = await _carry_out(ce, order)
        except IntercedeError as error:
            answer = {"error": type(error).__name__, "text": str(error)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    asyncio.run(_main())
