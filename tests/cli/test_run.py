"""The program itself, with real processes on this machine."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = [sys.executable, "-c", "from intercede.cli.main import main; main()"]


@pytest.fixture
def home(tmp_path):
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def environment(home):
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "COVERAGE_PROCESS_START") if name in os.environ}
    own = {"HOME": str(home / "home"), "XDG_STATE_HOME": str(home / "state"), "XDG_CONFIG_HOME": str(home / "config")}
    return kept | own


@pytest.fixture
def call(home, environment):
    def call(*words, code=0):
        done = subprocess.run(
            [*PROGRAM, *words],
            cwd=home / "here",
            env=environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        assert b"Traceback" not in done.stderr
        return done

    return call


def left(home):
    """What is left on the resource: submissions whose files are there."""
    area = home / "home/.intercede/process"
    return [path.name for path in area.iterdir() if not path.name.startswith(".")]


def test_one_job_is_like_a_command(call, home):
    done = call("run", "--", "sh", "-c", r"printf 'h\377\n'; echo oops >&2; exit 7", code=7)
    assert (done.stdout, done.stderr) == (b"h\xff\n", b"oops\n")
    assert left(home) == []
    assert list((home / "here").iterdir()) == []


def test_a_signal_ends_it_as_in_a_shell(call):
    assert call("run", "--", "sh", "-c", "kill -9 $$", code=137).stdout == b""


def test_many_jobs_with_a_program_of_ours(call, home):
    script = home / "here/fit.sh"
    script.write_text('#!/bin/sh\ncat "$1"; echo "$2" > "hist_$INTERCEDE_COPY.root"; [ "$INTERCEDE_COPY" != 2 ]\n')
    script.chmod(0o755)
    (home / "here/data").write_bytes(b"\x00\xff")
    words = ("run", "-n", "4", "-o", "hist_*.root", "-i", "data", "--to", "out", "./fit.sh", "data", b"caf\xe9")
    done = call(*words, code=1)
    assert b"3 SUCCEEDED, 1 FAILED; output in out/" in done.stderr
    assert (home / "here/out/3/hist_3.root").read_bytes() == b"caf\xe9\n"
    assert (home / "here/out/0/stdout").read_bytes() == b"\x00\xff"
    assert left(home) == []
    assert len(call("status").stdout.splitlines()) == 1 + 4


def test_submitted_today_and_collected_by_another_process(call, home):
    tag = call("submit", "-n", "2", "-e", "X=y", "--", "sh", "-c", "echo $X $INTERCEDE_COPY").stdout.decode().strip()
    again = call("submit", "-n", "2", "-e", "X=y", "--tag", tag, "--", "sh", "-c", "echo $X $INTERCEDE_COPY")
    assert again.stdout.decode().strip() == tag
    call("submit", "-n", "3", "-e", "X=y", "--tag", tag, "--", "sh", "-c", "echo $X $INTERCEDE_COPY", code=2)
    call("watch")
    jobs = json.loads(call("status", "--json").stdout)["jobs"]
    assert [job["state"] for job in jobs] == ["SUCCEEDED"] * 2
    assert call("logs", jobs[1]["ref"]).stdout == b"y 1\n"
    call("output", tag, "--to", "out")
    assert (home / "here/out/1/stdout").read_text() == "y 1\n"
    call("purge", tag)
    assert left(home) == []
    assert [job["state"] for job in json.loads(call("status", "--json").stdout)["jobs"]] == ["SUCCEEDED"] * 2


def test_after_kill_minus_nine_the_jobs_are_there(call, home, environment):
    running = subprocess.Popen([*PROGRAM, "run", "--tag", "t", "sleep", "2"], cwd=home / "here", env=environment)
    limit = time.monotonic() + 20
    # before that it is not known whether it is queued
    while not (home / "home/.intercede/process/t/chunk/0").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    running.kill()
    running.wait()
    assert json.loads(call("find", "t", "--json").stdout)["jobs"][0]["ref"].startswith("ic1:local:t:0:")
    call("watch", "t")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_the_job(call, home, environment, number):
    script = "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    running = subprocess.Popen(
        [*PROGRAM, "run", "--", "sh", "-c", script],
        cwd=home / "here",
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"
    running.send_signal(number)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert b"1 cancelled" in said
    (job,) = json.loads(call("status", "--json").stdout)["jobs"]
    assert job["state"] == "CANCELLED"
    assert left(home) == []


def test_ctrl_c_keeps_what_has_ended(call, home, environment):
    words = ("run", "-n", "2", "--tag", "t", "--", "sh", "-c", '[ "$INTERCEDE_COPY" = 0 ] || exec sleep 60')
    running = subprocess.Popen([*PROGRAM, *words], cwd=home / "here", env=environment, stderr=subprocess.PIPE)
    assert running.stderr is not None
    while b"1 SUCCEEDED" not in running.stderr.readline():
        pass
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert b"1 cancelled, 1 had ended" in said
    assert b"intercede output t" in said
    call("output", "t:0", "--to", "out")
    assert (home / "here/out/0/stdout").exists()


def test_a_reader_that_has_had_enough_ends_the_job(home, environment):
    quoted = 'set -o pipefail; "$@" | head -n 1'
    job = ("sh", "-c", "while :; do echo y; sleep 0.1; done")
    words = ["bash", "-c", quoted, "-", *PROGRAM, "run", "--", *job]
    done = subprocess.run(words, cwd=home / "here", env=environment, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (141, b"y\n", b"")
    assert left(home) == []


def test_many_processes_share_the_memory(home, environment):
    running = [
        subprocess.Popen([*PROGRAM, "submit", "true"], cwd=home / "here", env=environment, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    tags = {each.communicate(timeout=60)[0].decode().strip() for each in running}
    assert [each.returncode for each in running] == [0] * 6
    found = subprocess.run([*PROGRAM, "list", "--json"], env=environment, capture_output=True, check=True)
    assert {each["tag"] for each in json.loads(found.stdout)["submissions"]} == tags
