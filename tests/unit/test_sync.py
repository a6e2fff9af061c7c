import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from intercede import registry, sync
from intercede.answers import JobState
from intercede.elements.group import ElementGroup
from intercede.errors import ConfigurationError, ConnectFailed
from intercede.model import JobDescription
from tests.cli.fake import FakeElement, Site

HELLO = JobDescription(executable="hello")


@pytest.fixture
def site(monkeypatch):
    site = Site()
    monkeypatch.setattr(registry, "open_element", lambda where, **_: FakeElement(site, where))
    monkeypatch.setattr(registry, "open_elements", lambda *_, **__: ElementGroup(lambda n: FakeElement(site, n), ["x"]))
    return site


def test_the_same_names_but_blocking(site, tmp_path):
    with sync.open_element("x") as ce:
        assert ce.id == "x"
        submission = ce.submit(HELLO, 3, tag="t")
        assert [s.state for s in ce.status(submission.refs).values()] == [JobState.QUEUED] * 3
        changes = list(ce.watch(submission.refs))
        assert changes[-1][submission.refs[0]].state is JobState.SUCCEEDED
        assert b"".join(chunk.data for chunk in ce.follow(submission.refs[0])) == b"hello\n"
        assert ce.read_log(submission.refs[0], offset=-2).data == b"o\n"
        ce.fetch_output(submission.refs, tmp_path)
        assert (tmp_path / "t" / "2" / "stdout").read_bytes() == b"hello\n"
        assert ce.find("t").refs == submission.refs
        assert ce.capacity()[0].name == "long"
        assert [info.tag for info in ce.list()] == ["t"]
        assert len(ce.cancel(submission.refs)) == len(ce.purge(submission.refs)) == 3
    assert site.closed == 1


def test_errors_are_raised_where_the_call_is(site):
    site.fail = {"submit": ConnectFailed("x", "no route"), "watch": ConnectFailed("x", "no route")}
    with sync.open_element("x") as ce:
        with pytest.raises(ConnectFailed):
            ce.submit(HELLO)
        with pytest.raises(ConnectFailed):
            list(ce.watch([]))
    with pytest.raises(ConfigurationError):
        sync.Element(lambda: registry.configuration.resolve("nowhere"))


def test_many_threads_share_an_element(site):
    site.pause = 0.3
    with sync.open_element("x") as ce, ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda i: ce.submit(HELLO, tag=f"t{i}").tag, range(20)))
    assert found == [f"t{i}" for i in range(20)]
    assert site.most_inside > 1, "they wait together, not one after the other"
    assert sum(thread.name == "intercede-sync" for thread in threading.enumerate()) == 1


def test_a_group(site):
    with sync.open_elements() as sites:
        refs = sites["x"].submit(HELLO, 2, tag="t").refs
        assert list(sites) == ["x"]
        assert len(sites) == 1
        assert len(sites.status(refs)) == 2
        *_, last = sites.watch(refs)
        assert last[refs[1]].state is JobState.SUCCEEDED
        assert sites.errors == {}


def test_an_interrupt_cancels_the_operation(site):
    site.pause = 60
    cancelled = threading.Event()

    async def submit(*_, **__):
        try:
            await FakeElement._called(element, "submit")
        finally:
            cancelled.set()

    element = FakeElement(site, "x")
    element.submit = submit
    ce = sync.Element(lambda: element)
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        ce.submit(HELLO)
    assert cancelled.is_set(), "it has cleaned up before the interrupt goes on"
    ce.close()


def test_an_iterator_that_is_left_ends_its_source(site):
    site.ends = False
    with sync.open_element("x") as ce:
        refs = ce.submit(HELLO, tag="t").refs
        watching = ce.watch(refs)
        next(watching)
        watching.close()
        for _ in ce.watch(refs):
            break


def test_a_call_from_the_loops_own_thread_is_refused(site):
    ce = sync.open_element("x")

    async def inside(*_, **__):
        return ce.capacity()

    outer = sync.Element(lambda: type("E", (FakeElement,), {"capacity": inside})(site))
    with pytest.raises(RuntimeError, match="wait for itself"):
        outer.capacity()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_the_child_has_its_own(site):
    made = []
    ce = sync.Element(lambda: made.append(os.getpid()) or FakeElement(site, "x"))
    ce.submit(HELLO, tag="t")
    child = os.fork()
    if child == 0:
        try:
            ce.submit(HELLO, tag="t2")
            ce.close()
            os._exit(0 if made == [os.getppid(), os.getpid()] else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ce.submit(HELLO, tag="t3").tag == "t3"
    ce.close()


LATE = """
import atexit
def late():
    try:
        print(ce.cancel(refs))
    except RuntimeError as error:
        print("refused:", str(error).partition(":")[0])
    ce.close()
atexit.register(late)
"""
OPEN = """
import os, sys
from intercede import sync
from intercede.model import JobDescription
from tests.cli.fake import FakeElement, Site
def opened():
    site = Site()
    site.ends = False
    ce = sync.Element(lambda: FakeElement(site, "x"))
    return ce, ce.submit(JobDescription(executable="hello"), tag="t").refs
"""
LEFT = """
def left():
    ce, refs = opened()
    watching = ce.watch(refs)
    next(watching)
    return watching
watching = left()
print("left")
"""
FORK = """
ce, refs = opened()
for _ in ce.watch(refs):
    child = os.fork()
    if child == 0:
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    break
"""
FORK_ON = """
ce, refs = opened()
watching = ce.watch(refs)
next(watching)
child = os.fork()
if child == 0:
    try:
        next(watching)
    except RuntimeError as error:
        print(str(error).rpartition(", ")[2], flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (OPEN + LEFT, "left\n"),
        (LATE + OPEN + "ce, refs = opened()", "refused: intercede.sync has ended\n"),
        (OPEN + FORK, "0\n"),
        (OPEN + FORK_ON, "or is the parent's (this is a fork)\n"),
    ],
    ids=["iterator", "atexit", "fork", "fork that goes on"],
)
def test_the_end_of_a_process_does_not_hang(program, said):
    words = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_an_element_of_a_group_is_the_childs_own(site, monkeypatch):
    made = []

    def opener(name):
        made.append(os.getpid())
        return FakeElement(site, name)

    monkeypatch.setattr(registry, "open_elements", lambda *_, **__: ElementGroup(opener, ["x"]))
    ce = sync.open_elements()["x"]
    ce.submit(HELLO, tag="t")
    child = os.fork()
    if child == 0:
        try:
            ce.submit(HELLO, tag="t2")
            os._exit(0 if made == [os.getppid(), os.getpid()] else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    ce.close()
