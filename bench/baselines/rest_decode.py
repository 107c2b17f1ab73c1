"""A page of bars by the official client's models and pandas."""

import json

import pandas as pd
from polygon.rest.models import Agg


def frame_of(body: bytes) -> pd.DataFrame:
    return pd.DataFrame([Agg.from_dict(row) for row in json.loads(body)["results"]])
