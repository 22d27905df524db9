"""`python -m benchmarks [SUITE ...]`: measure, print, and write docs/performance.md."""

import argparse
import dataclasses
import sys
import time

from benchmarks._cases import Suite
from benchmarks._driver import QUICK, Effort, run_case
from benchmarks._environments import ROOT
from benchmarks._figures import CaseResult
from benchmarks._imports import run_imports
from benchmarks._page import Report, page, section, targets
from benchmarks._smoke import smoke
from benchmarks.suites import SUITES


PAGE = ROOT / "docs" / "performance.md"


def main() -> int:
    """Run what the command line asks for; 0 unless `--strict` or `--smoke` say so."""
    options = _options()
    if options.smoke:
        return smoke(options.suites)
    effort = QUICK if options.quick else Effort()
    if options.rounds:
        effort = dataclasses.replace(effort, rounds=options.rounds)
    arguments = " ".join(sys.argv[1:])
    command = f'make bench ARGS="{arguments}"' if arguments else "make bench"
    report = Report(effort, command)
    for suite in options.suites:
        results = [_measured(suite, case.name, effort) for case in suite.cases]
        report.results.append((suite, results))
    print(f"\n## Targets\n\n{targets(report)}")
    if options.write:
        target = ROOT / options.write
        target.write_text(page(report, whole=target == PAGE), encoding="utf-8")
        print(f"\nwrote {target.relative_to(ROOT)}")
    missed = [v for v in report.verdicts() if v.words in {"missed", "not measured"}]
    return 1 if options.strict and missed else 0


def _measured(suite: Suite, name: str, effort: Effort) -> CaseResult:
    case = suite.case(name)
    began = time.monotonic()
    print(f"{suite.name}: {case.title}", file=sys.stderr, flush=True)
    run = run_imports if case.kind == "import" else None
    result = run(case, effort) if run else run_case(suite, case, effort)
    print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(f"\n{section(result)}", flush=True)
    for label, reason in result.left_out:
        print(f"left out: {label}: {reason}")
    return result


def _options() -> argparse.Namespace:
    names = {suite.name: suite for suite in SUITES}
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", help=", ".join(names))
    parser.add_argument("--rounds", type=int, help="counted rounds (15)")
    parser.add_argument("--quick", action="store_true", help="fewer, shorter rounds")
    parser.add_argument(
        "--write", metavar="FILE", nargs="?", const=str(PAGE),
        help=f"write a page [{PAGE.name}, of all suites]",
    )  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="1 if a target is missed")
    parser.add_argument("--smoke", action="store_true", help="run each own case once")
    options = parser.parse_args()
    if unknown := set(options.suites) - set(names):
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {list(names)}")
    if options.suites and options.write == str(PAGE):
        parser.error(f"{PAGE.name} is of all suites: name none, or another file")
    if not (options.suites or options.quick):
        options.write = options.write or str(PAGE)
    options.suites = [names[name] for name in options.suites or names]
    return options


if __name__ == "__main__":
    sys.exit(main())
