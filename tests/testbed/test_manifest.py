from pathlib import Path

import pytest

from testbed.errors import TestbedError
from testbed.manifest import IMAGES, content_hash, load_manifest, parse_manifest, requirements

GOOD = """
[stacks]
"x-1" = { system = "x", suite = "trixie", version = "1.2" }
"x-1-odd" = { system = "x", suite = "trixie", version = "1.2", shape = "odd" }
"x-1-wide" = { system = "x", suite = "trixie", version = "1.2", shape = "wide" }
[systems.x]
scheme = "ecks"
daemons = ["xd", "sshd"]
[systems.x.shapes]
wide = { nodes = { inside = "all", outside = "door" }, entry = "outside", shared = "/home" }
"""


def test_a_stack_is_one_line_and_takes_the_rest_from_its_system() -> None:
    stacks = parse_manifest(GOOD)
    assert list(stacks) == ["x-1", "x-1-odd", "x-1-wide"]
    plain = stacks["x-1"]
    assert (plain.system, plain.suite, plain.version, plain.shape) == ("x", "trixie", "1.2", "plain")
    assert (plain.scheme, plain.daemons) == ("ecks", ("xd", "sshd"))
    assert stacks["x-1-odd"].shape == "odd"
    assert not plain.moves
    assert parse_manifest(GOOD.replace('"1.2" }', '"1.2", moves = true }', 1))["x-1"].moves


def test_a_system_may_be_reached_without_ssh() -> None:
    assert (parse_manifest(GOOD)["x-1"].port, parse_manifest(GOOD)["x-1"].given) == (0, "")
    served = parse_manifest(GOOD.replace('scheme = "ecks"', 'scheme = "ecks"\nport = 8443\ngiven = "/given"'))
    assert (served["x-1"].port, served["x-1-wide"].given) == (8443, "/given")


def test_a_shape_may_have_several_containers() -> None:
    stacks = parse_manifest(GOOD)
    single, wide = stacks["x-1-odd"].layout, stacks["x-1-wide"].layout
    assert (len(single.nodes), single.door, single.inner, single.shared) == (1, single.main, "", "")
    assert wide.nodes == {"inside": "all", "outside": "door"}
    assert (wide.main, wide.door, wide.inner, wide.shared) == ("inside", "outside", "inside", "/home")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('version = "1.2" }', "}"),
        ('suite = "trixie"', 'suite = "trixie", sweet = 1'),
        ('system = "x"', 'system = "y"'),
        ('scheme = "ecks"', ""),
        ("[stacks]", "[stacks"),
        ('entry = "outside"', 'entry = "nowhere"'),
        ('shared = "/home"', 'common = "/home"'),
    ],
)
def test_a_wrong_manifest_is_refused(before: str, after: str) -> None:
    with pytest.raises(TestbedError, match="manifest"):
        parse_manifest(GOOD.replace(before, after, 1))


def test_every_stack_of_the_repository_has_what_it_is_built_from() -> None:
    for spec in load_manifest().values():
        assert (IMAGES / spec.system / "Containerfile").is_file()
        assert (IMAGES / spec.system / "testbed-node").stat().st_mode & 0o111
        assert spec.shape == "plain" or (IMAGES / spec.system / "shapes" / f"{spec.shape}.sh").is_file()
        assert "sshd" in spec.daemons


def _tree(root: Path) -> Path:
    (root / "image" / "etc").mkdir(parents=True)
    (root / "image" / "Containerfile").write_text("FROM x")
    (root / "image" / "etc" / "conf").write_text("a=1")
    return root / "image"


def test_the_hash_does_not_depend_on_where_the_files_are_or_when_they_were_written(tmp_path: Path) -> None:
    here, there = _tree(tmp_path / "here"), _tree(tmp_path / "there")
    assert content_hash([here], "trixie") == content_hash([there], "trixie")


def test_the_hash_changes_with_contents_names_modes_and_arguments(tmp_path: Path) -> None:
    image = _tree(tmp_path)
    hashes = [content_hash([image], "trixie"), content_hash([image], "sid"), content_hash([image], "s", "id")]
    (image / "etc" / "conf").write_text("a=2")
    hashes.append(content_hash([image], "trixie"))
    (image / "etc" / "conf").chmod(0o755)
    hashes.append(content_hash([image], "trixie"))
    (image / "etc" / "conf").rename(image / "etc" / "config")
    hashes.append(content_hash([image], "trixie"))
    assert len(set(hashes)) == len(hashes)


def test_requirements_are_the_dependencies_and_the_test_extras() -> None:
    pyproject = """
    [project]
    dependencies = ["pydantic>=2", "typer"]
    [project.optional-dependencies]
    testing = ["pytest", "typer"]
    docs = ["mkdocs"]
    """
    assert requirements(pyproject) == ["pydantic>=2", "pytest", "typer"]
