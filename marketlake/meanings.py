"""What every column and every closed word of the lake means, written down once.

Names, types, keys and folders are declared in :mod:`marketlake.tables`; what a value may be is the business of the
rules (docs/quality-rules.md). The page for people is made from this by :mod:`marketlake.dictionary`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from marketlake.ledger import How, Lack
from marketlake.selection import OpeningSource
from marketlake.tables import YIELD_MONTHS, PriceSource, Reason, Refusal, Span

ANY: Final = "*"
NEVER: Final = "never"
_QUIET: Final = "no eligible trade made a bar of that minute"
_NOT_COMPUTED: Final = "the vendor could not compute it: deep in the money, or without a quote"
_NO_DAY: Final = "the vendor shows no day on which the contract traded"
_NO_QUOTE: Final = "there is no quote, or the key's plan has none"
_NO_TRADE: Final = "there never was a trade, or the key's plan has none"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a column says, and when it is null."""

    what: str
    null: str = NEVER


TABLE_MEANINGS: Final[Mapping[str, str]] = {
    "stock_bars": "Bars of a share, unadjusted for splits and dividends, over the whole New York day: pre-market, "
    "regular hours and post-market.",
    "stock_trades": "Every trade of a share that the tape reported in the New York day, corrected ones included.",
    "stock_quotes": "Every change of a share's national best bid and offer in the New York day.",
    "index_bars": "Bars of an index's values over the whole New York day.",
    "index_values": "Every value of an index that the stream sent in the New York day. REST has no history of them: "
    "what was not received is labelled unavailable in the ledger.",
    "option_bars": "Bars of the asked-for contracts of an underlying, unadjusted. A minute without a trade has no bar.",
    "option_trades": "Every trade of the asked-for contracts that the tape reported in the New York day.",
    "option_quotes": "Every change of the asked-for contracts' national best bid and offer in the New York day.",
    "option_contracts": "Every contract on the underlying that was listed on the session and had not expired before "
    "it, as the vendor lists them as of that date, and which of them are chosen.",
    "option_snapshots": "Every listed contract of the underlying as the vendor showed it once the session had settled "
    "and before the next pre-market: open interest, the vendor's own volatility and Greeks, the newest bar, quote and "
    "trade. The vendor has no history of it: a session of which none was taken in time stays unavailable. A contract "
    "that expires on the session is missing where it was taken after midnight.",
    "news": "One row an article and ticker that it names: articles that name the underlying, from the end of the "
    "previous session's New York day to the end of this one's, so that a weekend belongs to Monday.",
    "dividends": "Every cash dividend of a share that the vendor knows; fetched and replaced whole.",
    "splits": "Every split of a share that the vendor knows; fetched and replaced whole.",
    "treasury_yields": "US Treasury par yields (constant maturities), percent a year, bond-equivalent; one row a "
    "business day.",
    "market_minutes": "One row for each minute of the shares' regular hours (390, or 210 on a half day), traded in or "
    "not. A row knows what was known at the end of its minute and nothing later.",
    "option_minutes": "One row for each contract and minute of the contract's regular hours (SPY and other broad funds "
    "and indices trade 15 minutes longer than shares): the chosen contracts, and all others of which the lake holds a "
    "bar, quote or trade of the session; calls and puts only. A row knows what was known at the end of its minute and "
    "nothing later. It has an implied volatility and Greeks, or a reason.",
}

COLUMN_MEANINGS: Final[Mapping[tuple[str, str], Meaning]] = {
    # What identifies a row.
    (ANY, "ticker"): Meaning("the vendor's symbol: `SPY`, `I:VIX`, `O:SPY250919C00650000`"),
    ("news", "ticker"): Meaning("a ticker that the article names; the underlying's, and every other one"),
    (ANY, "minute"): Meaning("start of the minute; 13:30 UTC in summer is 09:30 in New York"),
    # Bars.
    (ANY, "span"): Meaning("length of the bar: `second`, `minute` or `day`"),
    (ANY, "start"): Meaning(
        "start of the bar. A day's bar starts at midnight of the ticker's own exchange: in New York, and for an index "
        "in Chicago (01:00 in New York)"
    ),
    (ANY, "open"): Meaning("first price of the bar, dollars a share or points of an index"),
    (ANY, "high"): Meaning("highest price of the bar"),
    (ANY, "low"): Meaning("lowest price of the bar"),
    (ANY, "close"): Meaning("last price of the bar"),
    (ANY, "volume"): Meaning(
        "shares or contracts traded in the bar; may have a fraction since 2026", "the vendor gives none: an index"
    ),
    (ANY, "vwap"): Meaning(
        "price weighted by volume over the bar; odd lots count here and not in high and low", "the vendor gives none"
    ),
    (ANY, "trades"): Meaning("how many trades made the bar", "the vendor gives none: an index"),
    # Index values.
    (ANY, "event_time"): Meaning("when the index was computed, as the vendor stamps it"),
    (ANY, "value"): Meaning("the value of the index, points"),
    # Trades and quotes.
    (ANY, "sip_timestamp"): Meaning("when the consolidated tape stamped it; the instant from which it counts as known"),
    (ANY, "participant_timestamp"): Meaning("when the exchange made it", "the vendor gives none"),
    (ANY, "trf_timestamp"): Meaning(
        "when the trade reporting facility received it; may lie minutes from the tape's time",
        "not an off-exchange report",
    ),
    (ANY, "trf_id"): Meaning("the vendor's number of the trade reporting facility", "not an off-exchange report"),
    (ANY, "exchange"): Meaning("the vendor's number of the exchange; 4 is off-exchange, told apart by `trf_id`"),
    ("stock_trades", "id"): Meaning("the exchange's number of the trade", "the vendor gives none"),
    ("option_trades", "id"): Meaning("the exchange's number of the trade", "the vendor gives none"),
    (ANY, "sequence_number"): Meaning(
        "order on the tape: rises within a ticker and day, with holes, and starts again each day",
        "the vendor gives none",
    ),
    (ANY, "price"): Meaning("dollars a share or a contract's unit, as reported"),
    (ANY, "size"): Meaning("shares or contracts; rounded where the trade had a fraction"),
    (ANY, "decimal_size"): Meaning(
        "exact size with its fraction, as decimal text", "the vendor gives none: before 2026"
    ),
    (ANY, "conditions"): Meaning("the vendor's condition codes", "plain: without any condition"),
    ("stock_trades", "correction"): Meaning(
        "0 where the trade stands; else it was corrected, cancelled or replaced, or is the notice that does so",
        "the trade stands",
    ),
    ("option_trades", "correction"): Meaning(
        "0 where the trade stands; else it was corrected, cancelled or replaced, or is the notice that does so; such "
        "rows price nothing",
        "the trade stands",
    ),
    (ANY, "tape"): Meaning(
        "the tape: 1 New York, 2 Arca and others (SPY), 3 Nasdaq", "the vendor gives none: an option"
    ),
    (ANY, "bid_price"): Meaning("best bid, dollars; 0 where the side is missing", "the vendor gives none"),
    (ANY, "bid_size"): Meaning("size at the bid, as the vendor counts it", "the vendor gives none"),
    (ANY, "bid_exchange"): Meaning(
        "the vendor's number of the bidding exchange; 0 where none", "the vendor gives none"
    ),
    (ANY, "ask_price"): Meaning("best ask, dollars; 0 where the side is missing", "the vendor gives none"),
    (ANY, "ask_size"): Meaning("size at the ask, as the vendor counts it", "the vendor gives none"),
    (ANY, "ask_exchange"): Meaning("the vendor's number of the asking exchange; 0 where none", "the vendor gives none"),
    (ANY, "indicators"): Meaning("the vendor's indicator codes", "the quote has none"),
    # Contracts.
    (ANY, "expiry"): Meaning("expiration date"),
    (ANY, "strike"): Meaning("strike price, dollars a share or points of an index; exact"),
    (ANY, "right"): Meaning("`call` or `put`"),
    ("option_contracts", "right"): Meaning("`call` or `put`", 'the vendor says "other"'),
    (ANY, "shares_per_contract"): Meaning(
        "units that one contract delivers; 100 unless adjusted", "the vendor gives none"
    ),
    (ANY, "exercise_style"): Meaning("`american`, `european` or `bermudan`", "the vendor gives none"),
    (ANY, "primary_exchange"): Meaning("market identifier code of the listing exchange", "the vendor gives none"),
    (ANY, "cfi"): Meaning("ISO 10962 classification, such as `OCASPS`", "the vendor gives none"),
    ("option_contracts", "correction"): Meaning(
        "the vendor's correction number of the contract", "the vendor gives none"
    ),
    (ANY, "additional_underlyings"): Meaning(
        "what else an adjusted contract delivers, JSON as sent", "nothing else: every standard contract"
    ),
    (ANY, "chosen"): Meaning("whether the contract is among those that are watched in the session"),
    (ANY, "rank"): Meaning(
        "place in the order of choice, from 1, over all contracts inside the strike range: expiry, distance from the "
        "opening price, strike, call before put",
        "refused before ordering: any refusal but `beyond_limit`; or chosen around a later price alone "
        "(`selection.recentre_percent`)",
    ),
    (ANY, "refusal"): Meaning("why the contract was not chosen (see Refusal)", "chosen"),
    (ANY, "opening_price"): Meaning("the opening price by which was chosen, the same in every row", "there was none"),
    (ANY, "opening_price_source"): Meaning("where that price came from (see OpeningSource)", "there was none"),
    # Snapshots.
    ("option_snapshots", "right"): Meaning("`call` or `put`", 'the vendor says "other"'),
    (ANY, "open_interest"): Meaning(
        "contracts held at the end of the last trading day that the vendor had counted when it was asked: as a rule "
        "the day before the session, since the clearing house counts overnight",
        "the vendor gives none",
    ),
    (ANY, "vendor_implied_volatility"): Meaning(
        "the vendor's volatility a year (0.2 is 20 percent), by a model that it does not publish; not the "
        "`implied_volatility` that is computed here",
        _NOT_COMPUTED,
    ),
    (ANY, "vendor_delta"): Meaning("the vendor's delta", _NOT_COMPUTED),
    (ANY, "vendor_gamma"): Meaning("the vendor's gamma", _NOT_COMPUTED),
    (ANY, "vendor_theta_per_day"): Meaning(
        "the vendor's theta: change of the price, dollars, for a day gone by (the unit that its samples show)",
        _NOT_COMPUTED,
    ),
    (ANY, "vendor_vega_per_point"): Meaning(
        "the vendor's vega: change of the price, dollars, for 0.01 of volatility (the unit that its samples show)",
        _NOT_COMPUTED,
    ),
    (ANY, "break_even_price"): Meaning(
        "the underlying's price at expiry at which a buyer at the contract's newest price neither wins nor loses",
        "the vendor gives none: it knows no price",
    ),
    ("option_snapshots", "open"): Meaning("first price of the day of `day_updated`, dollars", _NO_DAY),
    ("option_snapshots", "high"): Meaning("highest price of that day", _NO_DAY),
    ("option_snapshots", "low"): Meaning("lowest price of that day", _NO_DAY),
    ("option_snapshots", "close"): Meaning("last price of that day", _NO_DAY),
    ("option_snapshots", "volume"): Meaning("contracts traded on that day", _NO_DAY),
    ("option_snapshots", "vwap"): Meaning("price weighted by volume over that day", _NO_DAY),
    (ANY, "previous_close"): Meaning("last price of the day before that one", "the vendor gives none"),
    (ANY, "day_updated"): Meaning(
        "when the vendor changed the day's bar last; it may give midnight, and a day before the session where the "
        "contract did not trade on that",
        _NO_DAY,
    ),
    ("option_snapshots", "bid_price"): Meaning(
        "bid of the newest quote, dollars; 0 where the side is missing", _NO_QUOTE
    ),
    ("option_snapshots", "bid_size"): Meaning("size at that bid, as the vendor counts it", _NO_QUOTE),
    ("option_snapshots", "bid_exchange"): Meaning("the vendor's number of its exchange", _NO_QUOTE),
    ("option_snapshots", "ask_price"): Meaning("ask of the same quote; 0 where the side is missing", _NO_QUOTE),
    ("option_snapshots", "ask_size"): Meaning("size at that ask", _NO_QUOTE),
    ("option_snapshots", "ask_exchange"): Meaning("the vendor's number of its exchange", _NO_QUOTE),
    (ANY, "quote_updated"): Meaning("when that quote was made", _NO_QUOTE),
    (ANY, "trade_price"): Meaning("price of the newest trade, dollars", _NO_TRADE),
    (ANY, "trade_size"): Meaning("contracts of that trade", _NO_TRADE),
    (ANY, "trade_exchange"): Meaning("the vendor's number of its exchange", _NO_TRADE),
    (ANY, "trade_conditions"): Meaning("its condition codes", _NO_TRADE),
    (ANY, "trade_sip_timestamp"): Meaning("when the consolidated tape stamped it; may lie days back", _NO_TRADE),
    ("option_snapshots", "underlying_price"): Meaning(
        "the underlying's newest price, dollars, or the index's value, as the vendor shows it beside the contract",
        "the key's plan has none of the underlying",
    ),
    (ANY, "underlying_updated"): Meaning("when that price was made", "`underlying_price` is null"),
    # News.
    ("news", "id"): Meaning("the vendor's id of the article; the same in each of its rows"),
    (ANY, "published"): Meaning("when it was published, as the vendor says, in whole seconds"),
    (ANY, "title"): Meaning("headline"),
    (ANY, "author"): Meaning("author", "the vendor gives none"),
    (ANY, "publisher"): Meaning("name of the publisher", "the vendor gives none"),
    (ANY, "article_url"): Meaning("where the article stands", "the vendor gives none"),
    (ANY, "description"): Meaning("summary", "the vendor gives none"),
    (ANY, "keywords"): Meaning("the vendor's keywords", "the vendor gives none"),
    (ANY, "sentiment"): Meaning(
        "`positive`, `neutral` or `negative`: the vendor's word about this ticker, else VADER's about the article"
    ),
    (ANY, "sentiment_source"): Meaning("whose word that is (see SentimentSource)"),
    (ANY, "sentiment_reasoning"): Meaning("the vendor's sentence about why", "the vendor has none for this ticker"),
    (ANY, "sentiment_compound"): Meaning(
        "VADER's compound score of title and description, from -1 to 1", "the sentiment is the vendor's"
    ),
    # Reference.
    ("dividends", "id"): Meaning("the vendor's id of the dividend", "the vendor gives none: older rows"),
    (ANY, "ex_dividend_date"): Meaning("from its open on the share trades without the dividend"),
    (ANY, "declaration_date"): Meaning(
        "when it was announced; used by a session only if earlier",
        "the vendor gives none; then used from the ex-date on",
    ),
    (ANY, "record_date"): Meaning("who holds on it is paid", "the vendor gives none"),
    (ANY, "pay_date"): Meaning("when it is paid", "the vendor gives none"),
    (ANY, "cash_amount"): Meaning("amount a share, in `currency`, unadjusted for later splits"),
    (ANY, "currency"): Meaning("ISO 4217 code; only USD prices options", "the vendor gives none; taken for USD"),
    (ANY, "frequency"): Meaning("payments a year; 0 is a single one", "the vendor gives none"),
    (ANY, "dividend_type"): Meaning(
        "`CD` regular, `SC` special, `LT` and `ST` long- and short-term capital gains", "the vendor gives none"
    ),
    ("splits", "id"): Meaning("the vendor's id of the split", "the vendor gives none"),
    (ANY, "execution_date"): Meaning("from its open on the share trades split"),
    (ANY, "split_from"): Meaning("so many old shares"),
    (ANY, "split_to"): Meaning("became so many new ones"),
    (ANY, "date"): Meaning(
        "day of the curve; it is published after that day's close, so a session uses an earlier one"
    ),
    **{
        (ANY, name): Meaning(
            f"par yield to {months // 12} year{'s' * (months > 12)}, percent a year"
            if months >= 12
            else f"par yield to {months} month{'s' * (months > 1)}, percent a year",
            "not quoted on that day",
        )
        for name, months in YIELD_MONTHS.items()
    },
    # Market minutes.
    ("market_minutes", "open"): Meaning("of the underlying's minute bar of this very minute", _QUIET),
    ("market_minutes", "high"): Meaning("of the same bar", _QUIET),
    ("market_minutes", "low"): Meaning("of the same bar", _QUIET),
    ("market_minutes", "close"): Meaning("of the same bar", _QUIET),
    ("market_minutes", "volume"): Meaning("of the same bar", f"{_QUIET}, or the underlying is an index"),
    ("market_minutes", "vwap"): Meaning("of the same bar", f"{_QUIET}, or the vendor gives none"),
    ("market_minutes", "trades"): Meaning("of the same bar", f"{_QUIET}, or the underlying is an index"),
    (ANY, "last_price"): Meaning(
        "close of the underlying's last minute bar that had ended by the end of the minute, pre-market included",
        "that bar is older than `consolidation.max_underlying_age_s`, or there is none yet",
    ),
    (ANY, "last_price_age_s"): Meaning(
        "seconds from the end of that bar to the end of the minute; 0 where the minute has its own bar",
        "`last_price` is null",
    ),
    (ANY, "vix"): Meaning(
        "close of I:VIX's last minute bar of the day that had ended by the end of the minute; until the day has shown "
        "one, the previous session's daily close",
        "that minute bar is older than `consolidation.max_vix_age_s`, or the lake holds neither",
    ),
    (ANY, "vix_age_s"): Meaning(
        "seconds from the end of that bar to the end of the minute; of a daily close, from 16:15 New York of its "
        "session (13:15 on a half day), to which no limit applies",
        "`vix` is null",
    ),
    (ANY, "news_count_60m"): Meaning(
        "articles about the underlying that became known in the 60 minutes up to the end of the minute, the end "
        "included; known is publication plus `consolidation.news_lag_s`",
        "the lake holds no news of the session",
    ),
    (ANY, "news_sentiment_60m"): Meaning(
        "mean of their sentiments, the vendor's or, where it has none, VADER's: positive 1, neutral 0, negative -1",
        "no article became known in that hour",
    ),
    (ANY, "session_vwap"): Meaning(
        "average from the first regular bar of the session to this one, each bar's own vwap (where it has none, "
        "(high + low + close) / 3) weighted by its volume",
        "the minute has no bar, or the bars have no volume: an index",
    ),
    (ANY, "rsi_14"): Meaning(
        "relative strength index of the closes over 14 bars, Wilder's smoothing, 0 to 100",
        "the minute has no bar, or it is one of the first 14",
    ),
    (ANY, "macd_12_26_9"): Meaning(
        "difference of the exponential averages of the closes over 12 and 26 bars, dollars",
        "the minute has no bar, or it is one of the first 33",
    ),
    (ANY, "macd_signal_12_26_9"): Meaning("exponential average of that over 9 bars", "as `macd_12_26_9`"),
    (ANY, "macd_histogram_12_26_9"): Meaning("the former less the latter", "as `macd_12_26_9`"),
    (ANY, "bollinger_lower_20_2"): Meaning(
        "middle less two standard deviations (of the population, divided by 20)",
        "the minute has no bar, or it is one of the first 19",
    ),
    (ANY, "bollinger_middle_20_2"): Meaning("mean of the closes of 20 bars", "as `bollinger_lower_20_2`"),
    (ANY, "bollinger_upper_20_2"): Meaning("middle plus two standard deviations", "as `bollinger_lower_20_2`"),
    (ANY, "atr_14"): Meaning(
        "average true range over 14 bars, Wilder's smoothing, dollars",
        "the minute has no bar, or it is one of the first 14",
    ),
    (ANY, "momentum_returns"): Meaning(
        "`last_price` over `last_price` 1, 5, 15, 30 and 60 minutes before, each less one, in this order",
        "never; an element is, where the session is not that old or either price is null",
    ),
    # Option minutes.
    ("option_minutes", "open"): Meaning("of the contract's minute bar of this very minute, dollars", _QUIET),
    ("option_minutes", "high"): Meaning("of the same bar", _QUIET),
    ("option_minutes", "low"): Meaning("of the same bar", _QUIET),
    ("option_minutes", "close"): Meaning("of the same bar", _QUIET),
    ("option_minutes", "volume"): Meaning("contracts traded in the same bar", _QUIET),
    ("option_minutes", "bid_price"): Meaning(
        "bid of the contract's last quote stamped before the end of the minute",
        "the side is missing, the quote is older than `consolidation.max_price_age_s`, or there is none yet",
    ),
    ("option_minutes", "ask_price"): Meaning("ask of the same quote", "as `bid_price`"),
    ("option_minutes", "bid_size"): Meaning("size at its bid", "`bid_price` is null"),
    ("option_minutes", "ask_size"): Meaning("size at its ask", "`ask_price` is null"),
    (ANY, "quote_age_s"): Meaning(
        "seconds from that quote's `sip_timestamp` to the end of the minute",
        "that quote is older than `consolidation.max_price_age_s`, or there is none yet",
    ),
    (ANY, "underlying_price"): Meaning(
        "close of the underlying's last minute bar that had ended by the end of the minute",
        "that bar is older than `consolidation.max_underlying_age_s`, or there is none yet",
    ),
    (ANY, "underlying_age_s"): Meaning(
        "seconds from the end of that bar to the end of the minute", "`underlying_price` is null"
    ),
    (ANY, "option_price"): Meaning(
        "the price from which the volatility is implied, dollars a unit (a contract is 100 of them): the first of the "
        "sources under PriceSource that is not older than `consolidation.max_price_age_s`",
        "no source is young enough",
    ),
    (ANY, "price_source"): Meaning("which one it was (see PriceSource)", "`option_price` is null"),
    (ANY, "price_age_s"): Meaning(
        "seconds from the moment that price was known (quote and trade: tape's time; bar: its end) to the end of the "
        "minute",
        "`option_price` is null",
    ),
    (ANY, "years_to_expiry"): Meaning(
        "time from the end of the minute to the shares' close on the expiry date, in years of 365 days; 0 once it has "
        "passed. The monthly roots SPX, NDX, RUT, VIX and VIXW end at that day's open"
    ),
    (ANY, "rate"): Meaning(
        "riskless rate to expiry, a year, continuously compounded (0.04 is 4 percent): par yields of the last Treasury "
        "curve dated before the session, each y turned into 2 ln(1 + y/2), linear between maturities, flat beyond them",
        "the lake holds no curve of the seven days before the session",
    ),
    (ANY, "dividends_present_value"): Meaning(
        "what the escrowed model takes off the underlying's price, dollars a share: dividends in USD known before the "
        "session that go ex after it and no later than the expiry date, each discounted from its ex-date",
        "the lake holds no dividends of the underlying (an index has none) or no curve; the price is then taken to "
        "hold none",
    ),
    (ANY, "implied_volatility"): Meaning(
        "volatility a year (0.2 is 20 percent) at which Black-Scholes, European, on `underlying_price` less "
        "`dividends_present_value`, gives `option_price`",
        "there is a `reason`",
    ),
    (ANY, "delta"): Meaning("change of the option's price for a dollar of the underlying", "there is a `reason`"),
    (ANY, "gamma"): Meaning("change of delta for a dollar of the underlying", "there is a `reason`"),
    (ANY, "vega_per_point"): Meaning("change of the price, dollars, for 0.01 of volatility", "there is a `reason`"),
    (ANY, "theta_per_day"): Meaning(
        "change of the price, dollars, for a calendar day (a 365th of a year) gone by, the dividends' present value "
        "held",
        "there is a `reason`",
    ),
    (ANY, "rho_per_point"): Meaning(
        "change of the price, dollars, for 0.01 of rate, the dividends' present value held", "there is a `reason`"
    ),
    (ANY, "reason"): Meaning(
        "why there is no implied volatility (see Reason); of several, the first in the order given there",
        "there is an implied volatility",
    ),
}

QUARANTINE_MEANINGS: Final[Mapping[str, Meaning]] = {
    "rule": Meaning("the first rule that refused the row, of docs/quality-rules.md; or one of those named below"),
    "raw": Meaning("the row's JSON as it came"),
    "page": Meaning(
        "path of the captured page in which it stood, under the lake's root; of the stream the captured file, `#` and "
        "the byte at which the frame ends in it",
        "the page is not known",
    ),
    "position": Meaning("its place in that page's `results` or that frame, from 0", "the page is not known"),
}

CLOSED_WORDS: Final[Mapping[type[StrEnum], tuple[str, Mapping[str, str]]]] = {
    Reason: (
        "`option_minutes.reason`: why a row has no implied volatility. The first that applies, in this order.",
        {
            Reason.EXPIRED: "Less than 30 milliseconds are left to expiry: the contract's time value has ended.",
            Reason.NOT_COLLECTED: "No price by then, and neither the contract's minute bars nor its quotes nor its "
            "trades of the session were collected to the end (`marketlake backfill` does).",
            Reason.NO_PRICE: "The day has shown neither a trade, nor a bar, nor a last quote that gives a price by "
            "then, or the price is 0.",
            Reason.STALE_PRICE: "There was a price, and every one is older than `consolidation.max_price_age_s`.",
            Reason.NO_UNDERLYING_PRICE: "The underlying has no price that is young enough, or one that is no more than "
            "the dividends' present value.",
            Reason.NO_RATE: "The lake holds no Treasury curve of the seven days before the session.",
            Reason.BELOW_INTRINSIC: "The price is not 1e-8 dollars above the intrinsic value: no volatility gives it. "
            "American options whose early exercise is near are quoted so.",
            Reason.ABOVE_MAXIMUM: "The price reaches what an infinite volatility gives: the underlying's price less "
            "its dividends for a call, the discounted strike for a put.",
        },
    ),
    PriceSource: (
        "`option_minutes.price_source`: where the price came from, in order of preference.",
        {
            PriceSource.QUOTE_MID: "Middle of the last quote, where that one has both sides and is not crossed.",
            PriceSource.LAST_TRADE: "The last trade that stands (`correction` null or 0).",
            PriceSource.BAR_CLOSE: "Close of the last minute bar.",
        },
    ),
    Refusal: (
        "`option_contracts.refusal`: why a contract was not chosen. The first that applies, in this order.",
        {
            Refusal.NO_OPENING_PRICE: "The underlying has no minute bar in the session's regular hours.",
            Refusal.ADJUSTED: "Another root than the underlying's, not exactly 100 units, or a further deliverable.",
            Refusal.NOT_CALL_OR_PUT: 'The vendor says "other".',
            Refusal.OTHER_EXPIRY: "Not one of the nearest `selection.expiries` expiries, or it ends at this session's "
            "open.",
            Refusal.STRIKE_OUT_OF_RANGE: "Farther from the opening price than `selection.range_percent`.",
            Refusal.BEYOND_LIMIT: "Inside the range, and behind the first `selection.limit` there.",
        },
    ),
    OpeningSource: (
        "`option_contracts.opening_price_source`: where the opening price came from.",
        {
            OpeningSource.OPENING_BAR: "`open` of the minute bar of 09:30 New York.",
            OpeningSource.FIRST_BAR: "`open` of the first later minute bar of regular hours: nothing eligible traded "
            "at 09:30.",
            OpeningSource.STREAM_OPEN: "`op` of a streamed bar: the choice was made while the session ran, and history "
            "did not tell the bar of 09:30 in time.",
            OpeningSource.FIRST_TRADE: "Price of the first streamed trade of regular hours whose conditions let it set "
            "an opening price: likewise, and no bar had said it.",
        },
    ),
    Span: (
        "`span` of a bar.",
        {Span.SECOND: "One second.", Span.MINUTE: "One minute.", Span.DAY: "One trading date."},
    ),
    How: (
        "`how` of a ledger record's coverage: how it is known what happened in a stretch of time.",
        {
            How.HALTED: "Trading was halted: quotes or values came and no trade, and history has none either. "
            "Never of options, of which a few contracts have long pauses on any day.",
            How.STREAMED: "Received live, and nothing was lost between its start and its end.",
            How.HEALED: "A gap of the stream, filled over REST.",
            How.VERIFIED_EMPTY: "Asked over REST, answered completely, and no row came.",
            How.BACKFILLED: "Asked over REST, answered completely, and at least one row came.",
            How.UNAVAILABLE: "Asked, and not to be had: a whole session of a share or an index without one minute "
            "bar is beyond the vendor's history or the key's plan, not silent (`backfill --refresh` asks again); a "
            "gap of a stream that no history has; or what only the vendor's present has (see Lack).",
        },
    ),
    Lack: (
        "`reason` of a ledger record's coverage that is unavailable: why there is no snapshot of a session.",
        {
            Lack.SESSION_PAST: "Nobody asked between the session's settlement and 03:30 New York of the next session's "
            "day; the vendor shows another session since, and has no history.",
            Lack.NOT_IN_PLAN: "The key's plan does not have snapshots. `backfill --refresh` asks again, as long as "
            "the session has not passed.",
        },
    ),
}
"""By enumeration, what it is about and what each value means, in the enumeration's order."""


def meaning_of(table: str, column: str) -> Meaning:
    """The meaning of a column: the table's own, else the one that it has everywhere.

    Raises:
        KeyError: nobody wrote down what the column means.
    """
    own = COLUMN_MEANINGS.get((table, column))
    return COLUMN_MEANINGS[ANY, column] if own is None else own
