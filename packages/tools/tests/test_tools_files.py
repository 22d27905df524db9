import contextlib
import errno
import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waybell_tools import (
    ToolDenied,
    ToolError,
    ToolLimitError,
    ToolRegistry,
    list_files,
    read_file,
    write_file,
)
from waybell_tools._beneath import opened, told


@pytest.fixture
def root(tmp_path):
    (tmp_path / "secret").write_text("outside")
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("inside")
    (folder / "sub" / "b.txt").write_text("below")
    return folder


OUT = [
    "../secret", "sub/../../secret", "sub/../a.txt", "..", "./..", "/etc/passwd", "//etc",
    "\\etc", "C:/x", "C:\\x", "", "\0", "a.txt\0", "..\0", "\ud800", "sub/./../../secret",
]  # fmt: skip


@pytest.mark.parametrize("path", OUT, ids=ascii)
def test_a_path_that_leaves_the_root_is_refused_by_all_three(root, path) -> None:
    for call in (read_file(root), list_files(root), lambda p: write_file(root)(p, "x")):
        with pytest.raises(ToolDenied):
            call(path)
    assert (root.parent / "secret").read_text() == "outside"


def test_files_are_read_written_and_listed(root) -> None:
    assert read_file(root)("./sub//b.txt") == "below"
    assert write_file(root)("new/deep/c.txt", "é") == "wrote 2 bytes to new/deep/c.txt"
    assert (root / "new/deep/c.txt").read_text() == "é"
    assert list_files(root)() == ["a.txt", "new/", "sub/"]
    assert list_files(root)("new", recursive=True) == ["new/deep/", "new/deep/c.txt"]


@pytest.mark.parametrize(
    "target", ["../secret", "/etc/passwd", "a.txt", "nowhere", "link"]
)
def test_links_are_neither_read_nor_written_through(root, target) -> None:
    (root / "link").symlink_to(target)
    with pytest.raises(ToolDenied, match="link"):
        read_file(root)("link")
    with pytest.raises(ToolDenied, match="link"):
        write_file(root)("link", "x")
    assert list_files(root)() == ["a.txt", "link@", "sub/"]
    assert (root.parent / "secret").read_text() == "outside"


@pytest.mark.parametrize("target", ["..", "/etc", "sub", "."])
def test_links_to_folders_are_not_followed(root, target) -> None:
    (root / "link").symlink_to(target)
    for call in (
        lambda: read_file(root)("link/passwd"),
        lambda: write_file(root)("link/new", "x"),
        lambda: list_files(root)("link"),
    ):
        with pytest.raises((ToolDenied, NotADirectoryError)):
            call()
    assert not (root.parent / "new").exists()
    assert "link/" not in str(list_files(root)(recursive=True))


def test_a_hard_link_is_read_only_if_that_is_allowed(root) -> None:
    os.link(root.parent / "secret", root / "hard")
    with pytest.raises(ToolDenied, match="hard link"):
        read_file(root)("hard")
    assert read_file(root, hard_links=True)("hard") == "outside"
    write_file(root)("hard", "new")  # replaces the name, not what it named
    assert (root.parent / "secret").read_text() == "outside"


def test_pipes_sockets_and_devices_are_refused_without_waiting(root) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(root / "socket"))
        names = ["pipe", "socket"]
        with contextlib.suppress(PermissionError):
            os.mknod(root / "zero", 0o600 | 0o020000, os.makedev(1, 5))
            names.append("zero")
        for name in names:
            with pytest.raises(ToolDenied, match="plain file"):
                read_file(root)(name)
            with pytest.raises(ToolDenied, match="plain file"):
                write_file(root)(name, "x")
    assert "pipe=" in list_files(root)()


def test_errors_name_the_path_as_it_was_given(root) -> None:
    for call, kind in (
        (lambda: read_file(root)("sub/none"), FileNotFoundError),
        (lambda: read_file(root)("sub"), IsADirectoryError),
        (lambda: read_file(root)("."), IsADirectoryError),
        (lambda: write_file(root)("sub", "x"), IsADirectoryError),
        (lambda: write_file(root)("a.txt/x", "x"), NotADirectoryError),
        (lambda: list_files(root)("a.txt"), NotADirectoryError),
        (lambda: read_file(root)("x" * 300), OSError),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert str(root) not in str(caught.value)


def test_a_long_file_is_read_in_parts_that_cut_no_character(root) -> None:
    text = "aé漢𝄞" * 50
    (root / "long").write_text(text)
    read, got, start = read_file(root, max_bytes=7), "", 0
    while True:
        part, _, mark = read("long", start).partition("\n[cut: ")
        got += part
        if not mark:
            break
        start = int(mark.rpartition("=")[2].rstrip("]"))
    assert got == text


def test_what_is_no_text_is_refused(root) -> None:
    (root / "image").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ToolError, match="not UTF-8"):
        read_file(root)("image")


def test_sizes_and_counts_are_capped(root) -> None:
    with pytest.raises(ToolLimitError):
        write_file(root, max_bytes=3)("big", "four")
    assert not (root / "big").exists()
    for n in range(20):
        (root / f"f{n:02}").touch()
    assert list_files(root, max_entries=3)() == [
        "a.txt", "f00", "f01", "[cut: more than 3 entries]"
    ]  # fmt: skip


def test_existing_files_keep_their_mode_and_are_replaced_only_if_allowed(root) -> None:
    (root / "a.txt").chmod(0o640)
    write_file(root)("a.txt", "new")
    assert (root / "a.txt").stat().st_mode & 0o777 == 0o640
    with pytest.raises(FileExistsError):
        write_file(root, overwrite=False)("a.txt", "newer")
    write_file(root, overwrite=False)("fresh.txt", "new")
    assert (root / "a.txt").read_text() == (root / "fresh.txt").read_text() == "new"
    assert not list(root.glob(".waybell*"))


def test_a_reader_never_sees_half_a_file(root) -> None:
    write, read = write_file(root), read_file(root)
    texts = ["a" * 200_000, "b" * 200_000]
    write("shared", texts[0])
    done = threading.Event()
    seen = set()

    def look() -> None:
        while not done.is_set():
            seen.add(read("shared"))

    thread = threading.Thread(target=look)
    thread.start()
    for n in range(30):
        write("shared", texts[n % 2])
    done.set()
    thread.join()
    assert seen <= set(texts)


@pytest.mark.soak
def test_a_folder_swapped_for_a_link_meanwhile_leads_nowhere(root) -> None:
    """A thread swaps `sub` for a link to the outside and back, as fast as it can."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "b.txt").write_text("outside")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():  # a writer may have made `sub` anew in between
            for step in (
                lambda: (root / "sub").rename(root / "aside"),
                lambda: (root / "sub").symlink_to(outside),
                (root / "sub").unlink,
                lambda: (root / "aside").rename(root / "sub"),
            ):
                with contextlib.suppress(OSError):
                    step()

    thread = threading.Thread(target=swap)
    thread.start()
    read, write, listed = read_file(root), write_file(root), list_files(root)
    got, refused = set(), 0
    try:
        for _ in range(int(os.environ.get("WAYBELL_KILLS", "20")) * 15):
            for call in (
                lambda: got.add(read("sub/b.txt")),
                lambda: write("sub/c.txt", "x"),
                lambda: got.update(listed("sub")),
            ):
                try:
                    call()
                except (ToolDenied, OSError):
                    refused += 1
    finally:
        done.set()
        thread.join()
    assert "outside" not in got
    assert [path.name for path in outside.iterdir()] == ["b.txt"]
    assert refused


@settings(deadline=None)  # other programs run here too
@given(
    st.text(max_size=30)
    | st.lists(
        st.sampled_from(["..", ".", "", "sub", "a.txt", "/", "link", "\0", "~", "x"])
    ).map("/".join)
)
def test_any_path_stays_inside_or_is_an_error(tmp_path_factory, path: str) -> None:
    base = tmp_path_factory.getbasetemp() / "any"
    root = base / "root"
    if not root.exists():
        (root / "sub").mkdir(parents=True)
        (root / "link").symlink_to(base)
    (base / "secret").write_text("outside")
    with contextlib.suppress(ToolError, OSError):
        write_file(root)(path, "x")
    with contextlib.suppress(ToolError, OSError):
        assert read_file(root)(path) == "x"
    with contextlib.suppress(ToolError, OSError):
        assert "secret" not in list_files(root)(path)
    assert {path.name for path in base.iterdir()} == {"root", "secret"}
    assert (base / "secret").read_text() == "outside"


def test_a_root_must_be_a_folder(root) -> None:
    for path in (root / "a.txt", root / "none"):
        with pytest.raises(OSError, match="irectory"):
            read_file(path)


def test_a_root_that_is_a_link_is_what_it_leads_to(root) -> None:
    (root.parent / "alias").symlink_to(root)
    assert read_file(root.parent / "alias")("a.txt") == "inside"


def test_no_descriptor_is_left_open(root) -> None:
    tools = ToolRegistry([read_file(root), write_file(root), list_files(root)])
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in ("a.txt", "sub", "../x", "none/x", "sub/b.txt", "sub/none"):
        for name in tools:
            with contextlib.suppress(ToolError, OSError):
                tools.call(
                    name,
                    {"path": path} | ({"content": "x"} if name == "write_file" else {}),
                )
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_swapped_after_the_first_look_is_refused_at_the_second(root) -> None:
    """What was looked at and what is opened differ: the open one decides."""
    os.link(root / "a.txt", root / "twin")
    fd = os.open(root, os.O_RDONLY)
    with pytest.raises(ToolDenied, match="hard link"):
        opened("twin", fd, "twin", hard_links=False)
    with pytest.raises(ToolDenied, match="link"), told("given"):
        raise OSError(errno.ELOOP, "loop", "inner")
    with pytest.raises(FileNotFoundError, match="given") as caught, told("given"):
        raise FileNotFoundError(errno.ENOENT, "none", "inner")
    assert caught.value.filename == "given"
    os.close(fd)
