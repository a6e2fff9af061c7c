"""Which test runs where: by what a place has, never by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["declare_markers", "deselect_homeless", "lacks", "needs", "parametrize"]

NOWHERE = "nowhere"

needs = pytest.mark.needs
"""`@needs("hold")`: the test runs at places that have all the named traits."""

lacks = pytest.mark.lacks
"""`@lacks("reserves:gpus")`: the test runs at places that have none of the named traits."""


def declare_markers(config: pytest.Config) -> None:
    """Make the suite's markers known; call it from `pytest_configure`."""
    config.addinivalue_line("markers", "needs(*traits): run at places that have all of these")
    config.addinivalue_line("markers", "lacks(*traits): run at places that have none of these")
    config.addinivalue_line("markers", "slow: takes seconds; an inner loop may leave it out")
    config.addinivalue_line("markers", "nowhere: no place of this run has what the test needs")


def parametrize(metafunc: pytest.Metafunc, places: Mapping[str, Iterable[str]]) -> None:
    """Run a test at every place that has what it needs; call it from `pytest_generate_tests`.

    Args:
        metafunc: The test.
        places: The traits of each place, by its name. The fixture `place` is given the name.
    """
    if "place" not in metafunc.fixturenames:
        return
    wanted = {trait for mark in metafunc.definition.iter_markers("needs") for trait in mark.args}
    refused = {trait for mark in metafunc.definition.iter_markers("lacks") for trait in mark.args}
    fitting = [name for name, has in places.items() if wanted <= set(has) and not refused & set(has)]
    homeless = pytest.param("nowhere", marks=getattr(pytest.mark, NOWHERE))
    metafunc.parametrize("place", fitting or [homeless], indirect=True, scope="session")


def deselect_homeless(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out tests that no place of this run can take; call it from `pytest_collection_modifyitems`."""
    homeless = [item for item in items if item.get_closest_marker(NOWHERE)]
    if homeless:
        config.hook.pytest_deselected(items=homeless)
        items[:] = [item for item in items if not item.get_closest_marker(NOWHERE)]
