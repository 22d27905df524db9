"""Rules for a draft, really checked: what each kind of rule means to the letter."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from waybell_adapters._text import Unit, content, sentences, terms, words


_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
COUNT = rf"(\d{{1,6}}|{'|'.join(_NUMBERS)})"
_UNITS = r"(word|sentence|line|character|source|citation|passage)s?"
_NOT = r"(\b(?:not|never|no|avoids?|without)\b[^\"“`]{0,12})?"


class Quote(NamedTuple):
    """A sentence of a draft, and the marks that it cites."""

    text: str
    marks: tuple[str, ...]


class Fault(NamedTuple):
    """What is wrong: a kind, a subject, and the words to say it."""

    kind: str
    about: str
    said: str


class Draft:
    """A draft, with what it was made from.

    Args:
        text: The draft.
        passages: The units that it may quote, by mark.
        question: What it should answer.
    """

    __slots__ = ("_mark", "passages", "question", "quotes", "text")

    def __init__(
        self, text: str, passages: Mapping[str, Sequence[Unit]], question: str
    ) -> None:
        self.text = text
        self.passages = {mark: u for mark, u in passages.items() if mark}
        self.question = question
        self._mark = "|".join([r"\d+", *map(re.escape, self.passages)])
        self.quotes = self._quotes()

    def _quotes(self) -> list[Quote]:
        found: list[Quote] = []
        start = 0
        for run in re.finditer(
            rf"(?:(?<!\s)\s++\[(?:{self._mark})\](?!\())+", self.text
        ):
            said = sentences(self.text[start : run.start()])
            marks = tuple(run[0].replace("[", " ").replace("]", " ").split())
            found.extend(Quote(part, ()) for part in said[:-1])
            found.extend(Quote(part, marks) for part in said[-1:])
            start = run.end()
        found.extend(Quote(part, ()) for part in sentences(self.text[start:]))
        return found

    @property
    def bare(self) -> str:
        """Its text without the citations."""
        return re.sub(rf"\s\[(?:{self._mark})\](?!\()", "", self.text)

    @property
    def marks(self) -> list[str]:
        """The marks it cites, each once."""
        return list(dict.fromkeys(mark for q in self.quotes for mark in q.marks))

    def home(self, quote: Quote) -> str | None:
        """The passage a sentence is found in, a cited one first; None if in none."""
        said = words(quote.text)
        order = [*(m for m in quote.marks if m in self.passages), *self.passages]
        for mark in order:
            if said in words(" ".join(unit.text for unit in self.passages[mark])):
                return mark
        return None


Check: TypeAlias = Callable[[Draft, "re.Match[str]"], Iterator[Fault]]


def check(rule: str, draft: Draft) -> list[Fault] | None:
    """What a draft does against a rule; None when the rule is not understood."""
    head = rule[:300]
    found = ((test, re.search(form, head, re.IGNORECASE)) for form, test in _RULES)
    met = [(test, match) for test, match in found if match]
    faults = [fault for test, match in met for fault in test(draft, match)]
    return faults if met else None


def number(text: str) -> int:
    """A number in digits or in words."""
    low = text.lower()
    return _NUMBERS.index(low) if low in _NUMBERS else int(low)


def _amount(draft: Draft, unit: str) -> int:
    return {
        "word": lambda: len(draft.bare.split()),
        "sentence": lambda: len(draft.quotes),
        "line": lambda: len(draft.text.splitlines()),
        "character": lambda: len(draft.text),
    }.get(unit.lower(), lambda: len(draft.marks))()


def _most(draft: Draft, match: "re.Match[str]") -> Iterator[Fault]:
    strict = match[1].lower() in ("under", "fewer than", "less than")
    has, most = _amount(draft, match[3]), number(match[2]) - strict
    if has > most:
        yield Fault("long", "", f"it has {has}")


def _least(draft: Draft, match: "re.Match[str]") -> Iterator[Fault]:
    strict = match[1].lower() == "more than"
    has, least = _amount(draft, match[3]), number(match[2]) + strict
    if has < least:
        few = match[3].lower() in ("source", "citation", "passage")
        yield Fault("few" if few else "short", "", f"it has {has}")


def _cites(draft: Draft, _: "re.Match[str]") -> Iterator[Fault]:
    if not draft.marks:
        yield Fault("uncited", "", "there is no citation like [1]")
    for mark in draft.marks:
        if draft.passages and mark not in draft.passages:
            yield Fault("unknown", mark, f"[{mark}] is no passage that was given")


def _cites_always(draft: Draft, _: "re.Match[str]") -> Iterator[Fault]:
    for quote in draft.quotes:
        if not quote.marks:
            yield Fault("uncited", quote.text, f"no citation after: {_short(quote)}")


def _grounded(draft: Draft, _: "re.Match[str]") -> Iterator[Fault]:
    for quote in draft.quotes:
        home = draft.home(quote)
        if home is None:
            yield Fault("invented", quote.text, f"not in a passage: {_short(quote)}")
        elif quote.marks and home not in quote.marks:
            said = f"in [{home}], not there: {_short(quote)}"
            yield Fault("uncited", quote.text, said)


def _answers(draft: Draft, _: "re.Match[str]") -> Iterator[Fault]:
    asked = content(draft.question)
    near = [u for m in draft.marks for u in draft.passages.get(m, ())]
    around = {term for unit in near for term in unit.context}
    said = set(terms(draft.text)) | around
    missing = [term for term in asked if term not in said]
    if 2 * len(missing) > len(asked):
        yield Fault("off", " ".join(missing), f"nothing on: {', '.join(missing)}")


def _mentions(draft: Draft, match: "re.Match[str]") -> Iterator[Fault]:
    wanted = re.findall(r"[\"“`]([^\"”`]+)[\"”`]", match[2]) or [match[2].strip(".")]
    for phrase in wanted:
        there = words(phrase) in words(draft.text)
        if there and match[1]:
            yield Fault("has", phrase, f"it has {phrase!r}")
        if not there and not match[1]:
            yield Fault("lacks", phrase, f"it lacks {phrase!r}")


def _is_json(draft: Draft, _: "re.Match[str]") -> Iterator[Fault]:
    try:
        json.loads(draft.text)
    except (ValueError, RecursionError):
        yield Fault("form", "", "it cannot be parsed")


def _short(quote: Quote) -> str:
    return repr(quote.text if len(quote.text) <= 60 else f"{quote.text[:57]}...")


_RULES: tuple[tuple[str, Check], ...] = (
    (rf"\b(at most|no more than|up to|within|under|fewer than|less than) {COUNT} {_UNITS}\b", _most),
    (rf"\b(at least|no fewer than|(?<!no )more than) {COUNT} {_UNITS}\b", _least),
    (r"\b(?:every|each|all) (?:sentence|statement|claim)s?\b.*\bcit", _cites_always),
    (r"\bcit(?:e|es|ed|ing|ation|ations)\b", _cites),
    (r"\b(?:found|said|stated|supported|grounded|taken|only|nothing)\b.*\b(?:source|passage)s?\b", _grounded),
    (r"\binvent|\bverbatim\b", _grounded),
    (r"\b(?:answers?|addresse?s?|relevant to|on) the question\b", _answers),
    (rf"{_NOT}\b(?:mention|include|contain|say|name|use)(?:s|ing)?\b[^\"“`]*([\"“`].+)", _mentions),
    (rf"{_NOT}\bmention(?:s|ing)?\b (?:the |an? )?([\w./-]+(?: [\w./-]+){{0,2}})[.;]?$", _mentions),
    (r"\bvalid json\b", _is_json),
)  # fmt: skip
