"""One suite for every element: what a verb promises, proven on whatever the host project can bring up.

A host project gives its tests this much, and imports the classes into a test module of its own:

```python
# conftest.py
pytest.register_assert_rewrite("intercede.testing.contract")
PLACES = {"my-cluster": traits_of(Slurm, "queues", "ssh")}

def pytest_configure(config): declare_markers(config)
def pytest_generate_tests(metafunc): parametrize(metafunc, PLACES)
def pytest_collection_modifyitems(config, items): deselect_homeless(config, items)

@pytest.fixture(scope="session")
def place(request) -> Place: ...          # for the name in request.param

# test_contract.py
from intercede.testing.contract import *
from intercede.testing.contract.fixtures import *
```

Tests are selected by what a place has (`traits_of`), not by what it is called.
"""
