"""Scripts whose sections a fact tells apart, in a real shell."""

from __future__ import annotations

from barewind.hosts.script import script, split
from tests.support.shell import Shell, printed


def test_a_script_keeps_what_each_section_prints_apart(shell: Shell) -> None:
    command = script(one="echo a; echo b", two="echo noise >&2; false", three="echo 'c d'")
    assert split(printed(shell, command)) == {"one": ["a", "b"], "two": [], "three": ["c d"]}


def test_a_section_may_end_without_a_newline(shell: Shell) -> None:
    command = script(one="printf 'no newline'", two="echo b")
    assert split(printed(shell, command)) == {"one": ["no newline"], "two": ["b"]}
