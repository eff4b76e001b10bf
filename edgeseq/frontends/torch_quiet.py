"""Silence for the duration of an export: torch warns and logs about what the user cannot change."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop warnings and torch's log lines inside the block; failures are raised, not logged."""
    handlers = _handlers()
    for handler in handlers:
        handler.addFilter(_drop)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for handler in handlers:
            handler.removeFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
    return not record.name.startswith(("torch", "onnxscript", "onnx_ir"))


def _handlers() -> set[logging.Handler]:
    known = logging.root.manager.loggerDict.values()
    loggers = [logging.root, *(one for one in known if isinstance(one, logging.Logger))]
    handlers = {handler for logger in loggers for handler in logger.handlers}
    if logging.lastResort is not None:
        handlers.add(logging.lastResort)
    return handlers
