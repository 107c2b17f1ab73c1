"""Great Expectations is imported once, before any test asks for it."""

import warnings

import pytest


@pytest.fixture(scope="session", autouse=True)
def _great_expectations() -> None:
    """Its import uses modules whose names Python has deprecated; that is not in our hands."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations  # noqa: F401, PLC0415
