"""Poll the news of a session while it runs."""

from datetime import date

from prefect import flow

from tasks.alerts import tell_slack
from tasks.naming import named
from tasks.news import NewsReport, Polls, keep_news, poll
from tasks.step import take


@flow(
    name="poll-news",
    flow_run_name=named("news", "session"),
    on_failure=[tell_slack],
    on_crashed=[tell_slack],
)
def poll_news(session: date | None = None) -> NewsReport:
    """Publish the news of a session again and again; the last time once it has closed.

    Args:
        session: Which session; today's when left out.
    """
    polls = Polls.of(session)
    report = NewsReport(polls.session)
    for now in polls:
        report = report.plus(take(poll, polls.session, now))
        keep_news(report)
    return report
