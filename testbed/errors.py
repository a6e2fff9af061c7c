"""What the testbed raises."""


class TestbedError(Exception):
    """Something the testbed needs is missing or failed; the message says what to do about it."""

    __test__ = False  # pytest takes a class named Test* for a collection of tests
