"""synccheck: flags balance, ids exist, and nobody waits for ever."""

from __future__ import annotations


def test_a_wait_for_a_flag_that_nobody_sets_is_found(words, findings):
    (found,) = findings(words.program(words.load(8), words.wait_flag(5, 2, 3), words.add(d=1024)))
    assert (found.rule, found.flag) == ("never-set", "flag(src=MTE2, dst=V, event_id=3)")
    assert found.message == (
        "synccheck: never-set\n"
        "  rule: every wait_flag needs one set_flag of the same pipes and event id\n"
        "  by V wait_flag (block 0, record 1, kernel.py:2)\n"
        "  flag: flag(src=MTE2, dst=V, event_id=3)\n"
        "  next: add the set_flag, or use the event id of the one that is set"
    )


def test_a_flag_that_nobody_waits_for_is_found(words, rules):
    assert rules(words.program(words.load(8), words.set_flag(5, 2))) == ["never-waited"]


def test_a_wrong_event_id_names_the_one_that_is_set(words, findings):
    """Both ends are told, each with its partner."""
    found = findings(words.program(words.load(8), words.set_flag(5, 2, 1), words.wait_flag(5, 2, 2)))
    assert [each.rule for each in found] == ["never-set", "never-waited"]
    assert found[0].message.endswith(
        "next: flag(src=MTE2, dst=V, event_id=1) is set, and nobody waits for it (kernel.py:2): "
        "use one event id for both"
    )


def test_a_flag_that_is_set_twice_is_found(words, findings):
    program = words.program(words.set_flag(5, 2), words.set_flag(5, 2), words.wait_flag(5, 2))
    (found,) = findings(program)
    assert (found.rule, found.source) == ("set-twice", ("kernel.py:1", "kernel.py:2"))


def test_a_flag_that_may_be_set_before_it_was_taken_is_found(words, rules):
    """MTE2 does not know whether V has taken the first flag; with an answer from V it does."""
    first = (words.set_flag(5, 2), words.wait_flag(5, 2))
    assert rules(words.program(*first, *first)) == ["set-unordered"]
    answer = (words.set_flag(2, 5), words.wait_flag(2, 5))
    assert rules(words.program(*first, *answer, *first)) == []


def test_pipes_that_wait_for_each_other_are_a_deadlock(words, rules):
    program = words.program(
        words.wait_flag(5, 2), words.set_flag(2, 5), words.wait_flag(2, 5), words.set_flag(5, 2)
    )
    assert rules(program) == ["deadlock", "deadlock"]


def test_an_event_id_that_the_platform_lacks_is_found(words, rules):
    """The 910A has four per pair of pipes."""
    assert rules(words.program(words.set_flag(5, 2, 4), words.wait_flag(5, 2, 4))) == ["event-range"] * 2


def test_a_wait_that_stands_before_its_set_in_the_program_is_fine(words, rules):
    """Pipes run side by side: what counts is the order within each."""
    program = words.program(words.wait_flag(5, 2), words.add(d=1024), words.load(8), words.set_flag(5, 2))
    assert rules(program) == []
