"""A process whose threads want one answer: `stampede_script.py URI COLLECTION THREADS SECONDS`.

Says `ready`, waits for a line, and calls. `computing PID` is said where the answer is computed,
which takes so many seconds, and at the end the answers that the threads got. With a path instead of
the seconds, the process that creates this file computes for ever, and all others at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from gearmanny.helpers.cache_mongodb import cacheBuilder

uri, collection, threads, seconds = sys.argv[1:]
cachewrap = cacheBuilder(host=uri, dbname="cachetests", collection=collection, lease=3, timeout=10)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@cachewrap("stampede")
def costly(n: int) -> dict[str, int]:
    said = f"computing {os.getpid()}"
    if not seconds.startswith("/"):
        say(said)
        time.sleep(float(seconds))
        return {"n": n}
    with contextlib.suppress(FileExistsError), open(seconds, "x"):
        say(said)
        threading.Event().wait()
    say(said)
    return {"n": n}


say("ready")
sys.stdin.readline()
with ThreadPoolExecutor(int(threads)) as pool:
    answers = list(pool.map(costly, [7] * int(threads)))
say(json.dumps(answers))
