"""Runs of other deployments: how one flow starts another that outlives it."""

from collections.abc import Mapping
from datetime import datetime

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Scheduled

from marketlake.errors import UsageError

_NOT_OVER = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]


def start_run(deployment: str, parameters: Mapping[str, object], at: datetime | None = None) -> str:
    """The name of the run of a deployment that has these parameters: one that is not over yet, else a new one.

    ``at`` is when a new one is to start; at once where left out.

    Raises:
        UsageError: the server does not know the deployment.
    """
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(deployment)
        except ObjectNotFound as error:
            message = f"the Prefect server has no deployment {deployment}: run `marketlake deploy` in the checkout"
            raise UsageError(message) from error
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[found.id]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_NOT_OVER)),
            )
        )
        for run in runs:
            # A run that a schedule will start some day is another one.
            if parameters.items() <= run.parameters.items():
                return run.name
        state: State[object] | None = Scheduled(scheduled_time=at) if at is not None else None
        return client.create_flow_run_from_deployment(found.id, parameters=dict(parameters), state=state).name
