"""A queue drawn: legible, escaped, each state in words and shape, nothing loaded."""

import random
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from waybell_scheduler import SchedulerError, Task, TaskQueue
from waybell_scheduler._graph import CANCELLED
from waybell_scheduler._layout import BOX, GAP, Layout


SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</text><script>alert("1")</script>&amp;\x00\x1b\ud800]]>'


def every_state() -> TaskQueue:
    queue = TaskQueue(
        [
            Task("done", "what to do", agent="writer"),
            Task("failed"),
            Task("cancelled"),
            Task("running"),
            Task("suspended"),
            Task("ready"),
            Task("waiting", depends_on=["ready", "done", "ready"]),
            Task("skipped", depends_on=["failed"]),
            Task("also", depends_on=["skipped", "cancelled", "done"]),
        ]
    )
    queue.complete("done")
    queue.complete("failed", success=False, error=ValueError("boom"))
    queue._fail(2, None, CANCELLED)
    queue.start("running")
    queue.suspend("suspended")
    return queue


def texts(document: str) -> list[str]:
    return [found.text or "" for found in ET.fromstring(document).iter(SVG + "text")]


def test_each_state_is_said_in_words_and_has_its_own_shape() -> None:
    document = every_state().svg()
    said = texts(document)
    for name, words in zip(said[0:16:2], said[1:16:2], strict=True):
        assert name in words
    assert said[-1] == (
        "1 waiting, 1 ready, 1 running, 1 done, 1 failed, 1 cancelled, 1 suspended, 2 skipped"
    )
    looks = {
        re.sub(r'(x|y)="[^"]*"| d="[^"]*"', "", found)
        for found in re.findall(r"</title><[^>]*>", document)
    }
    assert len(looks) == 8


def test_a_skipped_task_names_what_it_stems_from() -> None:
    root = ET.fromstring(every_state().svg())
    titles = [found.text for found in root.iter(SVG + "title")]
    assert "skipped\nskipped, after failed" in titles
    assert "failed\nfailed\nValueError: boom" in titles
    assert "done\ndone\nwriter\nwhat to do" in titles


def test_what_a_task_is_called_stays_text() -> None:
    queue = TaskQueue([Task(HOSTILE, HOSTILE), Task("b", depends_on=[HOSTILE])])
    queue.complete(HOSTILE, success=False, error=ValueError(HOSTILE))
    document = queue.svg()
    document.encode()
    tags = {found.tag for found in ET.fromstring(document).iter()}
    assert tags == {
        SVG + name for name in "svg rect defs marker path g title text".split()
    }


def test_the_picture_loads_nothing_and_runs_nothing() -> None:
    document = every_state().svg()
    assert re.findall("https?://[^\"']*", document) == ["http://www.w3.org/2000/svg"]
    assert not re.search(
        r"<(script|style|image|use|a|foreignObject)|style=|href|\son\w+=", document
    )


def test_long_names_are_cut_to_the_box_and_whole_in_the_title() -> None:
    long, wide = "a very long name " * 5, "漢字" * 20
    queue = TaskQueue([Task(long), Task(wide), Task("x" * 22), Task("x" * 23)])
    shown = texts(queue.svg())
    assert shown[0] == "a very long name a ve…"
    assert shown[2] == "漢字漢字漢字漢字漢字…"
    assert (shown[4], shown[6]) == ("x" * 22, "x" * 21 + "…")
    assert long in queue.svg()


def test_a_queue_without_tasks_is_a_picture_too() -> None:
    queue = TaskQueue([])
    assert texts(queue.svg()) == ["no tasks"]
    assert queue.mermaid() == "flowchart TD\n"


def test_what_would_be_no_picture_is_refused() -> None:
    with pytest.raises(
        SchedulerError, match=r"1001 tasks make no legible picture \(most=1000\)"
    ):
        TaskQueue([Task(str(n)) for n in range(1001)]).svg()
    names = [str(n) for n in range(60)]
    dense = [Task(name, depends_on=names[:n]) for n, name in enumerate(names)]
    with pytest.raises(SchedulerError, match="arrows that pass 35990 layers"):
        TaskQueue(dense).svg(most=60)
    assert TaskQueue(dense).svg(most=2000).count("<path") == 60 * 59 // 2 + 1


def test_a_mermaid_flowchart_has_each_task_arrow_and_state() -> None:
    text = every_state().mermaid()
    assert text.startswith('flowchart TD\n  t0[["done<br/>done"]]:::done\n')
    assert '  t1{{"failed<br/>failed"}}:::failed\n' in text
    assert "  t5 --> t6\n  t0 --> t6\n  t1 --> t7\n" in text
    assert text.count("-->") == 6
    assert (
        len(re.findall(r"^  classDef (\w+) fill:#\w{6},stroke:", text, re.MULTILINE))
        == 8
    )
    shapes = {
        re.sub(r"\w+<br/>\w+", "", shape) for shape in re.findall(r"t\d(.*):::", text)
    }
    assert len(shapes) == 8


@pytest.mark.parametrize("letter", list('"<>#;`[]{}|&\n\\%*~'))
def test_in_mermaid_what_could_mean_something_is_a_number(letter) -> None:
    text = TaskQueue([Task(f"a{letter}b")]).mermaid()
    assert f'("a#{ord(letter)};b<br/>ready")' in text


def random_needs(rng) -> list[list[int]]:
    return [
        sorted(rng.sample(range(j), min(j, rng.choice((0, 1, 1, 2, 3)))))
        for j in range(40)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_boxes_never_overlap_and_arrows_go_down_between_them(seed) -> None:
    needs = random_needs(random.Random(seed))
    layout = Layout(needs)
    for j, found in enumerate(needs):
        for i in found:
            assert layout.layer[i] < layout.layer[j]
            lanes = layout.lanes[i, j]
            between = list(range(layout.layer[i] + 1, layout.layer[j]))
            assert [layout.layer[lane] for lane in lanes] == between
    for row in layout.rows:
        for left, right in pairwise(row):
            apart = layout.x[right] - layout.x[left]
            widths = (layout._width(left) + layout._width(right)) / 2
            assert apart >= widths + GAP - 1e-6
    assert min(layout.x) >= 0
    assert layout.width() >= max(layout.x[: len(needs)]) + BOX / 2 - 1e-6


def test_a_chain_is_drawn_as_a_straight_line() -> None:
    layout = Layout([[], [0], [1], [2]])
    assert layout.x == [BOX / 2] * 4
    assert layout.width() == BOX


def test_the_layout_crosses_few_arrows() -> None:
    # Two columns given crosswise: drawn without a crossing.
    layout = Layout([[], [], [1], [0]])
    assert (layout.x[0] < layout.x[1]) == (layout.x[3] < layout.x[2])
