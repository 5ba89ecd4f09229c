"""A dispatcher that belongs to no runner."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

from gearmanny.dispatching.dispatcher import Dispatcher
from gearmanny.dispatching.options import DispatchOptions, Keep
from gearmanny.net.forks import stopped_by_sigterm
from gearmanny.net.hosts import HOSTS, parse_hosts
from gearmanny.net.tls import TLS, TLSOption
from gearmanny.records.contract import Store

logger = logging.getLogger("gearmanny.dispatcher")


def dispatch(
    store: Store,
    hosts: Sequence[str] | None = None,
    *,
    tls: TLSOption = None,
    keep: Keep = DispatchOptions.keep,
    max_unclaimed: int = DispatchOptions.max_unclaimed,
    max_deaths: int | None = DispatchOptions.max_deaths,
) -> None:
    """Hands over recorded jobs until SIGTERM or Ctrl-C. Call this in the main thread.

    Args:
        store: where the records are.
        hosts: job servers, `"name:port"`, `"[::1]:port"` or `"unix:/path"`. Default:
            `localhost:4730`.
        tls: how the job servers are secured: True, a dict with the paths of PEM files `"ca"`,
            `"cert"` and `"key"`, or an `ssl.SSLContext`; None for plain connections.
        keep: seconds for which the records of jobs that have ended are kept. None: for ever. A dict
            may say it for each state, `{"failed": None}`; other states have the default.
        max_unclaimed: jobs of one function that may wait at the job servers; the others wait in
            the database.
        max_deaths: processes that a job may kill, before it is failed instead of run. None: any
            number.

    Raises:
        InvalidOption: a host, a number or `tls` is invalid, or a newer gearmanny made the tables.
        StoreUnavailable: the database cannot be reached.
    """
    options = DispatchOptions(
        hosts=tuple(parse_hosts(HOSTS if hosts is None else hosts)),
        tls=TLS.of(tls),
        keep=keep,
        max_unclaimed=max_unclaimed,
        max_deaths=max_deaths,
    )
    logger.info(
        "dispatching the jobs of the store %s to %s",
        store.id,
        ", ".join(map(str, options.hosts)),
        extra={"action": "dispatching"},
    )
    dispatcher = Dispatcher(store, options)
    with stopped_by_sigterm(dispatcher.stop), contextlib.suppress(KeyboardInterrupt):
        dispatcher.run()
