"""Every file of targets/ declares a target that the compiler can use as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tvm
from edgeseq.targets._target import Target

from edgeseq import registry
from edgeseq.lower.sources import kernel_folder

ROOT = Path(__file__).resolve().parents[2]
NAMES = registry.names("targets")


def target(name: str) -> Target:
    found: Target = registry.find("targets", name).TARGET
    return found


def test_the_files_are_the_targets() -> None:
    files = (ROOT / "targets").glob("[!_]*.py")
    assert sorted(NAMES) == sorted(file.stem.replace("_", "-") for file in files)


@pytest.mark.parametrize("name", NAMES)
def test_declaration(name: str) -> None:
    one = target(name)
    assert one.name == name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert one.summary
    assert "\n" not in one.summary
    assert one.source_only == (not one.isas)
    assert one.source_only or re.fullmatch(r"\w+(-\w+){1,2}", one.triple)


@pytest.mark.parametrize("name", NAMES)
def test_levels(name: str) -> None:
    one = target(name)
    levels = [isa.level for isa in one.isas]
    assert len(set(levels)) == len(levels)
    for isa in one.isas:
        assert (kernel_folder() / "simd" / f"{isa.header}.h").is_file()
        assert one.dispatched(isa.level) == (isa,)
    assert one.dispatched("no such level") == ()
    if levels:
        assert one.generated in levels
        built = [i.level for i in one.dispatched(None, int8=True)]
        assert built == levels[levels.index(one.generated) :]
        only = {i.level for i in one.isas if i.int8}
        assert [i.level for i in one.dispatched(None)] == [b for b in built if b not in only]


@pytest.mark.parametrize("name", NAMES)
def test_tvm_knows_it_at_every_level(name: str) -> None:
    one = target(name)
    for isa in one.isas:
        described = tvm.target.Target({**one.tvm, **isa.tvm})
        assert described.kind.name == one.tvm["kind"]
    assert tvm.target.Target(dict(one.tvm)).kind.name == one.tvm["kind"]


def test_no_two_targets_claim_the_same_machine() -> None:
    machines = [machine for name in NAMES for machine in target(name).machines]
    assert len(set(machines)) == len(machines)
