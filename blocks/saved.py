"""Where a credential comes from: a block saved on a Prefect server as ``default``, else the environment.

What each block is made of, and what stands in for it, is in its own module.
"""

from typing import Final

import httpx
from prefect.blocks.core import Block
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from pydantic import ConfigDict

from marketlake.errors import ConfigurationError

NAME: Final = "default"


class QuietBlock(Block):
    """A block whose validation errors never quote what it was given: it may be a secret in the wrong place."""

    model_config = ConfigDict(hide_input_in_errors=True)


def saved[B: Block](kind: type[B]) -> B | None:
    """The saved block of a kind; None where there is none, or where no Prefect server is in use.

    A server is in use within a flow run, and where Prefect's settings (PREFECT_API_URL, or a profile) name one. On the
    command line without one, Prefect would start an embedded server for the question, which takes many seconds.

    Raises:
        ConfigurationError: the server does not answer, or what is saved does not fit this version. Going on with the
            environment then could mean another key, or another lake.
    """
    if not _is_server_in_use():
        return None
    try:
        found = kind.load(NAME, _sync=True)  # type: ignore[call-arg] # the decorator of load takes _sync
    except httpx.HTTPError as error:
        problem = (
            f"the Prefect server could not be asked for it ({type(error).__name__}): start it, or unset "
            "PREFECT_API_URL to use the environment alone"
        )
    except (ValueError, RuntimeError) as error:  # how Prefect says "there is none" and "it does not fit"
        if isinstance(error.__cause__, ObjectNotFound):
            return None
        problem = "what is saved does not fit this version: run `prefect block register -m blocks` and save it again"
    else:
        if isinstance(found, kind):
            return found
        problem = f"what is saved is a {type(found).__name__}"
    # Outside the handlers: what was caught may quote what is saved, and must not travel along.
    raise ConfigurationError(f"block {kind.get_block_type_slug()}/{NAME}", "", problem)


def _is_server_in_use() -> bool:
    in_run = FlowRunContext.get() is not None or TaskRunContext.get() is not None
    return in_run or bool(get_current_settings().api.url)
