"""Unified interfaces to Computing Elements and batch systems.

    from intercede import JobDescription, open_element

    async with open_element("ssh+slurm://alice@login.example.org/long") as ce:
        submission = await ce.submit(JobDescription(executable="hostname"), copies=3)
        async for changes in ce.watch(submission.refs):
            ...

Names are imported when they are first used, so importing this package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intercede import sync as sync
    from intercede.answers import (
        Capacity,
        Counters,
        JobOutput,
        JobState,
        JobStatus,
        LogChunk,
        Outcome,
        QueueInfo,
        Reason,
        Submission,
        SubmissionInfo,
        Usage,
    )
    from intercede.credentials import (
        BearerToken,
        CondorToken,
        CredentialProvider,
        CredentialRequest,
        FileCredentials,
        SSHAnswers,
        SSHPassword,
        SSHPrivateKey,
        StaticCredentials,
        X509Proxy,
    )
    from intercede.errors import (
        AuthenticationFailed,
        CommandError,
        ConfigurationError,
        ConnectFailed,
        ConnectionLost,
        CredentialError,
        HostKeyRejected,
        IntercedeError,
        InvalidReference,
        LimitExceeded,
        NotFound,
        ParseError,
        QueueFull,
        SchedulerUnavailable,
        StorageError,
        SubmissionRejected,
        SubmissionUnknown,
        TagConflict,
        TransportError,
        UnsupportedError,
    )
    from intercede.model import Copy, JobDescription, JobRef, Resources
    from intercede.protocols import (
        Canceller,
        CapacityReporter,
        ComputingElement,
        Element,
        Finder,
        Housekeeper,
        LogReader,
        OutputRetriever,
        Purger,
        Releaser,
        SecretRenewer,
        StatusReporter,
        Submitter,
    )
    from intercede.registry import open_element, open_elements
    from intercede.settings import Endpoint, ResourceSettings

_HOMES = {
    "answers": (
        "Capacity", "Counters", "JobOutput", "JobState", "JobStatus", "LogChunk", "Outcome", "QueueInfo", "Reason",
        "Submission", "SubmissionInfo", "Usage",
    ),
    "credentials": (
        "BearerToken", "CondorToken", "CredentialProvider", "CredentialRequest", "FileCredentials", "SSHAnswers",
        "SSHPassword", "SSHPrivateKey", "StaticCredentials", "X509Proxy",
    ),
    "errors": (
        "AuthenticationFailed", "CommandError", "ConfigurationError", "ConnectFailed", "ConnectionLost",
        "CredentialError", "HostKeyRejected", "IntercedeError", "InvalidReference", "LimitExceeded", "NotFound",
        "ParseError", "QueueFull", "SchedulerUnavailable", "StorageError", "SubmissionRejected", "SubmissionUnknown",
        "TagConflict", "TransportError", "UnsupportedError",
    ),
    "model": ("Copy", "JobDescription", "JobRef", "Resources"),
    "protocols": (
        "Canceller", "CapacityReporter", "ComputingElement", "Element", "Finder", "Housekeeper", "LogReader",
        "OutputRetriever", "Purger", "Releaser", "SecretRenewer", "StatusReporter", "Submitter",
    ),
    "registry": ("open_element", "open_elements"),
    "settings": ("Endpoint", "ResourceSettings"),
}  # fmt: skip
_WHERE = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0a1"
__all__ = [
    "__version__",
    "sync",
    *sorted(_WHERE),
]


def __getattr__(name: str) -> Any:
    if name == "sync":
        return importlib.import_module("intercede.sync")
    if name not in _WHERE:
        msg = f"module 'intercede' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"intercede.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
