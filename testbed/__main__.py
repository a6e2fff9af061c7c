"""`python -m testbed`: the testbed on a terminal."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from testbed.engine import find_engine
from testbed.errors import TestbedError
from testbed.images import ensure_images, is_built
from testbed.launch import find_reusable, find_running, running, start, sweep, tell
from testbed.manifest import find_stack, load_manifest
from testbed.setup import setup_machine
from testbed.stack import Stack
from testbed.state import KEPT, is_kept, set_owner


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Its arguments; the process's by default.

    Returns:
        The exit status: 0, 1 after a failure that is explained on stderr, 2 for a wrong usage, 130 after an interrupt,
        and for `exec` that of the command.
    """
    arguments = _parser().parse_args(argv)
    # So that what is up is taken down after a kill too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except TestbedError as error:
        tell(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever read our lines has enough of them; what is left goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testbed", description="Real batch systems in containers.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: object, text: str, *, stack: str | None = None) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if stack is not None:
            command.add_argument("stack", metavar="STACK", nargs=stack or None)
        return command

    add("list", _list, "the stacks there are, and which of them are built and up")
    add("setup", _setup, "install an engine if there is none, build the images of the stacks (all)", stack="*")
    up = add("up", _up, "bring a stack up until Ctrl-C", stack="")
    up.add_argument("--keep", action="store_true", help="leave it up")
    add("url", _url, "where a stack that is up is reached", stack="")
    logs = add("logs", _logs, "the logs of its daemons", stack="")
    shell = add("shell", _shell, "a shell inside", stack="")
    execute = add("exec", _exec, "run a command inside", stack="")
    for command in (shell, execute):
        command.add_argument("--user", default="alice")
    for command in (logs, shell, execute):
        command.add_argument("--node", help="which of its containers, if it has several")
    execute.add_argument("command", nargs="+", metavar="COMMAND", help="after -- if it has options")
    down = add("down", _down, "take down a stack, or all that are kept and all leftovers", stack="?")
    down.add_argument("--all", action="store_true", help="also those that another process is using")
    return parser


def _list(_: argparse.Namespace) -> int:
    engine = find_engine()
    up = {stack.name for stack in running()}
    for name, spec in load_manifest().items():
        state = "up" if name in up else "built" if is_built(engine, spec) else "not built"
        print(f"{name:24} {spec.system} {spec.version} ({spec.suite}, {spec.shape})  {state}")
    return 0


def _setup(arguments: argparse.Namespace) -> int:
    specs = [find_stack(name) for name in arguments.stack or load_manifest()]
    engine = setup_machine(tell)
    for name, image in ensure_images(engine, specs, tell).items():
        tell(f"{name}: {image}")
    if engine.env.get("CONTAINERS_CONF"):
        tell(f"to use {engine.program} by hand: export CONTAINERS_CONF={engine.env['CONTAINERS_CONF']}")
    return 0


def _up(arguments: argparse.Namespace) -> int:
    kept = find_reusable(arguments.stack) if arguments.keep else None
    if kept:
        _describe(kept)
        return 0
    stack = start(arguments.stack, say=tell, show=True)
    try:
        if arguments.keep:
            set_owner(stack.directory.parent, KEPT)
        _describe(stack)
        while not arguments.keep:
            signal.pause()
    finally:
        if not is_kept(stack.directory.parent):
            tell(f"taking {stack.name} down")
            stack.close()
    return 0


def _describe(stack: Stack) -> None:
    print(f"{stack.name} ({stack.spec.system} {stack.version}) is up; users {', '.join(stack.users)}")
    if len(stack.nodes) > 1:
        print(f"  --node       {', '.join(stack.nodes)}")
    print(f"  --on         {stack.url()}")
    if stack.spec.layout.inner:
        print(f"  jump         {stack.users[0]}@{stack.host}:{stack.ssh_port}")
    if stack.spec.given:
        print(f"  given        {stack.given}")
    print(f"  key          {stack.key()}")
    print(f"  known hosts  {stack.known_hosts}")
    print(f"  password     {stack.directory / 'password'} (alice)")
    print(f"  ssh -F {stack.ssh_config} {stack.name}", flush=True)


def _url(arguments: argparse.Namespace) -> int:
    _describe(find_running(arguments.stack))
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    print(_named(arguments).logs(node=arguments.node))
    return 0


def _shell(arguments: argparse.Namespace) -> int:
    return _become(_named(arguments), arguments.node, ["--tty"], ["su", "-", arguments.user])


def _exec(arguments: argparse.Namespace) -> int:
    home = "/root" if arguments.user == "root" else f"/home/{arguments.user}"
    options = ["--user", arguments.user, "--workdir", home]
    return _become(_named(arguments), arguments.node, options, arguments.command)


def _named(arguments: argparse.Namespace) -> Stack:
    """The stack of that name, if it has the node that is asked for."""
    stack = find_running(arguments.stack)
    try:
        stack.container(arguments.node)
    except ValueError as error:
        raise TestbedError(str(error)) from error
    return stack


def _become(stack: Stack, node: str | None, options: Sequence[str], argv: Sequence[str]) -> int:
    engine = find_engine()
    command = [engine.program, "exec", "--interactive", *options, stack.container(node), *argv]
    os.execvpe(engine.program, command, engine.environment())  # noqa: S606 - an argument vector, no shell


def _down(arguments: argparse.Namespace) -> int:
    if arguments.stack is None:
        removed = sweep(find_engine(), kept=True, everything=arguments.all)
        tell(f"removed {removed} container{'' if removed == 1 else 's'}")
    else:
        find_running(arguments.stack).close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
