"""The log against a list, through everything that can happen to its files."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from waybell_decisions import DecisionLog
from waybell_decisions._encode import MARK
from waybell_decisions._writer import parts


DECISIONS = st.sampled_from(["route", "call", 'say "hi"', "é\n"])
FIELDS = st.dictionaries(
    st.sampled_from(["agent", "id", "of", "fields", "decisions", "self", "v"]),
    st.recursive(
        st.none() | st.floats() | st.text(max_size=40) | st.binary(max_size=9)
        | st.integers() | st.just('{"v":1, "id":"fake"}'),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["v", "id", "a"]), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)  # fmt: skip
LIMITS = st.none() | st.integers(1, 900)
STRANGERS = [b"not json", b'{"v":9, "id":"x"}', b"[1,2]", b'{"a":1}', b"\xff"]


def still():
    """Time would change the length of lines, which decides where parts end."""
    return 1.5


class LogMachine(RuleBasedStateMachine):
    """`self.ids` and the counters are what a reader must find."""

    @initialize(limit=LIMITS)
    def begin(self, limit):
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "log.jsonl"
        self.log = DecisionLog(self.path, rotate_bytes=limit, now=still)
        self.ids, self.decisions, self.of = [], [], []
        self.torn = self.foreign = 0

    def last(self):
        return parts(self.path)[-1][1]

    def clean(self):
        content = self.last().read_bytes()
        return not content or content.endswith(b"\n")

    def took(self, name, decision, of=None):
        self.ids.append(name)
        self.decisions.append(decision)
        self.of.append(of)

    @rule(decision=DECISIONS, fields=FIELDS)
    def record(self, decision, fields):
        self.took(self.log.record(decision, **fields), decision)

    @rule(decision=DECISIONS, fields=FIELDS)
    def bind(self, decision, fields):
        self.took(self.log.bind(**fields).record(decision, agent="x"), decision)

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), fields=FIELDS)
    def outcome(self, data, fields):
        of = data.draw(st.sampled_from(self.ids))
        self.took(self.log.outcome(of, **fields), "outcome", of)

    @rule(limit=LIMITS)
    def reopen(self, limit):
        clean, before = self.clean(), self.last()
        self.log.close()
        self.log = DecisionLog(self.path, rotate_bytes=limit, now=still)
        assert [Path(sealed.path) for sealed in self.log.sealed] == (
            [] if clean else [before]
        )

    @precondition(lambda self: self.clean())
    @rule(line=st.sampled_from(STRANGERS))
    def a_stranger_writes(self, line):
        with self.last().open("ab") as file:
            file.write(line + b"\n")
        self.foreign += 1

    @rule()
    def another_log_writes(self):
        with DecisionLog(self.path, now=still) as other:
            self.took(other.record(decision="other"), "other")

    @precondition(lambda self: self.clean())
    @rule(data=st.data())
    def a_process_dies_within_a_write(self, data):
        with DecisionLog(self.folder / "dead.jsonl", now=still) as dead:
            dead.record(decision="dead", text="é", nested={"v": 1, "id": "x"})
            content = dead.path.read_bytes()
            dead.path.unlink()
        with self.last().open("ab") as file:
            file.write(content[: data.draw(st.integers(1, len(content) - 2))])
        self.torn += 1

    @precondition(lambda self: self.clean() and self.ids)
    @rule(data=st.data())
    def the_end_is_cut_off(self, data):
        content = self.last().read_bytes()
        *_, line = content.splitlines(keepends=True) or [b""]
        start = max(0, line.rfind(MARK))  # it may stand behind a torn one
        line = line[start:]
        if f'"id":"{self.ids[-1]}"'.encode() not in line:
            return
        cut = data.draw(st.integers(1, len(line)))
        if start and len(line) - len(MARK) < cut < len(line):
            return  # two pieces that short, on one line, tell nothing of themselves
        os.truncate(self.last(), len(content) - cut)
        if cut > 1:  # without its newline only, a record is still whole
            self.ids.pop()
            self.decisions.pop()
            self.of.pop()
            self.torn += cut < len(line)

    @invariant()
    def a_reader_finds_the_model(self):
        records = DecisionLog.read(self.path)
        assert [record["id"] for record in records] == self.ids
        assert (records.torn, records.foreign) == (self.torn, self.foreign)
        assert [record["decision"] for record in records] == self.decisions
        assert [record.get("of") for record in records] == self.of

    @rule(n=st.integers(0, 9))
    def the_tail_is_the_end(self, n):
        tail = [record["id"] for record in self.log.tail(n)]
        assert tail == self.ids[max(0, len(self.ids) - n) :]

    @rule(decision=DECISIONS)
    def a_query_finds_the_same(self, decision):
        found = [record["id"] for record in self.log.query(decision)]
        assert found == [
            name
            for name, mine in zip(self.ids, self.decisions, strict=True)
            if mine == decision
        ]

    @rule()
    def outcomes_are_joined(self):
        joined = {r["id"]: r["outcomes"] for r in self.log.query(outcomes=True)}
        for name, of in zip(self.ids, self.of, strict=True):
            if of in joined:
                assert name in [outcome["id"] for outcome in joined[of]]
        assert sum(map(len, joined.values())) <= len(self.of) - self.of.count(None)

    def teardown(self):
        self.log.close()
        shutil.rmtree(self.folder)


SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
LogMachine.TestCase.settings = settings(
    max_examples=2000 if SOAK else 40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.soak
class TestTheLogIsAList(LogMachine.TestCase):
    pass
