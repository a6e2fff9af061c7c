"""The manifest of stacks, and what an image is made of."""

import hashlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.errors import TestbedError

HERE = Path(__file__).parent
MANIFEST = HERE / "stacks.toml"
IMAGES = HERE / "images"
# What a test gets that asks for "a Slurm", and the one that most tests of the repository run on
DEFAULT = "slurm-24.11"
REPOSITORY = HERE.parent

# Extras of the library that its tests need inside a container, where it has them
EXTRAS = ("arc", "testing")

# What a shape may say in place of its system
OF_SYSTEM = {"scheme", "daemons", "port", "given", "announces"}


@dataclass(frozen=True)
class Layout:
    """The containers of a shape, one unless the manifest says otherwise, and who may log in.

    Attributes:
        nodes: What each container is called, with its role; the first is the main one, where commands run by default.
        entry: The one whose port 22 is published; the main one unless the manifest says otherwise.
        shared: A directory that all of them share; empty if there is none.
        users: Accounts that it has besides those of every stack.
        capabilities: What its containers may do beyond what the engine lets all of them.
    """

    nodes: Mapping[str, str] = field(default_factory=lambda: {"testbed": "whole"})
    entry: str = ""
    shared: str = ""
    users: Sequence[str] = ()
    capabilities: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check that the entry is one of the nodes.

        Raises:
            ValueError: It is not, or there is no node.
        """
        if not self.nodes or self.entry not in ("", *self.nodes):
            raise ValueError(f"no node {self.entry!r}")

    @property
    def main(self) -> str:
        """The node where commands run by default."""
        return next(iter(self.nodes))

    @property
    def door(self) -> str:
        """The node that is reached from outside."""
        return self.entry or self.main

    @property
    def inner(self) -> str:
        """The node that is reached through the entry as a jump host; empty if the entry is where one wants to go."""
        return "" if self.door == self.main else self.main


@dataclass(frozen=True)
class StackSpec:
    """One line of the manifest: a system in one version and one configuration.

    Attributes:
        name: What it is called on the command line and in tests.
        system: The folder under `images/`.
        suite: The Debian release the image is built from.
        version: What the system must say that it is.
        shape: The configuration; "plain" unless the manifest says otherwise.
        scheme: What follows `ssh+` in the URL, or the URL's own scheme if it is reached without SSH.
        daemons: What may be stopped, started, frozen and thawed.
        port: Where the system itself listens, inside; 0 if it is reached over SSH alone.
        given: The directory inside with what its clients need; empty if there is none.
        announces: Whether its daemons tell clients their port, so that it has one number inside and outside.
        moves: Whether the release is still being made, so that another version is reported and no failure.
        inside: Whether its Python is new enough for a suite of tests to run in it.
        layout: Its containers.
    """

    name: str
    system: str
    suite: str
    version: str
    shape: str
    scheme: str
    daemons: tuple[str, ...]
    port: int = 0
    given: str = ""
    announces: bool = False
    moves: bool = False
    inside: bool = False
    layout: Layout = field(default_factory=Layout)


def parse_manifest(text: str) -> dict[str, StackSpec]:
    """Read a manifest.

    Raises:
        TestbedError: It is not TOML, or a stack lacks a field, has one too many or names a system that is not there.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TestbedError(f"the manifest of stacks is not TOML: {error}") from error
    systems = document.get("systems", {})
    return {name: _parse_stack(name, entry, systems) for name, entry in document.get("stacks", {}).items()}


def _parse_stack(name: str, entry: dict[str, Any], systems: dict[str, dict[str, Any]]) -> StackSpec:
    try:
        system = systems[entry["system"]]
        fields: dict[str, Any] = {"shape": "plain"} | entry
        shape = system.get("shapes", {}).get(fields["shape"], {})
        layout = Layout(**{key: value for key, value in shape.items() if key not in OF_SYSTEM})
        system = system | {key: value for key, value in shape.items() if key in OF_SYSTEM}
        fields |= {key: system[key] for key in ("port", "given", "announces") if key in system}
        return StackSpec(name=name, scheme=system["scheme"], daemons=tuple(system["daemons"]), layout=layout, **fields)
    except (KeyError, TypeError, ValueError) as error:
        raise TestbedError(f"the manifest's stack {name!r} is wrong: {error}") from error


def load_manifest() -> dict[str, StackSpec]:
    """Read the repository's own manifest, `stacks.toml`.

    Raises:
        TestbedError: As `parse_manifest`.
    """
    return parse_manifest(MANIFEST.read_text(encoding="utf-8"))


def find_stack(name: str) -> StackSpec:
    """Find one stack of the manifest.

    Raises:
        TestbedError: There is none of that name; the message lists those there are.
    """
    stacks = load_manifest()
    if name not in stacks:
        raise TestbedError(f"no stack {name!r} in {MANIFEST.name}; there are: {', '.join(sorted(stacks))}")
    return stacks[name]


def content_hash(files: Iterable[Path], *extra: str) -> str:
    """Hash what an image is built from: folders and files (names, modes, contents) and some strings.

    Where the files lie does not count, nor in which order they are given.

    Returns:
        Twelve hexadecimal digits.
    """
    digest = hashlib.sha256()
    for root in sorted(files, key=lambda path: path.name):
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file():
                name = path.relative_to(root.parent).as_posix()
                executable = bool(path.stat().st_mode & 0o100)
                content = path.read_bytes()
                digest.update(f"{name}\0{executable}\0{len(content)}\0".encode() + content)
    for text in extra:
        digest.update(f"{len(text)}\0{text}".encode())
    return digest.hexdigest()[:12]


def requirements(pyproject: str) -> list[str]:
    """List what must be installed to run the library's tests: its dependencies and those of its test extras."""
    project = tomllib.loads(pyproject)["project"]
    extras = project.get("optional-dependencies", {})
    return sorted({*project.get("dependencies", []), *(line for name in EXTRAS for line in extras.get(name, []))})
