"""What a feed should have brought of a session, and nobody recorded: the stream alone has it, so it is gone for good.

What was recorded is healed by :mod:`marketlake.healing`, which labels the rest of it.
"""

from datetime import date

from marketlake.desk import Desk
from marketlake.feeds import Subscription, table_of
from marketlake.tables import TABLES, Partition
from marketlake.tickers import AssetClass
from marketlake.wanted import configured_subscriptions


def unrecorded(feed: AssetClass, session: date, desk: Desk) -> frozenset[Subscription]:
    """What is switched on of a feed, has no history, was recorded on an earlier session, and has no record of this one.

    Of the options' feed nothing is: which contracts were chosen is not a setting.
    """
    sources = desk.settings.sources
    if feed is AssetClass.OPTIONS or not sources.streams[feed]:
        return frozenset()
    found = set()
    for subscription in configured_subscriptions(feed, sources, ()):
        table = TABLES[table_of(subscription)[0]]
        if not table.over_rest:
            partition = Partition.of_session(table, subscription.ticker, session)
            known = desk.lake.partitions(table, partition.owner)
            if partition not in known and any(item.session < session for item in known):
                found.add(subscription)
    return frozenset(found)
