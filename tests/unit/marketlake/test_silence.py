"""Silence: a stall is told from a halt, and neither is seen where nothing is expected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlake.feeds import Topic
from marketlake.settings import StreamSettings
from marketlake.silence import SilenceWatch, Verdict, silence_limits_ns
from marketlake.tickers import AssetClass

S = 1_000_000_000
OPEN, CLOSE = 1_000_000 * S, 1_023_400 * S
T, Q, A, AM, V = Topic
STOCKS = silence_limits_ns(AssetClass.STOCKS, StreamSettings())


def looks(wanted: set[Topic], heard: dict[Topic, range], until_s: int, start_s: int = 0) -> list[tuple[int, Verdict]]:
    """What a look each second after the open comes to, where topics are heard at the given seconds."""
    watch = SilenceWatch(STOCKS)
    watch.listen(OPEN)
    found = []
    for second in range(start_s, until_s):
        now_ns = OPEN + second * S
        watch.hear([topic for topic, seconds in heard.items() if second in seconds], now_ns)
        verdict = watch.look(wanted, (OPEN, CLOSE), now_ns).verdict
        if verdict is not Verdict.WELL:
            found.append((second, verdict))
            if verdict is Verdict.SILENT:
                watch.listen(now_ns)  # it was connected again
    return found


def test_the_limits_are_those_of_the_feed_and_longer_for_minute_bars() -> None:
    limits = {feed: silence_limits_ns(feed, StreamSettings()) for feed in AssetClass}

    assert (10 * S, 150 * S) == (limits[AssetClass.STOCKS][T], limits[AssetClass.STOCKS][AM])
    assert (60 * S, 150 * S) == (limits[AssetClass.INDICES][V], limits[AssetClass.INDICES][AM])
    assert (900 * S, 900 * S) == (limits[AssetClass.OPTIONS][Q], limits[AssetClass.OPTIONS][AM])


def test_a_feed_that_talks_is_well() -> None:
    assert [] == looks(
        {T, Q, A, AM}, {T: range(0, 600, 9), Q: range(600), A: range(0, 600, 8), AM: range(2, 600, 60)}, 600
    )


def test_a_feed_that_falls_silent_is_stalled_and_tried_ever_more_rarely() -> None:
    heard = {T: range(100), Q: range(100)}

    assert [(110, Verdict.SILENT), (131, Verdict.SILENT), (172, Verdict.SILENT)] == looks({T, Q}, heard, 200)


def test_a_bar_that_is_sent_again_does_not_set_the_time_back() -> None:
    watch = SilenceWatch(STOCKS)
    watch.listen(OPEN)
    watch.hear({AM}, OPEN + 1_000 * S)
    watch.hear({AM}, OPEN + 100 * S)

    assert Verdict.WELL is watch.look({AM}, (OPEN, CLOSE), OPEN + 1_020 * S).verdict


def test_after_news_the_limit_is_short_again() -> None:
    heard = {T: range(100, 200), Q: range(100, 200)}

    assert [(11, Verdict.SILENT), (32, Verdict.SILENT), (73, Verdict.SILENT), (210, Verdict.SILENT)] == looks(
        {T, Q}, heard, 215
    )


def test_quotes_without_trades_are_a_halt_until_trades_come_again() -> None:
    heard = {T: range(0, 3_000, 2), Q: range(3_000), A: range(0, 3_000, 2), AM: range(2, 3_000, 60)}
    for topic in (T, A, AM):
        heard[topic] = range(heard[topic].start, 100, heard[topic].step)

    assert [(109, Verdict.HALTED)] == looks({T, Q, A, AM}, heard, 1_000)


def test_what_lasts_for_longer_than_halts_do_is_connected_to_again_once() -> None:
    heard = {T: range(100), Q: range(6_000)}

    assert [(110, Verdict.HALTED), (1_300, Verdict.SILENT)] == looks({T, Q}, heard, 6_000)


def test_bars_of_an_index_that_stay_away_while_its_values_come_are_a_stall() -> None:
    heard = {AM: range(2, 100, 60), V: range(0, 600, 9)}

    assert (213, Verdict.SILENT) == looks({AM, V}, heard, 600)[0], "they are made of the values"


def test_contracts_that_are_not_traded_for_long_are_not_halted() -> None:
    """Of a few contracts that is the usual state, and connecting again and again would lose quotes."""
    watch = SilenceWatch(silence_limits_ns(AssetClass.OPTIONS, StreamSettings()), tells_halts=False)
    watch.listen(OPEN)
    verdicts = []
    for second in range(20_000):
        now_ns = OPEN + second * S
        watch.hear([T, Q, AM] if second < 10 or second == 12_000 else [Q] if second < 18_000 else [], now_ns)
        finding = watch.look({T, Q, AM}, (OPEN, CLOSE), now_ns)
        if finding.verdict is not Verdict.WELL:
            verdicts.append((second, finding.verdict))
            watch.listen(now_ns)

    assert [1_210, 13_201, 18_900] == [second for second, _ in verdicts[:3]], "the last where quotes stay away as well"
    assert {Verdict.SILENT} == {verdict for _, verdict in verdicts}


def test_a_stall_tells_which_topics_stay_away() -> None:
    watch = SilenceWatch(STOCKS)
    watch.listen(OPEN)
    watch.hear({T, AM}, OPEN + 11 * S)

    assert frozenset({Q}) == watch.look({T, Q, AM}, (OPEN, CLOSE), OPEN + 11 * S).topics


def test_trading_that_was_never_halted_does_not_resume() -> None:
    """The vendor's clock tells whole seconds: it can lie before the last trade."""
    watch = SilenceWatch(STOCKS)
    watch.listen(OPEN)
    watch.hear([T, Q], OPEN + S)

    assert watch.look({T, Q}, (OPEN, CLOSE), OPEN).verdict is Verdict.WELL


def test_trading_that_resumes_is_told() -> None:
    watch = SilenceWatch(STOCKS)
    watch.listen(OPEN)
    verdicts = []
    for second in range(400):
        now_ns = OPEN + second * S
        watch.hear([Q] if 100 <= second < 300 else [T, Q], now_ns)
        finding = watch.look({T, Q}, (OPEN, CLOSE), now_ns)
        if finding.verdict is not Verdict.WELL:
            verdicts.append((second, finding.verdict, (finding.since_ns - OPEN) // S))

    assert [(110, Verdict.HALTED, 99), (300, Verdict.RESUMED, 99)] == verdicts


@pytest.mark.parametrize(
    ("wanted", "heard", "first"),
    [
        pytest.param({T, Q}, {T: range(600)}, 11, id="quotes stay away while trades come"),
        pytest.param({T, A}, {T: range(600), A: range(50)}, 60, id="second bars stay away while trades come"),
        pytest.param({T, Q, A}, {Q: range(600), A: range(600)}, 11, id="trades stay away while second bars come"),
        pytest.param({T, AM}, {T: range(600)}, 151, id="minute bars stay away while trades come"),
        pytest.param({AM}, {AM: range(2, 300, 60)}, 393, id="nothing but minute bars, and then none"),
        pytest.param({T}, {}, 11, id="nothing from the beginning"),
    ],
)
def test_a_topic_that_stays_away_is_a_stall(wanted: set[Topic], heard: dict[Topic, range], first: int) -> None:
    assert (first, Verdict.SILENT) == looks(wanted, heard, 600)[0]


def test_nothing_is_silent_outside_of_the_expected_hours() -> None:
    watch = SilenceWatch(STOCKS)
    watch.listen(OPEN - 7_200 * S)
    instants = [OPEN - 3_600 * S, OPEN - 1, OPEN + 10 * S, CLOSE, CLOSE + 3_600 * S]

    assert [Verdict.WELL] * 5 == [watch.look({T}, (OPEN, CLOSE), now_ns).verdict for now_ns in instants]
    assert Verdict.SILENT is watch.look({T}, (OPEN, CLOSE), OPEN + 10 * S + 1).verdict


@given(
    st.lists(st.tuples(st.sets(st.sampled_from([T, Q, A, AM])), st.integers(1, 200)), max_size=60),
    st.sets(st.sampled_from([T, Q, A, AM]), min_size=1),
)
def test_a_feed_is_never_called_silent_before_its_shortest_limit(
    news: list[tuple[set[Topic], int]], wanted: set[Topic]
) -> None:
    watch = SilenceWatch(STOCKS)
    watch.listen(OPEN)
    heard = dict.fromkeys(wanted, OPEN)
    now_ns = OPEN
    for topics, pause_s in news:
        now_ns += pause_s * S
        watch.hear(topics, now_ns)
        heard |= dict.fromkeys(topics & wanted, now_ns)
        finding = watch.look(wanted, (OPEN, CLOSE), now_ns)
        late = {topic for topic in wanted if now_ns - heard[topic] > STOCKS[topic]}
        assert late or finding.verdict not in {Verdict.SILENT, Verdict.HALTED}
