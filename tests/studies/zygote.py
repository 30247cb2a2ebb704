"""Command lines of docendo in real processes that can be killed, without a new start of Python for each.

Run as a program it imports docendo once, and forks a process for every command line that it reads.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Zygote:
    """The program, from the side of the tests."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def ask(self, **what: object) -> int:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, *words: str, log: Path, cwd: Path) -> "Started":
        log.write_text("")
        return Started(self, self.ask(words=words, log=str(log), cwd=str(cwd)), log)


class Started:
    """One process."""

    def __init__(self, zygote: Zygote, pid: int, log: Path) -> None:
        self.zygote, self.pid, self.log = zygote, pid, log

    def children(self) -> list[int]:
        """Give the processes that it has started."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> tuple[int, str]:
        """Give its exit code, negative if it was killed, and what it wrote."""
        return self.zygote.ask(wait=self.pid), self.log.read_text()


@contextmanager
def zygote() -> Iterator[Zygote]:
    one = Zygote()
    with one.process:
        yield one
        one.process.kill()


def _serve() -> None:
    sys.path[:] = sys.argv[1:]
    import docendo.cli
    import docendo.data
    import docendo.studies.process
    import docendo.studies.running
    import docendo.studies.shared
    import docendo.studies.storage  # and with them all that takes time to import

    with tempfile.TemporaryDirectory() as folder:
        docendo.studies.storage.open_storage("sqlite", Path(folder)).engine.dispose()  # imports what is left
    docendo.data.load(docendo.data.DataSettings())
    docendo.studies.process.START = "fork"  # it computes nothing itself, so it can be copied
    for line in sys.stdin:
        what = json.loads(line)
        if "wait" in what:
            print(os.waitstatus_to_exitcode(os.waitpid(what["wait"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        os.chdir(what["cwd"])
        with open(what["log"], "w", buffering=1) as log:
            sys.stdout = sys.stderr = log
            code = docendo.cli.main(what["words"])
        os._exit(code)


if __name__ == "__main__":
    _serve()
