"""Scripts in processes of their own that need not load torch and Lightning anew: forked from one that has.

A process has its own memory, signals, limits and exit status as a fresh one; only what is loaded is there
already. It takes a tenth of a second to start, where a fresh one takes many.
"""

import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
_LOADED = ("conf.schema", "pytorch_lightning", "towers.training.fit", "retrieval.retriever")

_SECONDS = 600
"""A job that takes so long hangs, and is ended by SIGALRM."""

_server: list[subprocess.Popen[str]] = []


def run_script(
    script: Path, *arguments: str, most_bytes_per_file: int | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs a script as `python script …` in the root of the project would be; how it ended and what it said.

    most_bytes_per_file: as on a disk without room, no file can become larger. variables: of its environment.
    """
    with TemporaryDirectory() as folder:
        # Pipes: a file would be held to what a file may have.
        said = [Path(folder, name) for name in ("stdout", "stderr")]
        for path in said:
            os.mkfifo(path)
        argv = [str(script), *arguments]
        asked = {
            "argv": argv,
            "said": list(map(str, said)),
            "most": most_bytes_per_file,
            "variables": variables,
        }
        server = _running()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(f"{json.dumps(asked)}\n")
        server.stdin.flush()
        with ThreadPoolExecutor(2) as readers:
            out, error = readers.map(Path.read_text, said)
        return subprocess.CompletedProcess(argv, int(server.stdout.readline()), out, error)


def run_program(
    program: str, *arguments: str, most_bytes_per_file: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a text as `run_script` runs a script."""
    with TemporaryDirectory() as folder:
        script = Path(folder, "program.py")
        script.write_text(program)
        return run_script(script, *arguments, most_bytes_per_file=most_bytes_per_file)


def _running() -> subprocess.Popen[str]:
    """The process that others are forked from, begun when it is first asked for."""
    if not _server:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        _server.append(
            subprocess.Popen(
                [sys.executable, "-m", __name__],
                cwd=ROOT,
                env=os.environ | threads | {"CUDA_VISIBLE_DEVICES": ""},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    return _server[0]


def _serve() -> None:
    """Forks for each line that is asked, until there is no more."""
    for module in _LOADED:
        __import__(module)
    assert threading.active_count() == 1
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(asked["argv"], asked["said"], asked["most"], asked["variables"])
        _, status = os.waitpid(pid, 0)
        # What a killed job leaves, such as a loader's workers, holds its pipes open.
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(argv: list[str], said: list[str], most: int | None, variables: Mapping[str, str]) -> None:
    """Goes on as the script, and ends with it."""
    os.setsid()
    signal.alarm(_SECONDS)
    nothing = os.open(os.devnull, os.O_RDONLY)
    opened = [os.open(path, os.O_WRONLY) for path in said]
    for descriptor, own in enumerate((nothing, *opened)):
        os.dup2(own, descriptor)
    if most is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    os.environ.update(variables)
    sys.argv = argv
    sys.path.insert(0, str(Path(argv[0]).resolve().parent))
    status = 0
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does: waits for threads
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
