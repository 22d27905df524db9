"""What the offline model can do: each task is a function from an ask to a text."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from math import exp

from waybell_adapters._ask import Ask
from waybell_adapters._rank import Ranking
from waybell_adapters._rules import COUNT, Draft, Fault, Quote, check, number
from waybell_adapters._text import STOP, Unit, content, sentences, terms, words


NO_ANSWER = "The passages do not answer this."
NO_TEXT = "There is no text to read."
_BECAUSE = " -- "
# What people say when they mean a kind of request, by the stem of its label.
_CUES = {
    stem: re.compile(cue, re.IGNORECASE)
    for stems, cue in {
        "locat find where defin": r"\bwhere\b|\bwhich (?:file|module|folder|class|function|line|test)\b|\bdefined\b|\blocated?\b|\bfind\b|\blives?\b",
        "how instruct guid": r"\bhow (?:do|can|should|would|to)\b|\bsteps?\b|\bset ?up\b|\binstall\b|\bway to\b|\bexample of\b",
        "compar vs versu differ": r"\bdiffer\w*|\bversus\b|\bvs\b|\bcompare[sd]?\b|\brather than\b|\binstead of\b|\bbetter\b|\bor\b|\bboth\b",
        "explain explan what why concept": r"\bwhy\b|\bwhat (?:is|are|does|happens)\b|\bhow (?:does|is|are|did)\b|\bexplain|\bmeans?\b|\bpurpose\b|\breason",
        "summary sumariz sumaris overview": r"\bsummar|\boverview\b|\bin short\b",
        "list enumerat inventory": r"\blist\b|\bwhich \w+s\b|\bwhat \w+s are\b|\ball\b",
        "debug fix eror bug troubl": r"\berrors?\b|\bfail|\bfix\b|\bcrash|\bbroken\b|\bwrong\b|\btraceback\b|\bbug",
        "review critiqu": r"\breview\b|\bcritique\b|\bcheck\b",
    }.items()
    for stem in stems.split()
}  # fmt: skip
_ASKING = {"where", "why", "how", "when", "who", "which"}
_UNSURE = ("other", "unknown", "none", "general", "default")
_USUAL = (
    "Cites its sources.",
    "Every sentence is found in the passages.",
    "Answers the question.",
)


def classify(ask: Ask) -> str:
    """The label that fits the question best, and how sure that is."""
    asked = ask.question or ask.sections.get("text") or ask.head
    scores = {name: _fit(name, about, asked) for name, about in ask.labels.items()}
    best = max(scores, key=lambda name: scores[name], default=NO_TEXT)
    sure = exp(scores.get(best, 0.0)) / (sum(map(exp, scores.values())) or 1.0)
    if not any(scores.values()):
        unsure = (name for name in scores if name.lower() in _UNSURE)
        best, sure = next(unsure, best), 0.0
    if ask.json:
        return json.dumps({"label": best, "confidence": round(sure, 3)})
    return best


def _fit(name: str, about: str, asked: str) -> float:
    """How a question meets a label: by what it begins with, and by shared words."""
    said, named = set(terms(asked)), set(terms(name))
    cues = {_CUES[part] for part in named if part in _CUES}
    starts = [found.start() for cue in cues if (found := cue.search(asked))]
    score = sum(1.0 + 1.0 / (1 + start / 8) for start in sorted(starts))
    if named & {"explain", "explan", "what"}:
        score *= 0.6  # every question asks for an explanation, some for more
    shared = said.intersection(content(about)) | (said & _ASKING & set(terms(about)))
    return score + 1.5 * len(said & named - STOP) + 0.7 * len(shared)


def research(ask: Ask) -> str:
    """The passages that speak of the question, best first, each with a sentence."""
    ranking = Ranking(ask.units, ask.question, ask.each)
    floor = 0.2 * max(ranking.score, default=0.0)
    best: dict[str, str] = {}
    for n in ranking.order:
        if ranking.score[n] >= floor > 0:
            best.setdefault(ranking.units[n].mark, ranking.units[n].text)
    marks = list(best)[: _limit(ask, "passage|source") or 3]
    if ask.json:
        return json.dumps({"passages": marks})
    lines = (f"[{mark}] {best[mark]}" if mark else best[mark] for mark in marks)
    return "\n".join(lines) or NO_ANSWER


def answer(ask: Ask, count: int = 3) -> str:
    """The sentences that answer the question, cited."""
    ranking = Ranking(ask.units, ask.question, ask.each)
    best = ranking.best(_limit(ask, "sentence") or count)
    chosen = [_quote(ranking.units[n]) for n in best]
    return _joined(_mended(chosen, ask, ranking)) or NO_ANSWER


def revise(ask: Ask) -> str:
    """The draft with its problems mended as far as the passages allow."""
    old = Draft(ask.sections.get("draft", ""), ask.passages, ask.question)
    if not old.passages:
        return old.text or NO_TEXT
    homes = ((quote, old.home(quote)) for quote in old.quotes)
    kept = [Quote(quote.text, (home,)) for quote, home in homes if home]
    ranking = Ranking(ask.units, ask.question, ask.each)
    kept = kept or [_quote(ranking.units[n]) for n in ranking.best(3)]
    return _joined(_mended(kept, ask, ranking)) or NO_ANSWER


def summarise(ask: Ask) -> str:
    """The sentences that say most of what the text is about, in its order."""
    often = Counter(term for unit in ask.each(ask.units) for term in content(unit.text))
    prose = [unit for unit in ask.units if unit.kind == "prose"]
    topic = dict(often.most_common(12))
    ranking = Ranking(prose or ask.units, " ".join(topic), ask.each)
    chosen = ranking.best(_limit(ask, "sentence") or 3, least=0.0, enough=0.0)
    quotes = [_quote(ranking.units[n]) for n in sorted(chosen)]
    return _joined(_mended(quotes, ask, ranking)) or NO_TEXT


def review(ask: Ask) -> str:
    """A verdict as JSON: approved, problems, and the rules that cannot be checked."""
    made = Draft(ask.sections.get("draft", ""), ask.passages, ask.question)
    rules = ask.items("rules") or _usual(made)
    found = {rule: check(rule, made) for rule in ask.each(rules)}
    problems = dict.fromkeys(
        f"{rule}{_BECAUSE}{fault.said}"
        for rule, faults in found.items()
        for fault in faults or ()
    )
    if not made.text.strip():
        problems[f"The draft says something.{_BECAUSE}it is empty"] = None
    verdict = {
        "approved": not problems,
        "problems": list(problems),
        "unchecked": [rule for rule, faults in found.items() if faults is None],
    }
    return json.dumps(verdict, ensure_ascii=False)


def _usual(made: Draft) -> Sequence[str]:
    return _USUAL if made.passages else _USUAL[-1:]


def _limit(ask: Ask, what: str) -> int | None:
    """The "at most 3 sentences" or "in 3 sentences" of the instructions."""
    said = f"{ask.told}\n{ask.sections.get('rules', '')}"
    found = re.search(rf"\b{COUNT} (?:{what})s?\b", said, re.IGNORECASE)
    return min(50, max(1, number(found[1]))) if found else None


def _quote(unit: Unit) -> Quote:
    code = unit.kind in ("code", "fence") and "`" not in unit.text
    text = f"`{unit.text}`" if code else unit.text
    return Quote(text, (unit.mark,) if unit.mark else ())


def _joined(quotes: Sequence[Quote]) -> str:
    parts = (part for q in quotes for part in (q.text, *(f"[{m}]" for m in q.marks)))
    return " ".join(parts)


def _mended(quotes: list[Quote], ask: Ask, ranking: Ranking) -> list[Quote]:
    """Add and drop quotations until no stated rule is broken, or nothing helps."""
    problems = (problem.split(_BECAUSE)[0] for problem in ask.items("problems"))
    rules = [*ask.items("rules"), *problems, *sentences(ask.told)][:40]
    seen: set[str] = set()

    def faults(quotes: list[Quote]) -> list[Fault]:
        made = Draft(_joined(quotes), ask.passages, ask.question)
        return [fault for rule in ask.each(rules) for fault in check(rule, made) or ()]

    def better(quotes: list[Quote]) -> Iterator[list[Quote]]:
        now = faults(quotes)
        for new in (new for fault in now for new in _mend(fault, quotes, ranking)):
            if _joined(new) not in seen and len(faults(new)) <= len(now):
                yield new

    while quotes and _joined(quotes) not in seen and len(seen) < 20:
        seen.add(_joined(quotes))
        quotes = next(better(quotes), quotes)
    return quotes


def _mend(fault: Fault, quotes: list[Quote], ranking: Ranking) -> Iterable[list[Quote]]:
    """Other choices of quotations that might be without this fault."""
    if fault.kind == "has":
        return [[q for q in quotes if words(fault.about) not in words(q.text)]]
    if fault.kind == "long":
        ends = range(len(quotes) - 1, -1, -1)
        return (quotes[:n] + quotes[n + 1 :] for n in ends if quotes[1:])
    helps = _helps(fault, quotes)
    spare = (_quote(ranking.units[n]) for n in ranking.order)
    return islice(([*quotes, quote] for quote in spare if helps(quote)), 10)


def _helps(fault: Fault, quotes: Sequence[Quote]) -> Callable[[Quote], bool]:
    """Whether adding a quotation is a step away from this fault."""
    used = {words(quote.text) for quote in quotes}
    cited = {mark for quote in quotes for mark in quote.marks}
    missing = set(fault.about.split())
    tests: dict[str, Callable[[Quote], bool]] = {
        "lacks": lambda quote: words(fault.about) in words(quote.text),
        "off": lambda quote: not missing.isdisjoint(terms(quote.text)),
        "few": lambda quote: cited.isdisjoint(quote.marks),
        "short": lambda _: True,
        "none": lambda _: False,
    }
    test = tests.get(fault.kind, tests["none"])
    return lambda quote: words(quote.text) not in used and test(quote)


TASKS: dict[str, Callable[[Ask], str]] = {
    task.__name__: task
    for task in (classify, research, answer, revise, review, summarise)
}
TASKS["draft"] = lambda ask: answer(ask, 5)
