"""The ``simulate`` command: options into values, malformed input into one line; other command lines may mount it."""

from datetime import date, datetime
from pathlib import Path

import click

from simulator.clock import FASTEST, parse_instant_ns


class _Instant(click.ParamType[int]):
    name = "ISO 8601 time"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_instant_ns(value)
        except ValueError:
            self.fail(f"{value!r} is not an ISO 8601 time", param, ctx)


@click.command()
@click.option(
    "--world",
    required=True,
    metavar="synthetic|PATH",
    help="A made-up market, the folder of a recorded world, or that of a lake.",
)
@click.option("--session", type=click.DateTime(["%Y-%m-%d"]), help="Start the clock after this New York date.")
@click.option("--seed", type=int, default=7, show_default=True, help="Seed of the synthetic world and request ids.")
@click.option("--clock", type=_Instant(), help="The simulated now, ISO 8601; New York time where no zone is named.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, max=FASTEST),
    default=0.0,
    help="Simulated seconds a second; 0 stands still.",
)
@click.option(
    "--faults", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Fault rules, YAML or JSON."
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; 0 takes a free one.")
@click.option("--stream-port", type=click.IntRange(0, 65535), default=0, help="The WebSocket side's port; 0 as above.")
@click.option("--no-compression", is_flag=True, help="Accept no permessage-deflate on the WebSocket side.")
@click.option(
    "--ready", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Written once it listens."
)
def simulate(
    *,
    world: str,
    session: datetime | None,
    seed: int,
    clock: int | None,
    speed: float,
    faults: Path | None,
    port: int,
    stream_port: int,
    no_compression: bool,
    ready: Path,
) -> None:
    """Stand in for the vendor on 127.0.0.1 until SIGTERM."""
    # The server's imports take most of a second; --help does without them.
    from simulator.faults.script import FaultScriptError  # noqa: PLC0415
    from simulator.recorded_files import WorldError  # noqa: PLC0415
    from simulator.server import Options, run  # noqa: PLC0415

    day: date | None = None if session is None else session.date()
    try:
        run(Options(world, ready, day, seed, clock, speed, faults, port, stream_port, not no_compression))
    except (WorldError, FaultScriptError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot start: {error}") from error
