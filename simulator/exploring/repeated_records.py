"""Keeps a search through many seeds from logging the same again with each of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["logged_once"]

_PACKAGES = ("meshsync", "simulator")


class _Repeated(logging.Filter):
    """Lets a record through the first time only."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[object, ...]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        key: tuple[object, ...] = (record.name, record.levelno, record.getMessage())
        if record.exc_info and record.exc_info[1] is not None:
            _, error, trace = record.exc_info
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            # Of an exception the place tells, since its text may have a number that each seed draws anew.
            place = None if trace is None else (trace.tb_frame.f_code, trace.tb_lineno)
            key = (record.name, record.levelno, record.msg, type(error), place)
        self.seen[key] += 1
        return self.seen[key] == 1


@contextmanager
def logged_once() -> Iterator[None]:
    """Within the block, log of both packages each text once, and each exception once for the line that raised it.

    The loggers of both packages that exist at its beginning are meant; at its end the rest is counted in one record.
    """
    known = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _PACKAGES]
    repeated = _Repeated()
    for name in known:
        logging.getLogger(name).addFilter(repeated)
    try:
        yield
    finally:
        for name in known:
            logging.getLogger(name).removeFilter(repeated)
        more = sum(repeated.seen.values()) - len(repeated.seen)
        if more:
            logging.getLogger("simulator.exploring").warning("%d records that repeat these were left out", more)
