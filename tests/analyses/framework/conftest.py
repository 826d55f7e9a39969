"""What the tests of the framework share."""

import pytest

from tests.analyses.framework import toy_analysis


@pytest.fixture(scope="session")
def fork_server() -> None:
    """The process that `toy_analysis.start` forks from has imported everything, so that no test pays for it."""
    toy_analysis.start_server()
