"""A job whose calls of the kernel on files are stopped one by one: seen, failed, or never come back from.

The job runs in a process of its own, under a seccomp filter that asks us before each call
(seccomp_unotify(2), Linux 5.5 or later; neither root nor a compiler is needed). What is seen is what
reaches the kernel, from Python or from any library: no call is missed because nobody thought of wrapping it.
"""

import ctypes
import errno
import fcntl
import logging
import multiprocessing
import os
import platform
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.claims import BenchmarkError
from towers.processes import forked


class Arg(Enum):
    """What the arguments of a call say of files, in their order."""

    PATH = "path"
    AT = "folder and path below it"
    OPEN = "open file"


_PATH, _AT, _OPEN = (Arg.PATH,), (Arg.AT,), (Arg.OPEN,)
_SHAPES: dict[str, tuple[Arg, ...]] = {
    **dict.fromkeys(
        ("open", "creat", "mkdir", "rmdir", "unlink", "truncate", "chmod", "stat", "lstat"), _PATH
    ),
    **dict.fromkeys(("openat", "openat2", "mkdirat", "unlinkat", "fchmodat", "newfstatat", "statx"), _AT),
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "sendfile", "ftruncate", "fallocate"), _OPEN),
    **dict.fromkeys(("fsync", "fdatasync", "syncfs", "flock", "fchmod", "close"), _OPEN),
    **dict.fromkeys(("read", "pread64", "readv", "getdents64", "lseek", "fstat"), _OPEN),
    **dict.fromkeys(("rename", "link"), (Arg.PATH, Arg.PATH)),
    **dict.fromkeys(("renameat", "renameat2", "linkat"), (Arg.AT, Arg.AT)),
    "copy_file_range": (Arg.OPEN, Arg.OPEN),
}
_X86_64 = {
    **{"read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "lseek": 8},
    **{"pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20, "sendfile": 40, "flock": 73, "fsync": 74},
    **{"fdatasync": 75, "truncate": 76, "ftruncate": 77, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85},
    **{"link": 86, "unlink": 87, "chmod": 90, "fchmod": 91, "getdents64": 217, "openat": 257, "mkdirat": 258},
    **{"newfstatat": 262, "unlinkat": 263, "renameat": 264, "linkat": 265, "fchmodat": 268, "fallocate": 285},
    **{"pwritev": 296, "syncfs": 306, "renameat2": 316, "copy_file_range": 326, "statx": 332, "openat2": 437},
}
_AARCH64 = {
    **{"flock": 32, "mkdirat": 34, "unlinkat": 35, "linkat": 37, "renameat": 38, "truncate": 45},
    **{"ftruncate": 46, "fallocate": 47, "fchmod": 52, "fchmodat": 53, "openat": 56, "close": 57},
    **{"getdents64": 61, "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67},
    **{"pwrite64": 68, "pwritev": 70, "sendfile": 71, "newfstatat": 79, "fstat": 80, "fsync": 82},
    **{
        "fdatasync": 83,
        "syncfs": 267,
        "renameat2": 276,
        "copy_file_range": 285,
        "statx": 291,
        "openat2": 437,
    },
}
_NUMBERS = {"x86_64": (_X86_64, 317), "aarch64": (_AARCH64, 277)}
"""By machine: the number of each call, and that of seccomp itself."""

_NO_NEW_PRIVS, _SET_FILTER, _NEW_LISTENER = 38, 1, 1 << 3
_LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_RET_ALLOW, _RET_NOTIFY = 0x7FFF0000, 0x7FC00000
_RECEIVE, _SEND, _SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082104
_CONTINUE, _WAKE_AT_ONCE = 1, 1
_NOTICE, _ANSWER = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")
_AT_FDCWD = -100
_SECONDS = 600
"""A job that does nothing for so long hangs."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the job is about to make. paths: of the files it is about, as the kernel finds them."""

    name: str
    paths: tuple[str, ...]
    pid: int
    descriptor: int | None

    def is_below(self, folder: Path) -> bool:
        """Whether it is about this folder or anything in it."""
        return any(path == str(folder) or path.startswith(f"{folder}/") for path in self.paths)


KILL = -1

Decide = Callable[[Call], int]
"""What a call comes to: 0 where it shall be made, the number of the error that it fails with, or KILL: the
job gets SIGKILL and the call is not made.

While it is asked the job stands still, and each of its calls before has been made."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended.

    error: the error that it raised, as names of its classes, the narrowest first; empty where none.
    message: what that said. killed: whether the job was killed instead.
    """

    error: tuple[str, ...] = ()
    message: str = ""
    killed: bool = False


def preload(*modules: str) -> None:
    """Lets modules be loaded once, in the process that the jobs are forked from; before the first job."""
    forked(__name__, *modules)


def run(job: Callable[[], object], decide: Decide | None = None) -> Ended:
    """Runs a job in a process of its own, forked from one without threads; `decide` rules its calls.

    job: a function of a module, or a `partial` of one. Raises BenchmarkError where this system lets nobody
    watch, or the job hangs.
    """
    with started(job, watch=decide is not None) as (process, connection):
        if decide is not None:
            _rule(_listener(connection), connection, decide)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
        process.join(_SECONDS)
        return _ended(answer)


@contextmanager
def started(
    job: Callable[[], object], *, watch: bool = False
) -> Iterator[tuple[multiprocessing.process.BaseProcess, socket.socket]]:
    """A job that runs, and the socket on which its end will be told; killed when the block ends."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as door:
        address = f"{folder}/door"
        door.bind(address)
        door.listen(1)
        door.settimeout(_SECONDS)
        process = forked(__name__).Process(target=_run, args=(address, job, watch))
        process.start()
        try:
            connection, _ = door.accept()
            with connection:
                connection.settimeout(_SECONDS)
                yield process, connection
        finally:
            process.kill()
            process.join()
            process.close()


def _run(address: str, job: Callable[[], object], watch: bool) -> None:
    """In the process of the job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable()  # what is failed on purpose is told by how the job ends
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        try:
            if watch:
                listener = _watched()
                socket.send_fds(connection, [b"w"], [listener])
            job()
            answer = "\n"
        except Exception as error:
            names = [kind.__name__ for kind in type(error).__mro__]
            answer = f"{' '.join(names)}\n{error}"
        connection.sendall(answer.encode())
        os._exit(0)  # nothing that Python does at its end is the job's


def _ended(answer: bytes) -> Ended:
    names, line_end, message = answer.decode().partition("\n")
    return Ended(tuple(names.split()), message) if line_end else Ended(killed=True)


def _listener(connection: socket.socket) -> int:
    said, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
    if said == b"w" and descriptors:
        return descriptors[0]
    ended = _ended(said + connection.recv(1 << 16))
    raise BenchmarkError(
        f"calls cannot be watched here: {ended.message}; expected Linux with seccomp_unotify"
    )


def _rule(listener: int, connection: socket.socket, decide: Decide) -> None:
    """Answers each notice until the job has said how it ended, or is gone."""
    names = {number: name for name, number in _NUMBERS[platform.machine()][0].items()}
    try:
        with suppress(OSError):  # before Linux 6.6: slower alone
            fcntl.ioctl(listener, _SET_FLAGS, _WAKE_AT_ONCE)
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(connection, select.POLLIN)
        while True:
            events = dict(poll.poll(1000 * _SECONDS))
            if not events:
                raise BenchmarkError(f"the job made no call for {_SECONDS} s; expected it to end")
            if events.get(listener, 0) & select.POLLIN:
                _answer(listener, names, decide)
            else:
                return
    finally:
        os.close(listener)


def _answer(listener: int, names: dict[int, str], decide: Decide) -> None:
    notice = bytearray(_NOTICE.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, notice, True)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return  # the job was killed in between
        raise
    place, pid, _, number, _, _, *args = _NOTICE.unpack(notice)
    name = names[number]
    try:
        call = Call(name, _paths(pid, _SHAPES[name], args), pid, _signed(args[0]) if _is_open(name) else None)
    except OSError:
        return  # killed: nobody waits for an answer
    failed = decide(call)
    if failed == KILL:
        os.kill(pid, signal.SIGKILL)
        return  # an answer could come before the kill, and the call be made
    answer = _ANSWER.pack(place, 0, -failed, 0) if failed else _ANSWER.pack(place, 0, 0, _CONTINUE)
    try:
        fcntl.ioctl(listener, _SEND, bytearray(answer), True)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def _is_open(name: str) -> bool:
    return _SHAPES[name][0] is Arg.OPEN


def _paths(pid: int, shape: Sequence[Arg], args: Sequence[int]) -> tuple[str, ...]:
    """Paths that a call is about; OSError where the process is gone."""
    found, place = [], 0
    for arg in shape:
        match arg:
            case Arg.OPEN:
                found.append(_link(pid, f"fd/{_signed(args[place])}"))
                place += 2  # copy_file_range has an offset in between
            case Arg.PATH:
                found.append(_absolute(pid, _AT_FDCWD, args[place]))
                place += 1
            case Arg.AT:
                found.append(_absolute(pid, _signed(args[place]), args[place + 1]))
                place += 2
    return tuple(found)


def _absolute(pid: int, folder: int, address: int) -> str:
    path = _text(pid, address)
    if path.startswith("/"):
        return os.path.normpath(path)
    base = _link(pid, "cwd" if folder == _AT_FDCWD else f"fd/{folder}")
    return os.path.normpath(f"{base}/{path}") if path else base


def _link(pid: int, name: str) -> str:
    path = Path(f"/proc/{pid}/{name}")
    try:
        return str(path.readlink())
    except FileNotFoundError:
        if not path.parent.exists():
            raise
        return ""  # of no open file: the kernel will say so


def _text(pid: int, address: int) -> str:
    if not address:
        return ""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        read = b""
        while b"\0" not in read and len(read) < 4096:
            memory.seek(address + len(read))
            # To the end of a page at most: the next may not be there.
            read += memory.read(4096 - (address + len(read)) % 4096)
    return os.fsdecode(read.partition(b"\0")[0])


def _signed(value: int) -> int:
    return ctypes.c_int32(value & 0xFFFFFFFF).value


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("yes", ctypes.c_uint8),
        ("no", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def _watched() -> int:
    """Puts this process under the filter, for good, and gives the descriptor on which its calls are told."""
    known = _NUMBERS.get(platform.machine())
    if platform.system() != "Linux" or known is None:
        raise OSError(f"{platform.system()} on {platform.machine()}; known are {', '.join(_NUMBERS)}")
    numbers, seccomp = known
    wanted = sorted(numbers.values())
    program = [_Instruction(_LOAD_WORD, 0, 0, 0)]  # the number of the call
    program += [
        _Instruction(_JUMP_EQUAL, len(wanted) - place, 0, number) for place, number in enumerate(wanted)
    ]
    program += [_Instruction(_RETURN, 0, 0, _RET_ALLOW), _Instruction(_RETURN, 0, 0, _RET_NOTIFY)]
    instructions = (_Instruction * len(program))(*program)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    filter_ = _Filter(len(program), instructions)
    listener: int = libc.syscall(seccomp, _SET_FILTER, _NEW_LISTENER, ctypes.byref(filter_))
    if listener < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "seccomp")
    return listener
