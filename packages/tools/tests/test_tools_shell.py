import asyncio
import contextlib
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from waybell_tools import ToolDenied, ToolRegistry, ToolTimeoutError, shell


def no_sandbox() -> str:
    """Why there is none, in the words of the system."""
    if shutil.which("bwrap") is None:
        return "bubblewrap (bwrap) is not installed"
    words = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    tried = subprocess.run(words, capture_output=True, text=True, check=False)
    why = f"bubblewrap does not work here: {tried.stderr.strip()}"
    return why if tried.returncode else ""


sandbox = pytest.mark.skipif(bool(no_sandbox()), reason=no_sandbox())
PLAIN = {"unsandboxed": True, "bwrap": None}


@pytest.fixture(params=["plain", pytest.param("sandboxed", marks=sandbox)])
def how(request):
    return PLAIN if request.param == "plain" else {}


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        )
    except OSError:
        return False


def until(true) -> None:
    """Wait for what other processes and threads do."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        threading.Event().wait(0.002)


def processes(word: str) -> list[int]:
    """Those whose command line has the word."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word.encode() in (path / "cmdline").read_bytes() and alive(
                int(path.name)
            ):
                found.append(int(path.name))
    return found


def test_a_program_gets_its_arguments_as_they_are(tmp_path, how) -> None:
    run = shell(["printf"], root=tmp_path, **how)
    words = [
        "a b",
        "$HOME",
        "`id`",
        "$(id)",
        ";id",
        "|id",
        "&",
        "> x",
        "*",
        "'",
        '"',
        "\n",
        "é",
    ]
    got = run(["printf", "<%s>", *words])
    assert got == {
        "exit": 0,
        "stdout": "".join(f"<{word}>" for word in words),
        "stderr": "",
    }
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "argv",
    [[], ["id"], ["printf; id"], ["printf\nid"], ["/usr/bin/printf"], ["./printf"],
     ["../../usr/bin/id"], [""], [" printf"], ["PRINTF"], ["-c"], ["printf\0", "x"]],
    ids=ascii,
)  # fmt: skip
def test_only_named_programs_run(tmp_path, argv) -> None:
    run = shell(["printf"], root=tmp_path, **PLAIN)
    with pytest.raises(ToolDenied):
        run(argv)


def test_a_nul_in_an_argument_is_refused(tmp_path) -> None:
    with pytest.raises(ToolDenied, match="NUL"):
        shell(["printf"], root=tmp_path, **PLAIN)(["printf", "a\0b"])


def test_nothing_of_the_environment_is_handed_on(tmp_path, how, monkeypatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    monkeypatch.setenv("LD_PRELOAD_NOT", "secret")
    got = shell(["env"], root=tmp_path, env={"MORE": "1"}, **how)(["env"])["stdout"]
    names = {line.partition("=")[0] for line in got.splitlines()}
    assert names - {"PWD"} == {"PATH", "HOME", "LANG", "MORE", "WAYBELL_SHELL"}
    assert "secret" not in got


def test_it_runs_in_the_root_and_reads_what_it_is_given(tmp_path, how) -> None:
    run = shell(["pwd", "cat"], root=tmp_path, **how)
    assert run(["pwd"])["stdout"].strip() == str(tmp_path.resolve())
    text = "line\n" * 100_000
    assert len(run(["cat"], text)["stdout"]) < 60_000
    assert run(["cat"], "given")["stdout"] == "given"
    assert run(["cat"])["stdout"] == ""


def test_exit_codes_and_errors_are_data(tmp_path, how) -> None:
    got = shell(["ls"], root=tmp_path, **how)(["ls", "none"])
    assert got["exit"] != 0
    assert "none" in got["stderr"]


def test_a_flood_is_read_on_and_kept_to_the_limit(tmp_path, how) -> None:
    run = shell(["sh"], root=tmp_path, max_output=1000, **how)
    got = run(
        [
            "sh",
            "-c",
            "head -c 3000000 /dev/zero | tr '\\0' x; head -c 5000 /dev/zero >&2",
        ]
    )
    assert got["exit"] == 0
    assert got["stdout"].startswith("x" * 1000 + "\n[cut: 3000000 bytes")
    assert got["stderr"].endswith("[cut: 5000 bytes, 1000 are shown]")


def test_an_endless_flood_ends_in_time(tmp_path, how) -> None:
    run = shell(["yes"], root=tmp_path, timeout=0.3, **how)
    start = time.monotonic()
    with pytest.raises(ToolTimeoutError):
        run(["yes"])
    assert time.monotonic() - start < 5


TREES = {
    "child": "sleep {n} & wait",
    "grandchild": "sh -c 'sleep {n} & wait' & wait",
    "background": "sleep {n} >/dev/null 2>&1 &",
    "holding the pipe": "sleep {n} &",
    "own session": "setsid sleep {n} & wait",
    "own session, orphaned": "(setsid sleep {n} &) ; sleep 60",
    "orphan in the background": "(setsid nohup sleep {n} >/dev/null 2>&1 &)",
    "deaf": "trap '' TERM HUP INT; sleep {n}",
}


@pytest.mark.parametrize("tree", TREES)
def test_no_process_is_left_behind(tmp_path, how, tree) -> None:
    number = f"10{abs(hash((tree, str(how)))) % 10**8}"
    run = shell(["sh"], root=tmp_path, timeout=0.3, **how)
    start = time.monotonic()
    with contextlib.suppress(ToolTimeoutError):
        run(["sh", "-c", TREES[tree].format(n=number)])
    assert time.monotonic() - start < 5
    until(lambda: not processes(number))  # a sandbox takes a moment to fall


@sandbox
def test_a_process_without_our_mark_dies_in_the_sandbox(tmp_path) -> None:
    run = shell(["sh"], root=tmp_path)
    run(["sh", "-c", "env -i setsid sleep 10987 >/dev/null 2>&1 &"])
    until(lambda: not processes("10987"))


async def test_a_cancelled_call_kills_the_program(tmp_path, how) -> None:
    registry = ToolRegistry([shell(["sh"], root=tmp_path, timeout=60, **how)])
    word = f"1000{os.getpid()}"
    task = asyncio.create_task(
        registry.acall("shell", {"argv": ["sh", "-c", f"touch on; sleep {word}"]})
    )
    await asyncio.to_thread(until, (tmp_path / "on").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(until, lambda: not registry.running())
    await asyncio.to_thread(until, lambda: not processes(word))  # they are dying


def test_without_a_sandbox_it_refuses_unless_told(tmp_path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    for bwrap in (None, "no-such-bwrap", str(broken)):
        with pytest.raises(ToolDenied, match="unsandboxed=True"):
            shell(["ls"], root=tmp_path, bwrap=bwrap)
        run = shell(["pwd"], root=tmp_path, bwrap=bwrap, unsandboxed=True)
        assert run(["pwd"])["exit"] == 0


def test_the_sandbox_is_asked_for_no_network_and_a_read_only_system(tmp_path) -> None:
    """A stand-in for bwrap keeps what it was told, so that this runs everywhere."""
    root = tmp_path / "root"
    root.mkdir()
    fake = tmp_path / "bwrap"
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/told\n')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    shell(["ls"], root=root, bwrap=str(fake), writable=False)(["ls", "-l"])
    told = (tmp_path / "told").read_text().split("\n")
    assert {"--unshare-all", "--die-with-parent", "--new-session"} <= set(told)
    assert "--share-net" not in told
    assert told[-4:] == ["--", shutil.which("ls"), "-l", ""]
    place = told.index(str(root))
    assert told[place - 1 : place + 2] == ["--ro-bind", str(root), str(root)]


@sandbox
def test_the_sandbox_hides_files_network_and_processes(tmp_path) -> None:
    (tmp_path / "secret").write_text("outside")
    root = tmp_path / "root"
    root.mkdir()
    run = shell(["sh", "cat", "ls"], root=root)
    assert run(["cat", str(tmp_path / "secret")])["exit"] != 0
    assert run(["cat", "/etc/passwd"])["exit"] != 0
    assert run(["sh", "-c", "touch /usr/x"])["exit"] != 0
    assert run(["sh", "-c", "echo new > file"])["exit"] == 0
    assert (root / "file").read_text() == "new\n"
    assert set(run(["ls", "/sys/class/net"])["stdout"].split()) <= {"lo"}
    assert run(["cat", "/proc/net/route"])["stdout"].count("\n") <= 1
    pids = [n for n in run(["ls", "/proc"])["stdout"].split() if n.isdecimal()]
    assert len(pids) <= 3
    assert (
        shell(["sh"], root=root, writable=False)(["sh", "-c", "echo > file"])["exit"]
        != 0
    )


def test_programs_must_exist_outside_of_the_root(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such"):
        shell(["no-such"], root=tmp_path, **PLAIN)
    own = tmp_path / "own"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    with pytest.raises(ValueError, match="can be replaced"):
        shell([str(own)], root=tmp_path, **PLAIN)


def test_the_model_is_told_which_programs_there_are(tmp_path) -> None:
    registry = ToolRegistry([shell(["ls", "cat"], root=tmp_path, **PLAIN)])
    (spec,) = registry.specs()
    assert "Programs: cat, ls." in spec["description"]
    assert set(spec["input_schema"]["properties"]) == {"argv", "stdin"}


@sandbox
def test_a_program_in_the_sandbox_has_no_rights_even_if_we_are_root(tmp_path) -> None:
    run = shell(["sh", "grep"], root=tmp_path)
    told = run(["grep", "^Cap", "/proc/self/status"])["stdout"]
    assert {int(line.split()[1], 16) for line in told.splitlines()} == {0}
    for words in (
        "mount -o remount,bind,rw /usr",
        "mount -t tmpfs none /usr",
        "umount -l /usr",
        "touch /usr/made-by-a-test",
        "echo x > /proc/sys/kernel/domainname",
        ": >> /proc/sys/kernel/core_pattern",
        "find /proc -writable -not -type l -not -type s | grep -v /fd/ | grep .",
        "mknod device b 8 0",
        "chroot / true",
        "unshare -r mount -o remount,bind,rw /usr",
    ):
        assert run(["sh", "-c", words])["exit"] != 0
    assert not Path("/usr/made-by-a-test").exists()


@sandbox
def test_a_program_in_the_sandbox_holds_no_descriptor_of_ours(tmp_path) -> None:
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        told = shell(["ls"], root=tmp_path)(["ls", "-l", "/proc/1/fd", "/proc/self/fd"])
    assert "secret" not in told["stdout"]


@pytest.mark.parametrize(
    "argv",
    [["find", ".", "-exec", "cat", "{secret}", ";"], ["tar", "-cf", "x.tar", "{secret}"],
     ["env", "cat", "{secret}"], ["xargs", "-a", "{secret}", "echo"],
     ["awk", 'BEGIN {{ while ((getline l < "{secret}") > 0) print l }}'],
     ["tar", "-cf", "/dev/null", "--checkpoint=1", "--checkpoint-action=exec=cat {secret}", "own"],
     ["sed", "-n", "1e cat {secret}", "own"], ["ln", "{secret}", "hard"], ["cp", "{secret}", "copy"]],
    ids=lambda argv: " ".join(argv[:3]),
)  # fmt: skip
@sandbox
def test_programs_that_start_others_lead_to_nothing_outside(tmp_path, argv) -> None:
    (tmp_path / "secret").write_text("outside")
    root = tmp_path / "root"
    root.mkdir()
    (root / "own").write_text("own\n")
    run = shell([argv[0]], root=root)
    got = run([word.format(secret=tmp_path / "secret") for word in argv])
    assert "outside" not in str(got)
    assert not [path for path in root.iterdir() if b"outside" in path.read_bytes()]


def test_a_link_in_the_root_is_no_program_though_it_leads_outside(tmp_path) -> None:
    (tmp_path / "list").symlink_to("/bin/ls")
    with pytest.raises(ValueError, match="can be replaced"):
        shell([str(tmp_path / "list")], root=tmp_path, **PLAIN)


def test_a_sandbox_that_cannot_be_started_is_none(tmp_path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_bytes(b"\x7fELF no program")
    broken.chmod(0o755)
    with pytest.raises(ToolDenied, match="does not work here"):
        shell(["ls"], root=tmp_path, bwrap=str(broken))


def test_a_sandbox_without_nested_namespaces_is_taken_as_it_is(tmp_path) -> None:
    """As an old bwrap is, or one that has privileges of its own."""
    fake = tmp_path / "bwrap"
    fake.write_text(
        f'#!/bin/sh\n[ "$3" != --disable-userns ] || exit 1\necho "$@" >> {tmp_path}/told\n'
    )
    fake.chmod(0o755)
    root = tmp_path / "root"
    root.mkdir()
    shell(["ls"], root=root, bwrap=str(fake))
    told = (tmp_path / "told").read_text()
    assert told.startswith(
        "--unshare-all --die-with-parent --new-session --cap-drop ALL"
    )


def test_the_error_of_a_slow_program_names_it_and_not_its_arguments(tmp_path) -> None:
    run = shell(["sh"], root=tmp_path, timeout=0.1, **PLAIN)
    with pytest.raises(ToolTimeoutError, match=r"^sh: took longer than 0\.1 s$"):
        run(["sh", "-c", "sleep 50", "secret"])


def test_output_that_is_no_text_is_told_as_far_as_it_is(tmp_path, how) -> None:
    got = shell(["printf"], root=tmp_path, **how)(["printf", "\\377a\\0b"])
    assert got["stdout"] == "\ufffda\0b"


def test_a_signal_that_ends_a_program_is_data(tmp_path, how) -> None:
    got = shell(["sh"], root=tmp_path, **how)(["sh", "-c", "kill -9 $$"])
    assert got["exit"] in (-9, 137)


@pytest.mark.parametrize("end", ["cancelled", "running"])
def test_no_program_outlives_an_interpreter_that_ends(tmp_path, end) -> None:
    code = (
        "import asyncio, sys, threading\n"
        "from pathlib import Path\n"
        "from waybell_tools import ToolRegistry, shell\n"
        "root, begun = sys.argv[1], Path(sys.argv[1], 'begun')\n"
        "r = ToolRegistry([shell(['sh'], root=root, bwrap=None, unsandboxed=True)])\n"
        "call = {'name': 'shell', 'arguments': {'argv':\n"
        "    ['sh', '-c', 'echo $$ > draft; mv draft begun; exec sleep 600']}}\n"
        "def wait():\n"
        "    while not begun.exists(): threading.Event().wait(0.01)\n"
        "async def cancelled():\n"
        "    task = asyncio.create_task(r.aresult(call))\n"
        "    await asyncio.to_thread(wait)\n"
        "    task.cancel()\n"
        "    await asyncio.gather(task, return_exceptions=True)\n"
        "if sys.argv[2] == 'cancelled': asyncio.run(cancelled())\n"
        "else:\n"
        "    threading.Thread(target=r.result, args=(call,), daemon=True).start()\n"
        "    wait()\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), end], timeout=60, check=True
    )
    pid = int((tmp_path / "begun").read_text())
    until(lambda: not alive(pid))
