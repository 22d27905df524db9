"""What is on file after kills, signals, forks and several writers."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from waybell_trace import SpanReader, Tracer


KILLS = int(os.environ.get("WAYBELL_KILLS", "20"))

WRITER = """
    import os, sys
    from waybell_trace import Tracer

    tracer = Tracer(sys.argv[1])
    number = 0
    while True:
        number += 1
        with tracer.span(f"{os.getpid()}-{number}", n=number, pad="x" * (number % 97)) as span:
            span.add_event("half")
        os.write(1, b"%d\\n" % number)
"""


def start(code, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
    )


def ended(path):
    """The names of all spans on file, and how many lines are none."""
    names, bad = [], 0
    for line in path.read_bytes().split(b"\n"):
        try:
            (item,) = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
            names.append(item["name"])
        except ValueError:
            bad += bool(line)
    return names, bad


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_no_ended_span_is_lost_to_kill_9(tmp_path):
    path = tmp_path / "traces.jsonl"
    acknowledged, torn = set(), 0
    for number in range(KILLS):
        with start(WRITER, path) as child:
            for _ in range(1 + number % 7):
                last = child.stdout.readline()
            child.kill()
            last = (child.stdout.read().split() or [last])[-1]
        acknowledged.update(f"{child.pid}-{n}" for n in range(1, int(last) + 1))
        before = ended(path)[1]
        tracer = Tracer(path)
        torn += tracer.sealed
        tracer.close()
        assert before <= torn  # each torn tail is reported
    names, bad = ended(path)
    assert acknowledged <= set(names)
    assert len(names) == len(set(names)) <= len(acknowledged) + KILLS
    assert bad <= torn


@pytest.mark.soak
def test_four_processes_write_one_file_and_one_is_killed(tmp_path):
    path = tmp_path / "traces.jsonl"
    children = [start(WRITER, path) for _ in range(4)]
    seen = set()
    for child in children:
        for _ in range(50):
            child.stdout.readline()
    for child in children:
        child.kill()
        rest = child.stdout.read().split()
        child.communicate()
        seen.update(
            f"{child.pid}-{n}" for n in range(1, int((rest or [b"50"])[-1]) + 1)
        )
    reader = SpanReader(path)  # the stump of a killed one may have another's line on it
    assert seen <= {span.name for span in reader}
    assert reader.foreign == 0
    assert reader.torn <= 4


@pytest.mark.parametrize(
    "ending",
    [
        "os._exit(0)",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "os.abort()",
        "sys.exit(3)",
        "raise ValueError",
        "os.execv('/bin/true', ['true'])",
    ],
)
def test_however_the_process_ends_ended_spans_are_on_file(tmp_path, ending):
    path = tmp_path / "traces.jsonl"
    code = f"""
        import os, resource, signal, sys
        from waybell_trace import Tracer

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        tracer = Tracer(sys.argv[1])
        for n in range(10):
            with tracer.span(f"s{{n}}"):
                pass
        {ending}
    """
    start(code, path).communicate()
    assert ended(path) == ([f"s{n}" for n in range(10)], 0)


def test_forks_while_writing_lose_and_repeat_nothing(tmp_path):
    path = tmp_path / "traces.jsonl"
    code = """
        import os, random, sys, threading
        from waybell_trace import Tracer

        tracer = Tracer(sys.argv[1])

        def write(label, count):
            for n in range(count):
                with tracer.span(f"{label}-{n}"):
                    random.seed(0)

        thread = threading.Thread(target=write, args=("thread", 300))
        thread.start()
        children = []
        with tracer.span("open at the fork"):
            for child in range(4):
                pid = os.fork()
                if pid == 0:
                    write(f"child{child}", 100)
                    break
                children.append(pid)
        if pid == 0:
            os._exit(tracer.lost)
        thread.join()
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        sys.exit(max(codes) or tracer.lost)
    """
    child = start(code, path, PYTHONWARNINGS="ignore::DeprecationWarning")
    _, errors = child.communicate()
    assert (child.returncode, errors) == (0, b"")
    names, bad = ended(path)
    expected = {"open at the fork"} | {f"thread-{n}" for n in range(300)}
    expected |= {f"child{c}-{n}" for c in range(4) for n in range(100)}
    assert (len(names), set(names), bad) == (len(expected), expected, 0)
    ids = [
        json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"]
        for line in path.read_bytes().splitlines()
    ]
    assert len(set(ids)) == len(ids)


HOSTILE = {
    "OTEL_SDK_DISABLED": "true",
    "OTEL_TRACES_SAMPLER": "always_off",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_SPAN_EVENT_COUNT_LIMIT": "0",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "0",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "0",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "0",
    "OTEL_ATTRIBUTE_COUNT_LIMIT": "0",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1",
    "OTEL_PYTHON_ID_GENERATOR": "none",
    "OTEL_RESOURCE_ATTRIBUTES": "nonsense,=,a=b=c",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "nonsense",
}


NONSENSE = ("nonsense", "-1", "*", "\udcff")
NAMES = [
    *HOSTILE,
    "OTEL_SERVICE_NAME",
    "OTEL_PYTHON_METER_PROVIDER",
    "OTEL_PYTHON_TRACER_PROVIDER",
    "OTEL_PYTHON_CONTEXT",
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED",
    "OTEL_PROPAGATORS",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_METRICS_EXPORTER",
]


@pytest.mark.parametrize(
    "hostile",
    [HOSTILE, *(dict.fromkeys(NAMES, value) for value in NONSENSE)],
    ids=["off", *NONSENSE[:-1], "no UTF-8"],
)
def test_no_environment_can_empty_the_file(tmp_path, hostile):
    path = tmp_path / "traces.jsonl"
    code = """
        import os, random, sys
        environ = dict(os.environ)
        from opentelemetry.trace import SpanContext
        from waybell_trace import Tracer

        tracer = Tracer(sys.argv[1], service_name="desk")
        assert environ == dict(os.environ)
        with tracer.span("kept", text="a long text", other=1) as span:
            span.add_event("event", text="a long text")
            span.otel.add_link(SpanContext(1, 2, is_remote=False), {"text": "a long text"})
        assert tracer.lost == 0
    """
    child = start(code, path, **hostile)
    _, errors = child.communicate()
    assert child.returncode == 0, errors
    line = json.loads(path.read_bytes())["resourceSpans"][0]
    assert {"key": "service.name", "value": {"stringValue": "desk"}} in line[
        "resource"
    ]["attributes"]
    (item,) = line["scopeSpans"][0]["spans"]
    assert len(item["attributes"]) == 2
    assert json.dumps(item).count("a long text") == 3
    assert not any("dropped" in key for key in item)


@pytest.mark.parametrize("name", NAMES)
def test_no_single_variable_can_empty_the_file(tmp_path, name):
    path = tmp_path / "traces.jsonl"
    code = """
        import sys
        from waybell_trace import Tracer

        with Tracer(sys.argv[1]) as tracer, tracer.span("kept", n=1) as span:
            span.add_event("event", n=1)
        sys.exit(tracer.lost + tracer.lost_starts)
    """
    child = start(code, path, **{name: "\udcff"})
    _, errors = child.communicate()
    assert child.returncode == 0, errors
    assert ended(path) == (["kept"], 0)


def test_a_provider_disabled_by_the_environment_is_warned_of(tmp_path):
    code = """
        import sys
        from opentelemetry.sdk.trace import TracerProvider
        from waybell_trace import Tracer

        tracer = Tracer(sys.argv[1], provider=TracerProvider())
        with tracer.span("x"):
            pass
        sys.exit(tracer.lost)
    """
    child = start(code, tmp_path / "traces.jsonl", OTEL_SDK_DISABLED="true")
    _, errors = child.communicate()
    assert child.returncode == 1
    assert b"disabled" in errors


def test_a_full_disk_never_reaches_the_user(tmp_path, caplog):
    path = tmp_path / "traces.jsonl"
    for name in ("traces.jsonl", "traces.starts.jsonl"):
        (tmp_path / name).symlink_to("/dev/full")
    tracer = Tracer(path)
    for _ in range(3):
        with tracer.span("x"):
            pass
    assert (tracer.lost, tracer.lost_starts) == (3, 3)
    assert len(caplog.records) == 2
