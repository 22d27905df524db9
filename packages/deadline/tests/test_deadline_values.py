"""What a deadline says when it is asked."""

import copy
import math
import pickle
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_deadline import Deadline, DeadlineExceeded


def test_it_counts_down_on_the_clock_it_was_given(clock):
    deadline = Deadline(5, clock=clock)
    assert (deadline.remaining(), deadline.expired()) == (5.0, False)
    clock.now += 4
    assert (deadline.remaining(), deadline.expired()) == (1.0, False)
    clock.now += 3
    assert (deadline.remaining(), deadline.expired()) == (0.0, True)


def test_check_raises_only_once_it_has_passed(clock):
    deadline = Deadline(seconds=5, clock=clock)
    deadline.check()
    clock.now += 7
    with pytest.raises(DeadlineExceeded) as caught:
        deadline.check()
    assert caught.value.deadline is deadline
    assert (caught.value.seconds, caught.value.elapsed) == (5.0, 7.0)
    assert str(caught.value) == "deadline of 5 s passed (7 s elapsed)"
    assert isinstance(caught.value, TimeoutError)


def test_an_error_shows_seconds_to_three_digits():
    deadline = Deadline.never()
    error = DeadlineExceeded(deadline, 0.00999685, 86_412.3)
    assert str(error) == "deadline of 0.01 s passed (86400 s elapsed)"
    assert (error.seconds, error.elapsed) == (0.00999685, 86_412.3)
    assert "of 1.23 s passed (12.3 s" in str(DeadlineExceeded(deadline, 1.234, 12.34))


def test_zero_seconds_have_passed_at_once():
    assert Deadline(0).expired()


def test_never_never_passes():
    never = Deadline.never()
    never.check()
    assert never.remaining() == math.inf
    assert never.timeout() is None
    assert not never.expired()
    assert repr(never) == "<Deadline never>"
    assert never.tighten(reserve=5).remaining() == math.inf


@pytest.mark.parametrize("seconds", [True, "5", b"5", None, [5], 5j], ids=repr)
def test_what_is_no_number_is_refused_by_name(seconds):
    with pytest.raises(TypeError) as caught:
        Deadline(seconds)
    assert repr(seconds) in str(caught.value)


@pytest.mark.parametrize(
    "seconds", [-1, -0.001, math.nan, math.inf, -math.inf], ids=repr
)
def test_what_is_no_span_of_time_is_refused_by_name(seconds):
    with pytest.raises(ValueError, match="seconds must be finite") as caught:
        Deadline(seconds)
    assert repr(seconds) in str(caught.value)


@pytest.mark.parametrize(
    "seconds", [10**400, 10**5000, Decimal("NaN")], ids=["e", "E", "n"]
)
def test_numbers_beyond_all_floats_are_refused_briefly(seconds):
    with pytest.raises(ValueError, match="seconds must be finite") as caught:
        Deadline(seconds)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize("seconds", [2, 2.0, Decimal(2), Fraction(2)], ids=repr)
def test_any_real_number_counts_as_seconds(seconds, clock):
    assert Deadline(seconds, clock=clock).remaining() == 2.0


def test_tighten_is_never_later(clock):
    deadline = Deadline(10, clock=clock)
    assert deadline.tighten(20).remaining() == 10.0
    assert deadline.tighten(seconds=3).remaining() == 3.0
    assert deadline.tighten(reserve=4).remaining() == 6.0
    assert deadline.tighten(5, reserve=4).remaining() == 5.0
    assert deadline.tighten(8, reserve=4).remaining() == 6.0
    assert deadline.tighten(reserve=40).expired()
    assert deadline.tighten() is not deadline
    assert deadline.remaining() == 10.0


def test_tighten_tells_in_its_error_what_it_gave(clock):
    deadline = Deadline(10, clock=clock).tighten(3)
    clock.now += 4
    with pytest.raises(DeadlineExceeded, match="deadline of 3 s passed"):
        deadline.check()


@pytest.mark.parametrize("bad", [{"seconds": -1}, {"reserve": math.nan}], ids=repr)
def test_tighten_refuses_nonsense(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Deadline(10).tighten(**bad)


def test_a_timeout_is_what_is_left_within_the_cap(clock):
    deadline = Deadline(10, clock=clock)
    assert deadline.timeout() == 10.0
    assert deadline.timeout(3) == 3.0
    assert deadline.timeout(cap=30) == 10.0
    assert Deadline.never().timeout(3) == 3.0


def test_a_timeout_fits_what_sockets_can_wait(clock):
    assert Deadline(1e300, clock=clock).timeout() == 2_147_483.0


def test_a_timeout_is_never_zero_which_would_mean_not_to_wait(clock):
    deadline = Deadline(10, clock=clock)
    clock.now += 10
    with pytest.raises(DeadlineExceeded) as caught:
        deadline.timeout(3)
    assert caught.value.deadline is deadline
    with pytest.raises(ValueError, match="cap must be more than 0"):
        Deadline(10).timeout(0)


@given(st.integers(0, 10**12 - 1))
def test_every_header_comes_back(milliseconds):
    deadline = Deadline.from_header(str(milliseconds), clock=lambda: 0.0)
    assert abs(int(deadline.to_header()) - milliseconds) <= 1


@given(st.floats(0, 1e15) | st.floats(0, allow_infinity=False))
def test_a_header_never_gives_more_than_is_left(seconds):
    deadline = Deadline(seconds, clock=lambda: 0.0)
    received = Deadline.from_header(deadline.to_header(), clock=lambda: 0.0)
    assert received.remaining() <= deadline.remaining()
    assert received.remaining() >= min(seconds, 10**9 - 1) - 0.002


def test_never_travels_by_name():
    assert Deadline.never().to_header() == "never"
    assert Deadline.from_header("never").remaining() == math.inf


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-1", "+1", "1.5", "1e3", "nan", "inf", "1_0", " 1", "1\n", "0x1"),
        *("\u0661", "\u00b2", "9" * 13, "9" * 10_000, "Never", None, b"5", True, []),
    ],
    ids=lambda text: repr(text)[:16],
)
def test_a_nonsense_header_is_refused_by_name(text):
    with pytest.raises(ValueError, match="not a deadline in milliseconds") as caught:
        Deadline.from_header(text)
    assert repr(text)[:70] in str(caught.value)
    assert len(str(caught.value)) < 160


@given(st.text())
def test_no_header_does_anything_but_work_or_raise_value_error(text):
    try:
        deadline = Deadline.from_header(text)
    except ValueError:
        return
    assert text == "never" or text.isdecimal()
    assert deadline.remaining() >= 0


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (0, "The time is up: answer now with what you have."),
        (1.9, "Finish within 1 second; a late answer is lost."),
        (90, "Finish within 90 seconds; a late answer is lost."),
        (119.9, "Finish within 119 seconds; a late answer is lost."),
        (200, "Finish within 3 minutes; a late answer is lost."),
    ],
)
def test_a_hint_tells_a_model_how_long_it_has(seconds, says, clock):
    assert Deadline(seconds, clock=clock).hint() == says


def test_a_hint_for_no_limit():
    assert Deadline.never().hint() == "There is no time limit."


def test_the_repr_tells_what_was_given_and_what_is_left(clock):
    deadline = Deadline(5, clock=clock)
    clock.now += 2
    assert repr(deadline) == "<Deadline 5 s, 3 s left>"


def test_the_earlier_one_is_the_lesser(clock):
    short, long = Deadline(1, clock=clock), Deadline(2, clock=clock)
    assert min(long, short, Deadline.never()) is short
    assert short < Deadline(5)
    assert not Deadline.never() < Deadline.never()


@given(st.floats(0, 1e9))
def test_pickled_it_survives_as_remaining_time(seconds):
    deadline = Deadline(seconds, clock=lambda: 0.0)
    received = pickle.loads(pickle.dumps(deadline))
    assert seconds - 30 <= received.remaining() <= seconds


def test_pickled_never_stays_never():
    assert pickle.loads(pickle.dumps(Deadline.never())).remaining() == math.inf


def test_a_copy_is_the_same_because_nothing_changes_it(clock):
    deadline = Deadline(5, clock=clock)
    assert copy.copy(deadline) is deadline
    assert copy.deepcopy([deadline]) == [deadline]


def test_the_error_survives_pickling_with_its_data(clock):
    deadline = Deadline(5, clock=clock)
    clock.now += 6
    with pytest.raises(DeadlineExceeded) as caught:
        deadline.check()
    caught.value.add_note("while asking the planner")
    received = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(received, DeadlineExceeded)
    assert (received.seconds, received.elapsed) == (5.0, 6.0)
    assert str(received) == str(caught.value)
    assert received.deadline.expired()
    assert copy.copy(caught.value).deadline is deadline
