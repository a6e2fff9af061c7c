"""The contract, at every place."""

from intercede.testing.contract.ends import TestCancel, TestEnds, TestLimits
from intercede.testing.contract.fixtures import ce, early, spot
from intercede.testing.contract.life import TestCosts, TestLife

__all__ = ["TestCancel", "TestCosts", "TestEnds", "TestLife", "TestLimits", "ce", "early", "spot"]
