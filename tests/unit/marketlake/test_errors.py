import inspect
import pickle
from datetime import date

import pytest

from marketlake import errors

EXAMPLES = [
    errors.ConfigurationError("config/sources.yaml", "vendor.plan", "must be one of free, starter"),
    errors.UsageError("there is no table 'stonks'"),
    errors.VendorError("GET /v2/x", "said nothing"),
    errors.VendorUnavailable("GET /v2/x", "connection refused"),
    errors.RateLimited("GET /v2/x", "429 for 120 s"),
    errors.BrokenAnswer("GET /v2/x", "no JSON"),
    errors.PaginationError("GET /v2/x", "next_url points to itself"),
    errors.NotEntitled("GET /v2/x", "not entitled"),
    errors.KeyRefused("GET /v2/x", "Unknown API Key"),
    errors.TooManyConnections("stocks stream", "maximum exceeded"),
    errors.RequestRefused("GET /v2/x", "not found"),
    errors.HealFellShort("stock_bars SPY 2025-08-29", "history lacks 2 of 9 streamed rows"),
    errors.OpeningMissing("opening price of SPY on 2025-08-29", "nobody told it"),
    errors.ReplayFailed("heal --start 2025-08-29", "no space left", "replay/heal.log"),
    errors.ReplayDiffers(("stock_bars SPY 2025-08-29",), "replay"),
    errors.SessionUnheard(date(2025, 8, 29), ("stocks: no recorder has reported",)),
    errors.RecorderFailed(3, "KeyRefused: Unknown API Key", "spool/stocks/recorder.log"),
    errors.LakeError("raw/x", "no space left"),
    errors.StoreUnavailable("raw/x", "no space left on device"),
    errors.LeaseHeld("raw/x", "held by another until noon"),
    errors.RecordMismatch("raw/x", "differs"),
    errors.CheckFailed("stock_bars SPY 2025-08-29", ("columns",)),
    errors.BatchesFailed((("stock_bars SPY", errors.KeyRefused("GET /x", "no")),), {"batches": 2}),
]
TRANSIENT = {
    errors.VendorUnavailable,
    errors.RateLimited,
    errors.BrokenAnswer,
    errors.StoreUnavailable,
    errors.LeaseHeld,
}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_with_its_sentence(error: errors.MarketlakeError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert type(error) is type(copy)
    assert str(error) == str(copy)


def test_every_error_class_is_an_example_here_and_drawn_in_the_tree() -> None:
    classes = {item for _, item in inspect.getmembers(errors, inspect.isclass) if item.__module__ == errors.__name__}

    assert classes - {errors.MarketlakeError} == {type(error) for error in EXAMPLES}
    assert all(item.__name__ in (errors.__doc__ or "") for item in classes)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_only_outages_are_worth_asking_again(error: errors.MarketlakeError) -> None:
    assert (type(error) in TRANSIENT) == errors.is_transient(error)


def test_a_vendor_error_says_what_to_do() -> None:
    assert "POLYGON_API_KEY" in str(errors.KeyRefused("GET /v2/x", "Unknown API Key"))
