"""One run of `waybell demo`: from the options to the exit code."""

import asyncio
import json
import tomllib
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from waybell._console import safe_console
from waybell._desk import _report as report
from waybell._desk._check import check, known
from waybell._desk._corpus import Corpus, CorpusError, default_corpus, read_corpus
from waybell._desk._desk import Answer, Desk
from waybell._desk._progress import Progress
from waybell._guard import Refused
from waybell._out import files, refuse_unwritable
from waybell_adapters import adapter
from waybell_budget import BudgetPool, Price
from waybell_deadline import Deadline


_QUESTION = "What happens when a deadline passes?"
_ANY_QUESTION = "What is here? Give an overview."


def run(options: Namespace, build: Callable[[str], Any] | None = None) -> int:
    """Do what the options say and print it.

    Raises:
        Refused: An option is wrong, nothing can be read, or nothing can be written.
        KeyboardInterrupt: It was interrupted; the message says what is left.
    """
    console = safe_console()
    model = _model(options.model, build or adapter)
    prices = dict(map(rates, options.rates))
    name = next(iter(prices), None)
    pool = _pool(options, prices)
    refuse_unwritable(options.out)
    corpus = _corpus(options)
    if options.check and not any(map(known, corpus.passages)):
        raise Refused("--check asks about Waybell's own docs: run it in a checkout")
    report.corpus(console, corpus)
    with files(options.out) as (tracer, log):
        try:
            desk = Desk(
                corpus.passages, model=model, pool=pool, tracer=tracer, log=log,
                seed=options.seed, priced_as=name,
            )  # fmt: skip
            if options.check:
                return asyncio.run(check(console, desk, options.deadline))
            return _answered(console, desk, options, name, corpus.files)
        except KeyboardInterrupt:
            left = f"{tracer.path} and {log.path}"
            raise KeyboardInterrupt(f"What was done until then is in {left}.") from None


def _answered(
    console: Console, desk: Desk, options: Namespace, priced_as: str | None, read: int
) -> int:
    """Ask one question, print what came of it; the exit code."""
    default = _ANY_QUESTION if options.path else _QUESTION
    answer = _answer(console, desk, options.ask or default, options.deadline)
    if isinstance(answer, Answer):
        report.answer(console, answer, read)
    else:
        asked = list(desk.log.query("answer"))
        report.failure(console, answer, asked, options.deadline)
    report.agents(console, desk.tracer.path)
    report.budget(console, desk.pool, priced_as)
    report.files(console, desk.tracer.path, desk.log.path)
    return 0 if isinstance(answer, Answer) and answer.verdict == "approved" else 1


def _answer(
    console: Console, desk: Desk, question: str, seconds: float
) -> Answer | Exception:
    """Ask, with the progress shown; an error is an outcome too."""
    report.question(console, question)
    with Progress(console, desk.bus):
        try:
            return asyncio.run(desk.ask(question, Deadline(seconds=seconds)))
        except Exception as error:
            return error


def _model(spec: str, build: Callable[[str], Any]) -> Any:
    try:
        return build(spec)
    except (TypeError, ValueError) as error:
        raise Refused(f"--model: {error}") from None


def _pool(options: Namespace, prices: dict[str, Price]) -> BudgetPool:
    if options.check:  # 30 questions, priced but without an end
        return BudgetPool(prices=prices)
    try:
        return BudgetPool(usd=options.budget, prices=prices)
    except (TypeError, ValueError) as error:
        raise Refused(f"--budget: {error}") from None


def rates(path: Path) -> tuple[str, Price]:
    """The name of a model, and its price.

    Raises:
        Refused: The file is not there, or says something else.
    """
    try:
        text = path.read_text("utf-8")
        data = json.loads(text) if text.lstrip()[:1] == "{" else tomllib.loads(text)
        name, *_ = [str(data[key]) for key in ("model", "input", "output")]
        del data["model"]
        return name, Price(**data)
    except OSError as error:
        raise Refused(f"--rates: {path}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError) as error:
        wrong = f"{error} is missing" if isinstance(error, KeyError) else error
        raise Refused(
            f'--rates: {path}: {wrong}; it says model = "name", and input and '
            "output in US dollars per million tokens, as TOML or JSON"
        ) from None


def _corpus(options: Namespace) -> Corpus:
    try:
        if options.path is None:
            return default_corpus()
        return read_corpus(options.path)
    except CorpusError as error:
        raise Refused(str(error)) from None
