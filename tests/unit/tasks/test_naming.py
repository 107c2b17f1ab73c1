import pytest
from prefect.runtime import flow_run

from tasks.naming import named


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"start": None, "end": None}, "backfill"),
        ({"start": "2025-08-29", "end": None}, "backfill 2025-08-29"),
        ({"start": "2025-08-29", "end": "2025-08-29"}, "backfill 2025-08-29"),
        ({"start": "2025-08-28", "end": "2025-08-29"}, "backfill 2025-08-28 to 2025-08-29"),
    ],
)
def test_a_run_is_called_after_what_was_asked(
    given: dict[str, str | None], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(flow_run.FIELDS, "parameters", lambda: given)

    assert name == named("backfill", "start", "end", between=" to ")()
