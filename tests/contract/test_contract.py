"""The contract, at every place."""

from intercede.testing.contract.ends import TestCancel, TestEnds, TestLimits
from intercede.testing.contract.files import TestBounds, TestInputs, TestLinks, TestLogs, TestOutputs
from intercede.testing.contract.fixtures import ce, early, spot
from intercede.testing.contract.forged import TestForged, TestGone, TestReplaced
from intercede.testing.contract.keeping import TestCapacity, TestHeld, TestHousekeeping, TestPurge
from intercede.testing.contract.life import TestCosts, TestLife
from intercede.testing.contract.once import TestOnce, TestTags
from intercede.testing.contract.refusals import TestBadInput, TestContainers, TestResources, TestStorage
from intercede.testing.contract.supervised import TestSupervised
from intercede.testing.contract.ways import TestCut, TestFrozen, TestWays
from intercede.testing.contract.words import TestPayload, TestSecrets, TestWords

__all__ = [
    "TestBadInput",
    "TestBounds",
    "TestCancel",
    "TestCapacity",
    "TestContainers",
    "TestCosts",
    "TestCut",
    "TestEnds",
    "TestForged",
    "TestFrozen",
    "TestGone",
    "TestHeld",
    "TestHousekeeping",
    "TestInputs",
    "TestLife",
    "TestLimits",
    "TestLinks",
    "TestLogs",
    "TestOnce",
    "TestOutputs",
    "TestPayload",
    "TestPurge",
    "TestReplaced",
    "TestResources",
    "TestSecrets",
    "TestStorage",
    "TestSupervised",
    "TestTags",
    "TestWays",
    "TestWords",
    "ce",
    "early",
    "spot",
]
