"""What all tests share."""

import pytest

pytest_plugins = ["testbed.plugin"]
pytest.register_assert_rewrite("intercede.testing.contract")
