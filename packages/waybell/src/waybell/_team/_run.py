"""One run of `waybell run`: from the options to the exit code."""

import asyncio
import json
import logging
import shlex
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from waybell._console import SafeConsole, safe_console
from waybell._desk._report import plain
from waybell._desk._run import rates
from waybell._guard import OUT, Refused
from waybell._out import FILES, files, refuse_unwritable
from waybell._team import _report as report
from waybell._team._live import Progress
from waybell_adapters import adapter
from waybell_agents import AgentError, NoModelError, OpenMultiAgent, Team, TeamFileError
from waybell_budget import BudgetPool, Price
from waybell_bus import EventBus
from waybell_decisions import DecisionLog
from waybell_scheduler import Pending, RunResult, SchedulerError
from waybell_trace import Tracer


_WORDS = {"yes": True, "true": True, "no": False, "false": False}


def run(options: Namespace, build: Callable[[str], Any] | None = None) -> int:
    """Do what the options say and print it.

    Raises:
        Refused: An option or the file is wrong, or nothing can be written.
        KeyboardInterrupt: It was interrupted; the message says what is left.
    """
    console = safe_console()
    prices = dict(map(rates, options.rates))
    team = _team(options, build or partial(_priced, prices))
    terms = _terms(options, team, prices)
    refuse_unwritable(options.out)
    with files(options.out, report.FILES) as (tracer, log):
        many = _many(tracer, log, asks=options.journal is not None)
        try:
            result = asyncio.run(_run(console, many, team, terms))
        except (AgentError, SchedulerError) as error:
            raise Refused(str(error)) from None
        except OSError as error:
            if options.journal is None:
                raise
            raise Refused(f"--journal: {options.journal}: {error.strerror}") from None
        except KeyboardInterrupt:
            # A second interruption leaves tasks that asyncio would complain about.
            logging.getLogger("asyncio").addHandler(logging.NullHandler())
            raise KeyboardInterrupt(_left(options, log)) from None
    agents = many.get_status()["agents"]
    try:
        report.write(options.out, team, result, agents)
    finally:  # where the disk is full, they are seen at least
        report.show(console, team, result, agents, options.out)
    for line in _goes_on(options, result):
        console.print(line, soft_wrap=True)
    return {"done": 0, "suspended": 3}.get(result.status, 1)


async def _run(
    console: SafeConsole, many: OpenMultiAgent, team: Team, terms: Mapping[str, Any]
) -> RunResult:
    """Run the team's tasks, with the progress shown."""

    def spent() -> str:
        return report.spent(many.get_status()["agents"])

    done = _done(terms.get("journal"))
    tasks = {task.id: task.id in done for task in team.tasks}
    with Progress(console, tasks, spent) as progress:
        return await many.arun_tasks(team=team, on_event=progress, **terms)


def _priced(prices: Mapping[str, Price], spec: str) -> Any:
    """The model of a spec, which tells what it costs where that was stated."""
    price = prices.get(spec.partition(":")[2])
    if price is None:
        return adapter(spec)
    stated = {name: rate for name, rate in asdict(price).items() if rate is not None}
    return adapter(spec, price=stated)


def _team(options: Namespace, build: Callable[[str], Any]) -> Team:
    """The team of the file, whose agents have models."""
    try:
        model = None if options.model is None else build(options.model)
    except (TypeError, ValueError) as error:
        raise Refused(f"--model: {error}") from None
    try:
        team = Team.load(options.file, model=model)
        _check_models(team)  # before earlier files are moved aside
    except NoModelError as error:
        raise Refused(f"{error}; or say --model offline") from None
    except TeamFileError as error:
        raise Refused(str(error)) from None
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise Refused(f"{options.file}: {why}") from None
    else:
        return team


def _check_models(team: Team) -> None:
    wanted = {task.agent or team.agents[0].name for task in team.tasks}
    for config in team.agents:
        if config.name in wanted:
            config.model(None)


def _terms(options: Namespace, team: Team, prices: dict[str, Price]) -> dict[str, Any]:
    """The settings of the run."""
    terms: dict[str, Any] = {}
    if options.budget is not None or prices:
        usd, tokens = (team.limits.get(axis) for axis in ("usd", "tokens"))
        usd = usd if options.budget is None else options.budget
        try:
            terms["budget"] = BudgetPool(usd=usd, tokens=tokens, prices=prices)
        except (TypeError, ValueError) as error:
            raise Refused(f"--budget: {error}") from None
    if options.deadline is not None:
        terms["deadline"] = options.deadline
    return terms | _earlier(options)


def _earlier(options: Namespace) -> dict[str, Any]:
    """What goes on with an earlier run."""
    if options.journal is None:
        if options.decide or options.retry_failed:
            word = "--decide" if options.decide else "--retry-failed"
            raise Refused(f"{word} goes on with an earlier run: name its --journal")
        return {}
    names = map(options.out.joinpath, (*FILES, *report.FILES))
    if options.journal.resolve() in map(Path.resolve, names):
        raise Refused(f"--journal: {options.journal} is one of the files in --out")
    terms = {"journal": options.journal, "retry_failed": options.retry_failed}
    if options.decide:
        terms["decisions"] = {key: _value(value) for key, value in options.decide}
    return terms


def _done(journal: Path | None) -> set[str]:
    """The tasks that a journal's runs have done; what is off in it, the run itself says."""
    done: set[str] = set()
    there = journal is not None and journal.is_file()
    text = journal.read_text("utf-8", errors="replace") if journal and there else ""
    for line in text.splitlines():
        with suppress(ValueError):
            match json.loads(line):
                case {"task": str(task), "done": True}:
                    done.add(task)
                case _:
                    continue
    return done


def _value(word: str) -> Any:
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    try:
        return json.loads(word)
    except ValueError:
        return word


def _many(tracer: Tracer, log: DecisionLog, *, asks: bool) -> OpenMultiAgent:
    """The agents' house, whose bus is observed."""

    def wait(name: str, arguments: Mapping[str, Any]) -> Pending:
        return Pending(f"may {name} be called?", tool=name, arguments=dict(arguments))

    def refuse(name: str, arguments: Mapping[str, Any]) -> str:
        del name, arguments
        return "nobody can be asked to approve it: the run keeps no --journal"

    bus = EventBus()
    bus.use(tracer.around)
    bus.use(log.around)
    approve = wait if asks else refuse
    return OpenMultiAgent(bus=bus, approve=approve, tracer=tracer, log=log)


def _goes_on(options: Namespace, result: RunResult) -> Iterator[str]:
    """How to go on with what is suspended, or failed."""
    words = ["waybell", "run", str(options.file), "--journal", str(options.journal)]
    for name in ("model", "budget", "deadline", "out"):
        said = getattr(options, name)
        words += [] if said in (None, OUT) else [f"--{name}", str(said)]
    words += [f"--rates={path}" for path in options.rates]
    if result.status in ("failed", "stopped") and options.journal is not None:
        again = shlex.join([*words, "--retry-failed"])
        yield f"Again  {plain(again)}"
    for name, pending in result.pending.items():
        data = json.dumps(pending.data, ensure_ascii=False, default=str)
        yield f"Waits  {plain(name)}: {plain(pending.reason)} {plain(data)}"
        words += ["--decide", f"{name}=yes"]
    if result.pending:
        yield f"Go on  {plain(shlex.join(words))}"


def _left(options: Namespace, log: DecisionLog) -> str:
    if options.journal is None:
        return f"What was done until then is in {log.path}."
    return f"Say the same again to go on: what was done is in {options.journal}."
