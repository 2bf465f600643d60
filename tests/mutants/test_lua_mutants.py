"""Checks are taken from scripts as said, and a small sample of such scripts is found out by the contracts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reliq.testing.servers import NoServer, find_redis, lacking
from tests.mutants.lua import Mutant, mutants, watched


def changed(line: str) -> list[str]:
    return [mutant.after for mutant in mutants("x", line)]


def test_a_condition_is_denied_turned_round_and_robbed_of_its_parts() -> None:
    assert changed("if a and b == 'x and y' then -- and so on") == [
        "if false then -- and so on",
        "if not (a and b == 'x and y') then -- and so on",
        "if b == 'x and y' then -- and so on",
        "if a then -- and so on",
    ]


def test_a_choice_loses_its_condition_or_its_alternatives() -> None:
    assert changed("local x, y = a and 1 or 2, f(b or c)") == [
        "local x, y = 1 or 2, f(b or c)",
        "local x, y = a and 2, f(b or c)",
        "local x, y = a and 1, f(b or c)",
        "local x, y = a and 1 or 2, f(c)",
        "local x, y = a and 1 or 2, f(b)",
    ]


def test_a_condition_over_several_lines_is_one() -> None:
    source = "local a\nif a\n  and b then\nend"
    first = next(mutants("x", source))
    assert first.apply(source) == "local a\nif false then\nend"
    assert {mutant.line for mutant in mutants("x", source)} == {2}


def test_a_choice_over_several_lines_is_one() -> None:
    assert changed("return a\n  and b") == ["return b", "return a"]


def test_a_change_is_felt_where_the_condition_can_come_to_something_else() -> None:
    truths = {mutant.after: mutant.truths for mutant in mutants("x", "if a and b then\nif c or d then")}
    assert truths == {
        "if false then": (True,),
        "if not (a and b) then": (True, False),
        "if b then": (False,),
        "if a then": (False,),
        "if not (c or d) then": (True, False),
        "if d then": (True,),
        "if c then": (True,),
    }


def test_each_expression_that_has_mutants_is_watched() -> None:
    assert watched("x", "if f(a or b) then -- and so on\nlocal c = a\n  and d\nend") == (
        "if reach_('x:1:2',( f( reach_('x:1:5',(a or b))) ))then -- and so on\n"
        "local c = reach_('x:2:9',( a\n  and d))\nend"
    )


def test_lines_without_a_check_stay() -> None:
    assert changed("local ready = call('GET', 'if a and b') -- if or and") == []


def test_a_mutant_is_of_one_text_only() -> None:
    with pytest.raises(AssertionError, match="has changed"):
        Mutant("x", 1, "if a then", "if false then").apply("if b then")


def test_scripts_that_lack_a_check_of_a_receipt_are_found_out() -> None:
    try:
        find_redis()
    except NoServer as error:
        lacking(str(error))
    command = [sys.executable, "-m", "tests.mutants.run", "--only", "lib/settle", "--containing", "[FENCE]"]
    hunt = subprocess.run(
        [*command, "--tests", "is_stale or is_repeated"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert hunt.returncode == 0, hunt.stdout + hunt.stderr
    assert hunt.stdout.count("killed by") >= 4
