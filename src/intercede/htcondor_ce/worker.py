"""The worker process: the only place that imports HTCondor's bindings.

They hold the interpreter's lock for whole calls, up to a minute where a daemon never answers, and a session with a
daemon is used again whatever credential is configured later. So a worker serves one address with one credential, and
the library ends it when it is late.

Its directory, the address and the library's process are its arguments, its configuration is its environment
(`credential.py`), requests come on stdin. It is two processes: one works, and the other one ends it with the library
and removes the directory, for then nobody else may be left to do so; so it does with those of others that were killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from intercede.htcondor_ce import private
from intercede.htcondor_ce.confine import confined
from intercede.htcondor_ce.protocol import (
    GONE,
    Act,
    Ad,
    Edit,
    Failure,
    History,
    Identify,
    Kind,
    Query,
    Request,
    Retrieve,
    Submit,
    classify,
    decode_request,
    frame,
    read_frame,
    reason_in,
    refused_submission,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["main"]

_HEARD = {signal.SIGTERM, signal.SIGCHLD}


class Told(Exception):
    """What a failure means is known where it was met."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.said)


class Schedd:
    """The schedd behind an address.

    Args:
        bindings: The modules `htcondor2` and `classad2`.
        address: The collector's, `host:port`.
    """

    def __init__(self, bindings: tuple[Any, Any], address: str) -> None:
        self._htcondor, self._classad = bindings
        self._address = address
        self._ad: Any = None

    def perform(self, request: Request[Any]) -> Any:
        """Carry out a request; gives what goes into its answer."""
        match request:
            case Identify():
                return self._identify()
            case Query():
                return self._query(request)
            case Submit():
                return self._submit(request)
            case Act():
                return self._act(request)
            case Edit():
                return self._edit(request)
            case Retrieve():
                return self._retrieve(request)
        raise TypeError(f"no such request: {request}")

    @property
    def is_known(self) -> bool:
        """Whether the collector has told where it is."""
        return self._ad is not None

    def forget(self) -> None:
        """Ask the collector again where the schedd is: a restarted one is elsewhere."""
        self._ad = None

    def _located(self) -> Any:
        if self._ad is None:
            schedds = self._htcondor.Collector(self._address).locateAll(self._htcondor.DaemonType.Schedd)
            host = self._address.rpartition(":")[0]
            chosen = [each for each in schedds if each["Name"] == host] or list(schedds)
            if len(chosen) != 1:
                names = ", ".join(str(each["Name"]) for each in chosen)
                raise RuntimeError(f"{self._address} has several schedds: {names}" if names else "it knows no schedd")
            self._ad = chosen[0]
        return self._ad

    def _schedd(self) -> Any:
        return self._htcondor.Schedd(self._located())

    def _identify(self) -> str:
        return self._htcondor.ping(self._located(), "WRITE")["MyRemoteUserName"]

    def _query(self, request: Query) -> list[Ad]:
        schedd = self._schedd()
        if isinstance(request, History):
            found = schedd.history(request.constraint, list(request.attributes), request.match)
        else:
            found = schedd.query(request.constraint, list(request.attributes))
        return [self._plain(ad, request.attributes) for ad in found]

    def _plain(self, ad: Any, attributes: tuple[str, ...]) -> Ad:
        found: Ad = dict.fromkeys(attributes)
        for name in attributes:
            value = ad.get(name)
            if isinstance(value, self._classad.ExprTree):
                value = str(value)
            # the enumeration of `undefined` and `error` is an integer to isinstance
            if type(value) in {str, int, float, bool}:
                found[name] = value
        return found

    def _submit(self, request: Submit) -> tuple[int, int, str]:
        schedd = self._schedd()
        description = self._htcondor.Submit("\n".join(request.lines))
        try:
            result = schedd.submit(description, spool=True, itemdata=iter(request.items))
        except Exception as error:
            raise Told(refused_submission(str(error))) from error
        complaint = ""
        try:
            schedd.spool(result)
        except Exception as error:
            # they are queued, and wait for their files
            complaint = str(error) or "their files could not be sent"
        return result.cluster(), result.num_procs(), complaint

    def _act(self, request: Act) -> int:
        action = getattr(self._htcondor.JobAction, request.action)
        # a reason that is no tuple gets lost
        answer = self._schedd().act(action, request.constraint, (request.reason, 0))
        if answer["TotalPermissionDenied"]:
            raise PermissionError(f"SECMAN:2010: {answer['TotalPermissionDenied']} of the jobs are somebody else's")
        return answer["TotalSuccess"]

    def _edit(self, request: Edit) -> int:
        schedd = self._schedd()
        # that no job is meant would be an error, and the same one as that it is not allowed
        if not schedd.query(request.constraint, ["ClusterId"], limit=1):
            return 0
        return schedd.edit(request.constraint, request.attribute, request.value)

    def _retrieve(self, request: Retrieve) -> dict[str, str]:
        schedd = self._schedd()
        clusters = ",".join(dict.fromkeys(job.partition(".")[0] for job in request.directories))
        known = schedd.query(f"member(ClusterId, {{{clusters}}})", ["ClusterId", "ProcId"])
        # 23.9.6 takes an attribute of a job that never was, and gives no file without a word
        there = {f"{ad['ClusterId']}.{ad['ProcId']}" for ad in known}
        refused = dict.fromkeys((job for job in request.directories if job not in there), GONE)
        # files go where the submitting client was, unless that is changed
        jobs: dict[str, list[str]] = {}
        for job in request.directories.keys() - refused:
            jobs.setdefault(request.directories[job], []).append(job)
        for directory, some in jobs.items():
            why = self._redirected(schedd, some, directory)
            if why and len(some) == 1:
                # 23.9.6 refuses it once, and not when it is asked again
                refused[some[0]] = why
            elif why:
                refused |= {job: why for job in some if (why := self._redirected(schedd, [job], directory))}
        if wanted := [job for job in request.directories if job not in refused]:
            for directory in jobs:
                os.makedirs(directory, mode=0o700, exist_ok=True)
            refused |= self._fetched(schedd, wanted, jobs)
        return refused

    def _fetched(self, schedd: Any, wanted: list[str], directories: Iterable[str]) -> dict[str, str]:
        """Fetch files of jobs, one by one if that fails for all together; gives those for which it does, and why."""
        try:
            # the schedd says where they go, and may say anything
            confined(directories, lambda: schedd.retrieve(wanted))
        except self._htcondor.HTCondorException as error:
            if classify(str(error)).kind is not Kind.FAILED:
                raise
            if len(wanted) == 1:
                return {wanted[0]: str(error) or "its files cannot be fetched"}
            return {job: why for each in wanted for job, why in self._fetched(schedd, [each], directories).items()}
        return {}

    def _redirected(self, schedd: Any, jobs: list[str], directory: str) -> str:
        """Have files of jobs go to a directory; gives why not, and then it is so for none of them."""
        try:
            schedd.edit(jobs, "SUBMIT_Iwd", self._classad.quote(directory))
        except self._htcondor.HTCondorException as error:
            if classify(str(error)).kind is not Kind.FAILED:
                raise
            # it may have left since it was seen there
            return f"{GONE}, or not ours: {error}"
        return ""


class Log:
    """What the bindings, and the libraries below them, write: their answers tell less."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        for descriptor in (1, 2):
            os.dup2(self._file.fileno(), descriptor)

    def clear(self) -> None:
        """Begin anew."""
        os.lseek(1, 0, os.SEEK_SET)
        self._file.truncate(0)

    def text(self) -> str:
        """What was written since."""
        self._file.seek(0)
        return self._file.read().decode(errors="replace")


def answer(schedd: Schedd, request: Request[Any], log: Log) -> Any:
    """Carry out a request, and turn whatever goes wrong into a `Failure`."""
    log.clear()
    was_known = schedd.is_known
    try:
        return schedd.perform(request)
    except Told as told:
        failure = told.failure
    except Exception as error:
        failure = classify(reason_in(log.text(), str(error)))
    schedd.forget()
    if failure.kind is Kind.UNREACHED and was_known:
        # nothing was done, and what was known of its address may be old
        return answer(schedd, request, log)
    return failure


def serve(bindings: tuple[Any, Any], address: str, log: Log, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    schedd = Schedd(bindings, address)
    while (content := read_frame(requests)) is not None:
        answers.write(frame(answer(schedd, decode_request(content), log)))
        answers.flush()


def end_with(parent: int, how: signal.Signals) -> bool:
    """Have this process told when its parent has ended, whatever it is doing then; gives whether it is there."""
    if sys.platform == "linux":
        # prctl(2), PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(1, how)
    return os.getppid() == parent


def keep(worker: int, directory: Path, library: int) -> None:
    """End the worker with the library, and see to it that nothing of it stays.

    A submission that went on would be another one than that which somebody else begins under the same tag. The bindings
    keep a worker from hearing anything for as long as a call of theirs takes, so it is another process that listens.
    All that it listens to is blocked: each thread of a library that is killed says so, and nothing may be left undone.
    """
    for descriptor in (0, 1):
        os.close(descriptor)
    heard = signal.SIGTERM
    if end_with(library, signal.SIGTERM):
        private.sweep(directory.parent)
        heard = signal.sigwait(_HEARD)
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    private.remove(directory)
    # what the library was about to send, secrets among it; other threads of it may hold its locks for a moment more
    until = time.monotonic() + (2 if heard == signal.SIGTERM else 0)
    private.sweep(directory.parent)
    while time.monotonic() < until:
        time.sleep(0.05)
        private.sweep(directory.parent)


def main() -> None:
    """Serve the library that started this process."""
    directory, address, library = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    keeper = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    if worker := os.fork():
        keep(worker, directory, library)
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if not end_with(keeper, signal.SIGKILL):
        return
    # what the bindings print must not be taken for an answer
    answers = os.fdopen(os.dup(1), "wb")
    try:
        log = Log(directory / "log")
        import classad2
        import htcondor2

        htcondor2.enable_debug()
        serve((htcondor2, classad2), address, log, sys.stdin.buffer, answers)
    except ImportError as error:
        answers.write(frame(Failure(Kind.MISSING, str(error))))
        answers.flush()


if __name__ == "__main__":
    main()
