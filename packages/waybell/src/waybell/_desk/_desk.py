"""The desk: agents on topics, and the four patterns that put them together."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from waybell._desk import _prompts as prompts
from waybell._desk._passages import Passage
from waybell._desk._rerank import doubt, rerank
from waybell._desk._retrieve import Ranked, fuse, strategies
from waybell_adapters import LLMAdapter, OfflineAdapter, Reply, agenerate
from waybell_budget import Budget, BudgetExceeded, BudgetPool
from waybell_bus import Event, EventBus
from waybell_deadline import Deadline
from waybell_decisions import DecisionLog
from waybell_patterns import Broadcast, Pipeline, Router, Stage, Supervisor
from waybell_sim import Faults, InjectedTimeout
from waybell_trace import Tracer


AGENTS = ("classifier", "writer", "reviewer", "editor")
_FOUND = 6  # passages that the writer reads
_NAMED = 50  # passages that a strategy names, of which those are chosen
# The parts of the pool's cap that the stages may spend, in tenths.
_TENTHS = {"classify": 1, "draft": 4, "review": 5}
_MARK = re.compile(r"`(?:(?! \[\d)[^`\n])*`|\[(\d+)\]")  # `a[1]` has none


@dataclass(frozen=True, slots=True)
class Answer:
    """What the desk says, and on what ground.

    The sources are by mark, the problems those of the last review, the strategies those
    of retrieval that answered, the failures those that did not.
    """

    intent: str
    text: str
    sources: Mapping[int, Passage]
    verdict: str
    problems: tuple[str, ...]
    strategies: tuple[str, ...]
    failures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """What research found; its text is the section that the others are given."""

    text: str
    passages: Sequence[Passage]
    answered: tuple[str, ...]
    failures: Mapping[str, str]


class Desk:
    """A research desk over the passages of one folder.

    Args:
        passages: What it may cite.
        model: Classifies, writes, reviews and revises.
        pool: Pays for all of it.
        tracer: Keeps a span of every delivery and model call.
        log: Keeps a record of every decision.
        seed: Decides which retrievals fail.
        fault_rate: How often the trigram strategy fails, 0 to 1.
        priced_as: The model whose price in the pool is charged for the tokens; by
            default each reply's own cost.
    """

    __slots__ = (
        "_model", "_passages", "_priced_as", "_setting", "bus", "log", "pool", "tracer"
    )  # fmt: skip

    def __init__(
        self,
        passages: Sequence[Passage],
        *,
        model: LLMAdapter,
        pool: BudgetPool,
        tracer: Tracer,
        log: DecisionLog,
        seed: int = 0,
        fault_rate: float = 0.25,
        priced_as: str | None = None,
    ) -> None:
        self._passages, self._model, self._priced_as = passages, model, priced_as
        self.pool, self.tracer, self.log = pool, tracer, log
        self.bus = bus = EventBus()
        self._setting: dict[str, Any] = {"bus": bus, "log": log, "tracer": tracer}
        bus.use(tracer.around)
        bus.use(log.around)
        for name in AGENTS:
            bus.on(f"agent:{name}", partial(self._ask_model, name))
        faults = Faults(timeout=fault_rate, delays=(), seed=seed)
        for name, search in strategies(passages).items():
            searched = faults.wrap(search) if name == "trigram" else search
            bus.on(f"retrieve:{name}", partial(_search, searched, seed))
        for intent in prompts.INTENTS:
            bus.on(f"desk:{intent}", self._pipeline(intent))

    async def ask(self, question: str, deadline: Deadline) -> Answer:
        """Answer one question.

        Raises:
            IncompleteError: A stage failed; its `result` has what was finished.
            DeadlineExceeded: It passed before a draft was there.
        """
        router = Router(
            {intent: Stage(intent, f"desk:{intent}") for intent in prompts.INTENTS},
            classify=Stage(
                "classify",
                "agent:classifier",
                usd=self._share("classify"),
                prompt=lambda asked, _: prompts.classify(asked),
            ),
            threshold=0.3,
            default="explain",
            budget=self.pool,
            **self._setting,
        )
        async with deadline:
            routed = await router.run(question)
        answer: Answer = routed.value
        return answer

    def _pipeline(self, intent: str) -> Pipeline:
        """Research, draft and review, each from a hold of its own."""
        sought = partial(prompts.sought, intent)
        research = Stage("research", self._research, prompt=sought)
        draft = Stage(
            "draft", "agent:writer", usd=self._share("draft"),
            prompt=partial(prompts.draft, intent),
        )  # fmt: skip
        review = Stage(
            "review", partial(self._review, intent), usd=self._share("review"),
            prompt=lambda asked, _: asked,  # it composes its own from results
        )  # fmt: skip
        return Pipeline([research, draft, review], budget=self.pool, **self._setting)

    async def _research(self, question: str) -> Found:
        """Ask the three strategies at once; two answers are enough."""
        names = ("bm25", "trigram", "outline")
        broadcast = Broadcast(
            {name: f"retrieve:{name}" for name in names},
            quorum=2,
            aggregate=partial(self._best, question),
            **self._setting,
        )
        result = await broadcast.run(question)
        numbers: list[int] = result.unwrap()
        found = [self._passages[number] for number in numbers]
        failures = {name: str(error) for name, error in result.failures.items()}
        section = prompts.passages(found)
        return Found(section, found, tuple(result.answers), failures)

    def _best(self, question: str, rankings: Mapping[str, Ranked]) -> list[int]:
        found = fuse(rankings)
        if not question:  # an overview: how the first few files begin
            return [number for number, _ in found[:_FOUND]]
        return rerank(question, found, self._passages, _FOUND)

    async def _review(
        self, intent: str, question: str, results: Mapping[str, Any], budget: Any
    ) -> Answer:
        """Review the draft and have it revised until the rules are kept; no refusal."""
        found, first = results["research"], str(results["draft"])
        text = found.text
        made = partial(Answer, strategies=found.answered, failures=found.failures)
        if first.strip() == prompts.REFUSAL:
            budget.charge(usd=0, line="free")  # nothing is left unreported
            return made(intent, prompts.REFUSAL, {}, "not needed", ())

        async def improve(prompt: str, round: int, budget: Any) -> Any:  # noqa: A002
            if round == 1:
                return first
            return await self.bus.request("agent:editor", prompt=prompt, budget=budget)

        supervisor = Supervisor(
            improve,
            "agent:reviewer",
            rules=prompts.rules(intent),
            revise=lambda asked, was, bad: prompts.revise(
                intent, asked, was, bad, text
            ),
            review=lambda asked, draft, _: prompts.review(intent, asked, draft, text),
            **self._setting,
        )
        late = Deadline.current()
        done = await supervisor.run(question, budget=budget, deadline=late)
        problems = done.reviews[-1].problems if done.reviews else ()
        sources = cited(str(done), found.passages)
        why = self._doubt(intent, question, sources)
        if done.verdict == "approved" and why:
            self.log.record(decision="doubt", question=question, reason=why)
            return made(intent, str(done), sources, "doubtful", (why,))
        return made(intent, str(done), sources, done.verdict, problems)

    def _doubt(self, intent: str, question: str, sources: Mapping[int, Passage]) -> str:
        """Why an answer may be none; only a model that goes by words is judged by them."""
        by_words = type(self._model) is OfflineAdapter and intent != "overview"
        return doubt(question, sources.values()) if by_words else ""

    def _share(self, stage: str) -> Decimal | None:
        """What a stage may spend at the most; None to leave it to the pool.

        A part of nothing would be no limit: a stage that costs 0 is taken for free.
        """
        cap = self.pool.snapshot().usd_cap
        return cap * _TENTHS[stage] / 10 if cap else None

    async def _ask_model(self, name: str, event: Event) -> Reply:
        """One turn of an agent: a model call, traced and paid for."""
        budget, prompt = event.get("budget"), event["prompt"]
        with self.tracer.agent(name):
            asked = getattr(self._model, "model", None) or type(self._model).__name__
            with self.tracer.llm(asked) as span:
                late = Deadline.current()
                reply = await agenerate(self._model, prompt, deadline=late)
                span.record_text(prompt=prompt, reply=reply)
                usd, broke = self._charge(budget, reply)
                span.record_usage(
                    model=reply.model, input_tokens=reply.usage.input_tokens,
                    output_tokens=reply.usage.output_tokens, usd=usd,
                )  # fmt: skip
                if broke is not None:
                    raise broke
        return reply

    def _charge(
        self, budget: Budget | None, reply: Reply
    ) -> tuple[Decimal | float | None, BudgetExceeded | None]:
        """Book a reply; its dollars, None if unknown, and whether that was too much."""
        if budget is None:
            return reply.cost, None
        before, broke = budget.snapshot().usd_spent, None
        try:
            if self._priced_as is not None:
                budget.charge(model=self._priced_as, usage=reply.usage)
            elif reply.cost == 0:
                budget.charge(model=reply.model, usage=reply.usage, line="free")
            else:
                budget.charge(usd=reply.cost, model=reply.model, usage=reply.usage)
        except BudgetExceeded as error:
            error.reply = reply  # type: ignore[attr-defined]  # paid for: not to be lost
            broke = error
        return budget.snapshot().usd_spent - before, broke


def _search(search: Callable[[str, int], Ranked], seed: int, event: Event) -> Ranked:
    try:
        return search(event["prompt"], _NAMED)
    except InjectedTimeout as error:
        error.args = (f"failed on purpose (--seed {seed} decides)",)
        raise


def cited(text: str, passages: Sequence[Passage]) -> dict[int, Passage]:
    """The passages that a text cites, by mark, in the order of their first mention."""
    marks = dict.fromkeys(int(mark) for mark in _MARK.findall(text) if mark)
    return {mark: passages[mark - 1] for mark in marks if 1 <= mark <= len(passages)}


def renumbered(text: str, sources: Mapping[int, Passage]) -> str:
    """A text whose marks count its sources from 1, in their order."""
    new = {f"[{mark}]": f"[{n}]" for n, mark in enumerate(sources, start=1)}
    return _MARK.sub(lambda found: new.get(found[0], found[0]), text)
