"""Fixtures of whole clients over real sockets, and the table of releases."""

import pytest

from tests.interop.company import enter, meet, pool, served
from tests.interop.matrix import Matrix, page_to_write
from tests.support.rooms import emulated, join, server

__all__ = ["emulated", "enter", "join", "meet", "pool", "served", "server"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to write the table down."""
    parser.addoption(
        "--write-matrix", action="store_true", help="write the table of SDK releases into docs/compatibility.md"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Have the table filled."""
    config.addinivalue_line("markers", "step(title): fills a column of the table of SDK releases")
    config.pluginmanager.register(Matrix(page_to_write(config)), "matrix")
