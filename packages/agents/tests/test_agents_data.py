"""Results in a prompt cannot pass for instructions."""

import re
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from waybell_agents._data import text_of, with_results
from waybell_scheduler import Gap


def test_without_results_the_prompt_is_the_description():
    assert with_results("Do it.", {}) == "Do it."


def test_the_same_results_give_the_same_prompt_and_others_another_mark():
    one, same, other = (with_results("Do.", {"a": text}) for text in "xxy")
    assert one == same
    marks = {re.search("[0-9a-f]{32}", prompt)[0] for prompt in (one, other)}
    assert len(marks) == 2


@given(st.dictionaries(st.text(min_size=1), st.text(), min_size=1))
def test_no_line_of_a_result_begins_at_the_margin(results):
    prompt = with_results("Do.", results)
    head, _, body = prompt.partition("\nPassages:\n")
    mark = re.search("mark ([0-9a-f]{32})", head)[1]
    ours = [line for line in body.splitlines() if not line.startswith("    ")]
    assert len(ours) == len(results)
    assert all(line.endswith(f"begin {mark}") for line in ours)
    assert body.count(mark) == len(results)


def test_values_that_are_no_text_are_told_as_json():
    @dataclass
    class Point:
        x: int

    prompt = with_results(
        "Do.", {"a": {"n": [1]}, "b": Point(2), "c": {1j}, "d": {2: object}}
    )
    assert '    {"n": [1]}\n' in prompt
    assert '    {"x": 2}\n' in prompt
    loop: list = []
    loop.append(loop)
    assert "    [[...]]\n" in with_results("Do.", {"a": loop})


def test_a_gap_says_why_there_is_nothing():
    prompt = with_results("Do.", {"a": Gap("a", "failed", ValueError("off"))})
    assert "    (no result: failed, ValueError: off)\n" in prompt


def test_a_result_that_cannot_say_what_it_is_does_not_end_the_run():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    assert text_of([Odd()]).startswith("<list object at ")
    assert with_results("Do.", {"a": {"b": Odd()}}).startswith("Do.")
