"""The command line: `marketlake`, also `python -m flows`.

Each command reads its words, calls a flow or one function, and prints what came back. Everything heavy is imported by
the command that needs it, so that `marketlake --help` is instant.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click

DATE = click.DateTime(formats=["%Y-%m-%d"])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(context: click.Context) -> None:
    """Collect the market data behind one underlying and its options, prove it complete, and align it."""
    # The demo sets Prefect's environment first, so nothing that imports Prefect may come before it.
    if context.invoked_subcommand not in {"simulate", "config", "demo", "record"} and not _asks_for_help():
        from tasks.desk import configure_logging  # noqa: PLC0415

        configure_logging()


def _asks_for_help() -> bool:
    return not {"-h", "--help"}.isdisjoint(sys.argv)


def _day(given: datetime | None) -> date | None:
    return given.date() if given is not None else None


def _listed(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[str] | None:
    return [word for word in (part.strip() for part in value.split(",")) if word] if value else None


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, default=str, sort_keys=False))


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def simulate(arguments: tuple[str, ...]) -> None:
    """Stand in for the vendor on this machine (options: marketlake simulate --help)."""
    # The simulator is a process of its own and is never imported.
    os.execv(sys.executable, [sys.executable, "-m", "simulator", *arguments])  # noqa: S606


@cli.command()
@click.option("--tables", callback=_listed, help="stock_bars,option_bars,… (default: sources.tables)")
@click.option("--tickers", callback=_listed, help="SPY,I:VIX,O:…,@chosen or @all (default: the configured ones)")
@click.option("--start", type=DATE, help="First session (default: the newest complete one)")
@click.option("--end", type=DATE, help="Last session (default: the first)")
@click.option("--refresh", is_flag=True, help="Ask again for what the ledger already covers")
@click.option("--preview", is_flag=True, help="Only say what it would cost: calls, rows, bytes, time")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def backfill(
    *,
    tables: list[str] | None,
    tickers: list[str] | None,
    start: datetime | None,
    end: datetime | None,
    refresh: bool,
    preview: bool,
    as_json: bool,
) -> None:
    """Bring history into the lake; a second run asks only for what is missing."""
    from flows.printing import print_backfill, print_preview  # noqa: PLC0415

    if preview:
        from tasks.orders import preview_order  # noqa: PLC0415

        estimate = preview_order.fn(tables, tickers, _day(start), _day(end), refresh)
        _print_json(estimate.as_json()) if as_json else print_preview(estimate)
        return
    from flows.backfill import backfill as flow  # noqa: PLC0415
    from marketlake.errors import BatchesFailed  # noqa: PLC0415

    try:
        report = flow.fn(tables, tickers, _day(start), _day(end), refresh)
    except BatchesFailed as error:
        if as_json:
            _print_json(error.as_json())
        raise
    _print_json(report.as_json()) if as_json else print_backfill(report)


@cli.command()
@click.option("--underlying", default="SPY", show_default=True, help="SPY, or an index such as I:SPX")
@click.option("--session", type=DATE, help="Which session (default: the newest complete one)")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def discover(*, underlying: str, session: datetime | None, as_json: bool) -> None:
    """Fetch a session's contracts and choose those near its opening price."""
    from flows.discover_options import discover_options  # noqa: PLC0415
    from flows.printing import print_selection  # noqa: PLC0415

    selection = discover_options.fn(underlying, _day(session))
    _print_json(selection.as_json()) if as_json else print_selection(selection)


@cli.command()
@click.option("--underlying", help="SPY, or an index such as I:SPX (default: all configured ones)")
@click.option("--session", type=DATE, help="Which session (default: the newest complete one in the lake)")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def consolidate(*, underlying: str | None, session: datetime | None, as_json: bool) -> None:
    """Turn a session's raw tables into market_minutes and option_minutes."""
    from flows.consolidate import consolidate as flow  # noqa: PLC0415
    from flows.printing import print_consolidation  # noqa: PLC0415

    for result in flow.fn(underlying, _day(session)):
        _print_json(result.as_json()) if as_json else print_consolidation(result)


@cli.command()
@click.option("--feed", required=True, help="stocks, options or indices")
@click.option("--session", type=DATE, required=True, help="Which session it is")
@click.option("--subscribe", callback=_listed, help="AM.SPY,T.O:…,V.I:VIX (default: what was wanted before)")
@click.option("--until", type=click.DateTime(), help="When to end, in session time, New York (default: never)")
def record(*, feed: str, session: datetime, subscribe: list[str] | None, until: datetime | None) -> None:
    """Write down what one feed sends, until SIGTERM."""
    # Imports no Prefect, no pandas and no table: a recorder is small, and back within a second.
    from marketlake.errors import ConfigurationError  # noqa: PLC0415
    from marketlake.feeds import Subscription, feed_named  # noqa: PLC0415
    from marketlake.logs import configure  # noqa: PLC0415
    from marketlake.recording import record as keep  # noqa: PLC0415
    from marketlake.settings import load_settings  # noqa: PLC0415
    from marketlake.settings_text import SECRETS  # noqa: PLC0415
    from marketlake.store import S3Options, open_store  # noqa: PLC0415

    settings, key = load_settings(None, os.environ), os.environ.get("POLYGON_API_KEY", "").strip()
    configure(settings.logging, [os.environ[name] for name in SECRETS if os.environ.get(name)])
    if not key:
        raise ConfigurationError("environment", "POLYGON_API_KEY", "no key is set: set it")
    s3 = settings.lake.s3
    store = open_store(
        settings.lake.root,
        S3Options(s3.endpoint_url, s3.region, server_side_encryption=s3.server_side_encryption),
    )
    wanted = [Subscription.parse(text) for text in subscribe] if subscribe else None
    ends_ns = round(until.replace(tzinfo=ZoneInfo("America/New_York")).timestamp()) * 10**9 if until else None
    keep(feed_named(feed), session.date(), wanted, settings=settings, key=key, store=store, ends_ns=ends_ns)


@cli.command()
@click.option("--feed", required=True, help="stocks, options or indices")
@click.option("--session", type=DATE, help="Which session (default: today's)")
@click.option("--subscribe", callback=_listed, help="AM.SPY,T.O:…,V.I:VIX (default: the configured ones)")
@click.option("--until", type=click.DateTime(), help="When to stop, New York (default: after the close)")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def stream(
    *, feed: str, session: datetime | None, subscribe: list[str] | None, until: datetime | None, as_json: bool
) -> None:
    """Record one feed through its session, and seal window after window."""
    from flows.printing import print_stream  # noqa: PLC0415
    from flows.stream import stream as flow  # noqa: PLC0415

    # Who is asked to end stops its recorder first; only one that is killed leaves it behind.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    report = flow.fn(feed, _day(session), subscribe, until)
    _print_json(report.as_json()) if as_json else print_stream(report)


@cli.command("poll-news")
@click.option("--session", type=DATE, help="Which session (default: today's)")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def poll_news(*, session: datetime | None, as_json: bool) -> None:
    """Publish the news of a session again and again until it has closed."""
    from flows.poll_news import poll_news as flow  # noqa: PLC0415
    from flows.printing import print_news  # noqa: PLC0415

    report = flow.fn(_day(session))
    _print_json(report.as_json()) if as_json else print_news(report)


@cli.command()
@click.option("--tables", callback=_listed, help="Besides what was streamed (default: sources.tables)")
@click.option("--tickers", callback=_listed, help="SPY,I:VIX,O:…,@chosen or @all (default: the configured ones)")
@click.option("--start", type=DATE, help="First session (default: the newest complete one)")
@click.option("--end", type=DATE, help="Last session (default: the first)")
@click.option("--refresh", is_flag=True, help="Ask again for what the ledger already covers")
@click.option("--accept-short", is_flag=True, help="Take history for the truth where it lacks streamed rows")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def heal(
    *,
    tables: list[str] | None,
    tickers: list[str] | None,
    start: datetime | None,
    end: datetime | None,
    refresh: bool,
    accept_short: bool,
    as_json: bool,
) -> None:
    """Find and fix everything that is missing in a range."""
    from flows.heal import heal as flow  # noqa: PLC0415
    from flows.printing import print_backfill  # noqa: PLC0415
    from marketlake.errors import BatchesFailed  # noqa: PLC0415

    try:
        report = flow.fn(tables, tickers, _day(start), _day(end), refresh=refresh, accept_short=accept_short)
    except BatchesFailed as error:
        if as_json:
            _print_json(error.as_json())
        raise
    _print_json(report.as_json()) if as_json else print_backfill(report)


@cli.command("watch-schema")
@click.option("--session", type=DATE, help="Which session (default: the newest complete one)")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def watch_schema(*, session: datetime | None, as_json: bool) -> None:
    """Say in what a session's tables are not as they are declared, or as the sessions before."""
    from flows.printing import print_watched  # noqa: PLC0415
    from flows.watch_schema import watch_schema as flow  # noqa: PLC0415

    watched = flow.fn(_day(session))
    _print_json(watched.as_json()) if as_json else print_watched(watched)


@cli.command()
@click.argument("session", type=DATE)
@click.option("--speed", type=float, default=60.0, show_default=True, help="Session seconds a second, 0.1 to 10,000")
@click.option("--into", default="replay", show_default=True, help="A folder for it, which must not exist or be empty")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def replay(*, session: datetime, speed: float, into: str, as_json: bool) -> None:
    """Serve a session of the lake as if it were live, record it anew, and hold both against each other."""
    from flows.printing import print_replayed  # noqa: PLC0415
    from flows.replay import replay as flow  # noqa: PLC0415
    from marketlake.errors import ReplayDiffers  # noqa: PLC0415

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    replayed = flow.fn(session.date(), speed, into)
    _print_json(replayed.as_json()) if as_json else print_replayed(replayed)
    if replayed.differing:
        raise ReplayDiffers(replayed.differing, replayed.folder)


@cli.command()
@click.option("--session", type=DATE, help="Which session (default: the newest complete one)")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def restate(*, session: datetime | None, as_json: bool) -> None:
    """Fetch the bars of a session again, and say what was corrected."""
    from flows.next_day import next_day as flow  # noqa: PLC0415
    from flows.printing import print_restatements  # noqa: PLC0415

    found = flow.fn(_day(session))
    _print_json({"restatements": [item.as_json() for item in found]}) if as_json else print_restatements(found)


@cli.command()
@click.option("--session", type=DATE, help="Which session (default: today's, once it is past --by)")
@click.option("--by", type=click.DateTime(formats=["%H:%M"]), default="09:40", show_default=True, help="New York")
def watchdog(*, session: datetime | None, by: datetime) -> None:
    """Say whether today's session is being recorded; for a cron job outside of Prefect.

    Needs no server, no vendor and no lake. Where a feed is not recorded, Slack is told, and the exit code is 7.
    """
    from marketlake.errors import SessionUnheard  # noqa: PLC0415
    from marketlake.morning import morning_of  # noqa: PLC0415
    from marketlake.sessions import NEW_YORK, to_ns  # noqa: PLC0415
    from marketlake.watchdog import unheard_feeds  # noqa: PLC0415
    from tasks.alarms import Alarm, raise_alarm  # noqa: PLC0415
    from tasks.desk import now, settings  # noqa: PLC0415

    here = now().astimezone(NEW_YORK)
    morning = morning_of(_day(session) or here.date(), [])
    if morning.hours is None:
        click.echo(f"{morning.day}: {morning.reason}")
        return
    if session is None and not by.time() <= here.time() < morning.hours.end.astimezone(NEW_YORK).time():
        click.echo(f"{morning.day}: {morning.reason}; nothing is looked for at {here:%H:%M}")
        return
    unheard = unheard_feeds(settings(), morning.day, to_ns(now()))
    if unheard:
        error = SessionUnheard(morning.day, unheard)
        facts = {"session": str(morning.day), "feeds": "; ".join(unheard)}
        raise_alarm(
            Alarm.SESSION_UNHEARD,
            f"session.{morning.day}",
            facts,
            what=f"marketlake watchdog ({morning.day})",
            cause=str(error),
        )
        raise error
    click.echo(f"{morning.day}: every feed that is switched on is being recorded")


@cli.command()
@click.option("--verify", is_flag=True, help="Hash every file, which reads all of the lake")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def status(*, verify: bool, as_json: bool) -> None:
    """Say what the lake holds, and what is missing or does not match its record."""
    from marketlake.status import lake_status, render  # noqa: PLC0415
    from tasks.desk import lake  # noqa: PLC0415

    result = lake_status(lake(), verify=verify)
    _print_json(result.as_json()) if as_json else click.echo(render(result))


@cli.group()
def quarantine() -> None:
    """Look at the rows that a rule refused."""


@quarantine.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def quarantine_list(*, as_json: bool) -> None:
    """List the partitions that have refused rows, by rule."""
    from flows.printing import print_quarantines  # noqa: PLC0415
    from marketlake.quarantine import summary  # noqa: PLC0415
    from tasks.desk import lake  # noqa: PLC0415

    found = summary(lake())
    _print_json([item.as_json() for item in found]) if as_json else print_quarantines(found)


@quarantine.command("show")
@click.argument("table")
@click.argument("owner")
@click.argument("session", type=DATE)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def quarantine_show(*, table: str, owner: str, session: datetime, as_json: bool) -> None:
    """Show the refused rows of one partition, each with its rule and raw text."""
    from flows.printing import print_refused  # noqa: PLC0415
    from marketlake.quarantine import refused_rows  # noqa: PLC0415
    from tasks.desk import lake  # noqa: PLC0415

    rows = refused_rows(lake(), table, owner, session.date())
    _print_json(rows.to_pylist()) if as_json else print_refused(rows)


@quarantine.command("replay")
@click.argument("table")
@click.argument("owner")
@click.argument("session", type=DATE)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def quarantine_replay(*, table: str, owner: str, session: datetime, as_json: bool) -> None:
    """Judge the refused rows of one partition again by today's rules, and store those that pass now."""
    from flows.printing import print_replay  # noqa: PLC0415
    from tasks.quarantine import replay  # noqa: PLC0415

    result = replay.fn(table, owner, session.date())
    _print_json(result.as_json()) if as_json else print_replay(result)


@cli.command()
@click.option(
    "--world", type=click.Path(path_type=Path), help="A recorded world's folder (default: the synthetic market)"
)
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Where to work"
)
def demo(*, world: Path | None, folder: Path) -> None:
    """See one session go in at one end and a priced, aligned table come out at the other."""
    from flows.stage import show_demo  # noqa: PLC0415

    show_demo(world, folder)


@cli.group()
def config() -> None:
    """Look at the settings."""


@config.command("show")
def config_show() -> None:
    """Print every setting, where it comes from, and which secrets are set (masked)."""
    from marketlake.settings import load_settings  # noqa: PLC0415
    from marketlake.settings_text import show  # noqa: PLC0415

    click.echo(show(load_settings(None, os.environ), os.environ))


@config.command("check")
def config_check() -> None:
    """Read the settings and say, one line each, what is wrong with them."""
    from flows.exit_codes import ExitCode  # noqa: PLC0415
    from marketlake.settings import faults  # noqa: PLC0415

    found = faults(None, os.environ)
    for fault in found:
        click.echo(str(fault), err=True)
    if found:
        sys.exit(ExitCode.USAGE)
    click.echo("the settings are good")


def _guarded(command: Callable[[], object]) -> int:
    """Run the command line; one of our own errors becomes one line that says what to do, and an exit code."""
    from marketlake.errors import MarketlakeError  # noqa: PLC0415

    try:
        command()
    except MarketlakeError as error:
        from flows.exit_codes import exit_code_of  # noqa: PLC0415
        from marketlake.redaction import redacted  # noqa: PLC0415

        click.echo(redacted(f"marketlake: {error}"), err=True)
        for note in getattr(error, "__notes__", ()):
            click.echo(redacted(f"  {note}"), err=True)
        return exit_code_of(error)
    return 0


def main() -> None:
    """Run the command line."""
    sys.exit(_guarded(cli))


if __name__ == "__main__":
    main()
