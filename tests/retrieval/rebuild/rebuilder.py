"""A rebuild in a process of its own, that says where it is and waits there: `rebuilder.py FOLDER`."""

import sys
import time
from pathlib import Path

from retrieval.rebuild.run import rebuild
from tests.retrieval.rebuild.worlds import Artifacts, Title, world
from tests.worlds import write_tables

NEWER = world().with_titles(t003=None, n1=Title("Newcomer", 2, 2001))


def main(folder: Path) -> int:
    """Reads the newest tables, then waits for a signal."""

    def ingest(tables: Path) -> None:
        write_tables(NEWER.tables(), tables)
        print("reading", flush=True)
        time.sleep(600)

    job = Artifacts(folder).job(NEWER)
    summary = rebuild(type(job)(job.artifacts, job.asked, job.gates, job.upkeep, ingest, job.train))
    print(summary.to_json(), flush=True)
    return int(summary.exit_code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
