"""The pool beside a plain model that recomputes everything from what happened."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from waybell_budget import BudgetClosedError, BudgetExceeded, BudgetPool
from waybell_budget._amounts import NANO, nanos


AXES = (0, 1)
small = st.integers(0, 12)
maybe = st.none() | small


@dataclass(eq=False)
class Model:
    """A pool or hold as two plain numbers per axis, and its children."""

    caps: list
    parent: "Model | None" = None
    open: bool = True
    own: list = field(default_factory=lambda: [0, 0])
    children: list = field(default_factory=list)
    worst: list = field(default_factory=lambda: [0, 0])
    charged: bool = False

    def cap(self, axis: int) -> int | None:
        return self.caps[axis] if self.open else None

    def spent(self, axis: int) -> int:
        return self.own[axis] + sum(child.spent(axis) for child in self.children)

    def held(self, axis: int) -> int:
        return sum(child.size(axis) - child.spent(axis) for child in self.children)

    def size(self, axis: int) -> int:
        """What it takes of its parent, spent or held."""
        used = self.spent(axis) + self.held(axis)
        return used if self.cap(axis) is None else max(self.caps[axis], used)

    def limit(self, axis: int) -> "Model | None":
        model = self
        while model is not None and model.cap(axis) is None:
            model = model.parent
        return model

    def room(self, axis: int) -> int:
        return self.caps[axis] - self.spent(axis) - self.held(axis)

    def note_overdrafts(self) -> None:
        model = self
        while model is not None:
            for axis in AXES:
                if model.cap(axis) is not None:
                    model.worst[axis] = max(model.worst[axis], -model.room(axis))
            model = model.parent

    def fits(self, wants: list) -> bool:
        if not self.open:
            return False
        for axis in AXES:
            limit = self.limit(axis)
            if limit is not None and limit.worst[axis]:
                return False
            if limit is not None and (wants[axis] or 0) > max(0, limit.room(axis)):
                return False
        return True


class PoolMachine(RuleBasedStateMachine):
    """Random holds, sub-holds, partitions, charges and closings, in any order."""

    holds = Bundle("holds")

    @initialize(usd=maybe, tokens=maybe, target=holds)
    def new_pool(self, usd, tokens):
        self.pool = BudgetPool(usd=usd, tokens=tokens)
        self.root = Model([usd, tokens])
        self.all = [(self.pool, self.root)]
        return self.all[0]

    @rule(giver=holds, usd=maybe, tokens=maybe, target=holds)
    def acquire(self, giver, usd, tokens):
        pool, model = giver
        budget, wants = pool.acquire(usd, tokens), Model([usd, tokens], model)
        possible = model.fits(wants.caps)
        try:
            budget.__enter__()
        except (BudgetExceeded, BudgetClosedError):
            assert not possible
            wants.open = False
        else:
            assert possible
            model.children.append(wants)
            model.charged = True
            self.all.append((budget, wants))
        return budget, wants

    @rule(giver=holds, parts=st.lists(st.tuples(small, small), max_size=3))
    def partition(self, giver, parts):
        pool, model = giver
        shares = [{"max_usd": usd, "max_tokens": tokens} for usd, tokens in parts]
        total = [sum(part[axis] for part in parts) for axis in AXES]
        possible = model.fits(total if parts else [None, None])
        try:
            budgets = pool.partition(shares).__enter__()
        except (BudgetExceeded, BudgetClosedError):
            assert not possible
            return
        assert possible
        for budget, part in zip(budgets, parts, strict=True):
            child = Model(list(part), model, charged=True)
            model.children.append(child)
            model.charged = True
            self.all.append((budget, child))

    @rule(hold=holds, usd=maybe, tokens=small)
    def charge(self, hold, usd, tokens):
        budget, model = hold
        late = not model.open
        while not model.open:
            model = model.parent
        amounts = [usd, tokens]
        over = False
        for axis in AXES:
            limit = model.limit(axis)
            if amounts[axis] is not None and limit is not None:
                over |= amounts[axis] > max(0, limit.room(axis)) or (
                    amounts[axis] > 0 > limit.room(axis)
                )
            model.own[axis] += amounts[axis] or 0
            model.note_overdrafts()
        model.charged = True
        try:
            budget.charge(usd=usd, tokens=tokens)
        except BudgetClosedError:
            assert late
        except BudgetExceeded:
            assert over
        else:
            assert not over
            assert not late

    @rule(hold=holds)
    def settle(self, hold):
        budget, model = hold
        if model is not self.root:
            budget.__exit__()
            model.open = False

    @invariant()
    def every_figure_is_as_the_model_says(self):
        for budget, model in getattr(self, "all", []):
            now = budget.snapshot()
            assert nanos(now.usd_spent, "spent") == model.spent(0) * NANO
            assert nanos(now.usd_held, "held") == model.held(0) * NANO
            assert nanos(now.usd_overdrawn, "over") == model.worst[0] * NANO
            assert now.tokens_spent == model.spent(1)
            assert now.tokens_held == model.held(1)
            assert now.tokens_overdrawn == model.worst[1]
            for axis, left in enumerate((now.usd_remaining, now.tokens_remaining)):
                limit = model.limit(axis)
                expected = None if limit is None else max(0, limit.room(axis))
                assert left == (expected if model.open else 0)

    @invariant()
    def no_more_is_held_and_spent_than_the_cap_but_for_overdraft(self):
        if not hasattr(self, "pool"):
            return
        now = self.pool.snapshot()
        if now.usd_cap is not None:
            assert now.usd_spent + now.usd_held <= now.usd_cap + now.usd_overdrawn
        if now.tokens_cap is not None:
            total = now.tokens_spent + now.tokens_held
            assert total <= now.tokens_cap + now.tokens_overdrawn

    def teardown(self):
        for budget, model in reversed(getattr(self, "all", [])):
            if model is not self.root:
                budget.__exit__()
        if hasattr(self, "pool"):
            now = self.pool.snapshot()
            assert (now.usd_held, now.tokens_held) == (0, 0)
            self.pool.reset()


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(
    max_examples=120, stateful_step_count=30, deadline=None
)
