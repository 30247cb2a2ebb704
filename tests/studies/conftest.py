"""Real processes, and a PostgreSQL server where one is installed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.studies.zygote import Zygote, zygote


@pytest.fixture(scope="session")
def processes() -> Iterator[Zygote]:
    """Start command lines in processes of their own."""
    with zygote() as one:
        yield one


def _program(name: str) -> str | None:
    """Find a program of PostgreSQL, which Debian keeps out of the usual path."""
    places = [str(p.parent) for p in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *places]))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Run a server that listens on a socket only; give its address. It refuses root, so another user runs it then."""
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL's server is not installed")
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # the path of a socket must be short
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)

    def run(*words: str) -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, user=user, extra_groups=[] if user else None)

    data, options = f"{folder}/data", f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    run(initdb, "-D", data, "-A", "trust", "-U", "docendo", "--no-sync")
    run(pg_ctl, "-D", data, "-w", "-o", options, "-l", f"{folder}/log", "start")
    try:
        yield f"postgresql://docendo@/postgres?host={folder}"
    finally:
        run(pg_ctl, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)
