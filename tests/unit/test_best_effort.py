"""What a system cannot reserve is ignored where the site's configuration says so, whatever the system is."""

import importlib

import pytest

from intercede import config
from intercede.errors import ConfigurationError, UnsupportedError
from intercede.model import JobDescription, Resources
from intercede.settings import ResourceSettings
from intercede.urls import SCHEDULERS

WANTED = {"cores": 2, "gpus": 1, "nodes": 2, "memory": "1G", "walltime": "1h"}


def scheduler_of(name):
    module, _, kind = SCHEDULERS[name].partition(":")
    return getattr(importlib.import_module(module), kind)()


REFUSED = [(name, field) for name in SCHEDULERS for field in WANTED if field not in scheduler_of(name).reserves]


@pytest.mark.parametrize(("name", "field"), REFUSED)
def test_a_site_may_have_a_need_ignored(name, field):
    scheduler, settings = scheduler_of(name), ResourceSettings(id="x", scheduler=name)
    job = JobDescription(executable="true", resources=Resources.model_validate({field: WANTED[field]}))
    with pytest.raises(UnsupportedError, match=rf"resources\.{field}.*best_effort"):
        scheduler.words(job, settings)
    lenient = settings.model_copy(update={"best_effort": frozenset({field})})
    assert scheduler.words(job, lenient) == scheduler.words(JobDescription(executable="true"), settings)


def test_there_are_such_needs():
    assert {name for name, _ in REFUSED} >= {"process", "oar", "htcondor"}


def test_a_site_can_name_only_what_can_be_reserved():
    with pytest.raises(ConfigurationError, match=r"resources\.local\.best_effort: bananas cannot be reserved"):
        config.resolve("local", {"resources": {"local": {"best_effort": ["gpus", "bananas"]}}})
    with pytest.raises(ValueError, match=r"best_effort\n.*bananas cannot be reserved"):
        Resources.model_validate({"best_effort": ["bananas"]})
