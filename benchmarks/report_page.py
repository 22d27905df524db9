"""What a report of 100,000 spans costs: to write, to keep, to open, to scroll.

`python -m benchmarks.report_page [SPANS]` prints the figures. Opening is measured in a
Chromium with playwright (`apt install chromium`, `pip install playwright`), from the
navigation to the paint, the median of five; under 5 MB and under a second are asked for.
"""

import json
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from waybell_report import report


ROUNDS = 5
MS = 1_000_000
# Resolves when the frames of a second of scrolling are counted.
SCROLL = """() => new Promise((done) => {
  const tree = document.getElementById('tree'), times = [];
  document.getElementById('open').click();
  const end = tree.scrollHeight, begun = performance.now();
  let last = begun;
  const frame = (now) => {
    times.push(now - last);
    last = now;
    tree.scrollTop = (end * (now - begun)) / 2000;
    if (now - begun < 2000) requestAnimationFrame(frame);
    else done(times.slice(2));
  };
  requestAnimationFrame(frame);
})"""


def attributes(**found):
    kinds = {str: "stringValue", int: "intValue"}
    return [
        {"key": key.replace("__", "."), "value": {kinds[type(v)]: str(v)}}
        for key, v in found.items()
    ]


class Desk:
    """Runs of a desk whose agents are asked over topics, as a tracer writes them."""

    def __init__(self):
        self.rng = random.Random(1)
        self.now = 1_795_175_470 * 1_000 * MS

    def spans(self, count):
        """So many spans, or a few more, those below before those above."""
        made = 0
        while made < count:
            self.trace, root, begun = self.id(16), self.id(), self.now
            for agent in range(self.rng.randint(3, 9)):
                for span in self.agent(agent, root):
                    made += 1
                    yield span
            made += 1
            yield self.span("desk", begun, None, root)

    def agent(self, number, root):
        topic, inner, start = self.id(), self.id(), self.now
        for _ in range(self.rng.randint(1, 3)):
            yield self.model(inner)
            begun = self.pass_time(17)
            found = {"operation__name": "execute_tool", "tool__name": "search"}
            yield self.span("execute_tool search", begun, inner, **gen_ai(found))
        found = {"operation__name": "invoke_agent", "agent__name": f"a{number}"}
        name = f"invoke_agent a{number}"
        yield self.span(name, start + 9_000, topic, inner, **gen_ai(found))
        found = {"waybell__topic": f"agent:a{number}", "waybell__handler": "Desk.ask"}
        yield self.span(f"agent:a{number}", start, root, topic, **found, **self.texts())

    def model(self, parent):
        pick, begun = self.rng.randint, self.pass_time(19)
        found = {
            "operation__name": "chat", "request__model": "small-1",
            "usage__input_tokens": pick(50, 9_000), "usage__output_tokens": pick(5, 900),
        }  # fmt: skip
        cost = {"waybell__cost__nano_usd": pick(0, 9_000_000)}
        span = self.span(
            "chat small-1", begun, parent, **gen_ai(found), **cost, **self.texts()
        )
        if self.rng.random() < 0.005:
            span["status"] = {"code": 2, "message": "TimeoutError: no answer"}
        return span

    def texts(self):
        return {
            "waybell__prompt__length": self.rng.randint(50, 9_000),
            "waybell__prompt__sha256": self.id(16),
            "waybell__reply__length": self.rng.randint(5, 900),
            "waybell__reply__sha256": self.id(16),
            "waybell__capture": "digest",
        }

    def id(self, size=8):
        return self.rng.randbytes(size).hex()

    def pass_time(self, scale):
        begun = self.now
        self.now += int(self.rng.lognormvariate(scale, 1))
        return begun

    def span(self, name, start, parent, own=None, **found):
        end = self.now + self.rng.randrange(90_000)
        return {
            "traceId": self.trace, "spanId": own or self.id(), "parentSpanId": parent or "",
            "name": name, "startTimeUnixNano": str(start), "endTimeUnixNano": str(end),
            "attributes": attributes(**found), "status": {},
        }  # fmt: skip


def gen_ai(found):
    return {f"gen_ai__{key}": value for key, value in found.items()}


def write(path, count):
    """A file of `count` spans, or a few more."""
    with path.open("w") as file:
        for span in Desk().spans(count):
            body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
            file.write(json.dumps(body, separators=(",", ":")) + "\n")


def opened(page):
    """Milliseconds to the first paint, the waterfall and the details; frames of scrolling."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - may be missing

    firsts, waterfalls, wholes = [], [], []
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        chromium = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"]
        )
        for _ in range(ROUNDS):
            tab = chromium.new_page(viewport={"width": 1440, "height": 900})
            tab.goto(page.as_uri())
            tab.wait_for_selector("body[data-drawn=all]")
            firsts.append(
                tab.evaluate("performance.getEntriesByType('paint')[0].startTime")
            )
            mark = "performance.getEntriesByName('waybell-{}')[0].startTime"
            waterfalls.append(tab.evaluate(mark.format("waterfall")))
            wholes.append(tab.evaluate(mark.format("all")))
            frames = tab.evaluate(SCROLL)
            tab.close()
        chromium.close()
    return *map(statistics.median, (firsts, waterfalls, wholes)), sorted(frames)


def main():
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "traces.jsonl"), count)
        page = Path(folder, "report.html")
        began = time.process_time()
        made = report(folder, page)
        print(f"{made.spans:,} spans")
        print(f"written in      {time.process_time() - began:.1f} s of CPU")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"memory at most  {peak:.0f} MB")
        print(f"file            {page.stat().st_size / 1e6:.2f} MB")
        try:
            first, waterfall, whole, frames = opened(page)
        except ImportError:
            print("not opened: no playwright")
            return
    print(f"first paint     {first:.0f} ms")
    print(f"waterfall       {waterfall:.0f} ms")
    print(f"all details     {whole:.0f} ms")
    print(f"frames          {frames[len(frames) // 2]:.1f} ms, the 99th of 100 {frames[int(len(frames) * 0.99)]:.1f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
