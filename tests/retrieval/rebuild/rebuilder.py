"""A rebuild in a process of its own, that says where it is and waits there."""

import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from retrieval.rebuild.run import rebuild
from tests.retrieval.rebuild.worlds import Artifacts, Title, world
from tests.worlds import write_tables

NEWER = world().with_titles(t003=None, n1=Title("Newcomer", 2, 2001))


def wait_in_rebuild(folder: Path, said: Connection) -> NoReturn:
    """Reads the newest tables, then waits for a signal; ends with the exit code of the rebuild."""

    def ingest(tables: Path, order_of: Path | None) -> None:
        write_tables(NEWER.tables(), tables, order_of)
        said.send("reading")
        time.sleep(600)

    job = Artifacts(folder).job(NEWER)
    summary = rebuild(type(job)(job.artifacts, job.asked, job.gates, job.upkeep, ingest, job.train))
    said.send(summary.to_json())
    sys.exit(int(summary.exit_code))
