"""What a flow run is called in the UI."""

from collections.abc import Callable

from prefect.runtime import flow_run


def named(what: str, *parameters: str, between: str = " ") -> Callable[[], str]:
    """A namer of runs: what they do, and those of the parameters that were given."""

    def name() -> str:
        given = flow_run.parameters
        values = [str(given[parameter]) for parameter in parameters if given.get(parameter) is not None]
        return f"{what} {between.join(dict.fromkeys(values))}".rstrip()

    return name
