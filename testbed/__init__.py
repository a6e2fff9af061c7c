"""Real batch systems in containers, for tests and for people.

`testbed.start("slurm-24.11")` brings a stack up; `python -m testbed` does the same from a terminal; the pytest plugin
`testbed.plugin` gives tests stacks that all workers share.
"""

from testbed.errors import TestbedError
from testbed.launch import find_running, start
from testbed.manifest import StackSpec, load_manifest
from testbed.stack import Daemon, Stack

__all__ = ["Daemon", "Stack", "StackSpec", "TestbedError", "find_running", "load_manifest", "start"]
