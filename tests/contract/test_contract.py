"""The contract, at every place."""

from intercede.testing.contract.ends import TestCancel, TestEnds, TestLimits
from intercede.testing.contract.files import TestBounds, TestInputs, TestLinks, TestLogs, TestOutputs
from intercede.testing.contract.fixtures import ce, early, spot
from intercede.testing.contract.life import TestCosts, TestLife
from intercede.testing.contract.once import TestOnce, TestTags
from intercede.testing.contract.words import TestPayload, TestSecrets, TestWords

__all__ = [
    "TestBounds", "TestCancel", "TestCosts", "TestEnds", "TestInputs", "TestLife", "TestLimits", "TestLinks", "TestLogs",
    "TestOnce", "TestOutputs", "TestTags", "TestPayload", "TestSecrets", "TestWords", "ce", "early", "spot",
]  # fmt: skip
