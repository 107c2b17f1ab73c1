"""Places for a lake: a folder, and buckets of moto's S3 server on a loopback port."""

import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from lake_places import Place, new_bucket
from moto.server import ThreadedMotoServer

from marketlake.store import Store

_BUCKETS = count(1)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server that forgets everything when the tests end."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str) -> Place:
    """A lake's place in a new bucket."""
    return new_bucket(s3_server, f"lake-{next(_BUCKETS)}")


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A folder, then a bucket."""
    if request.param == "local":
        return Place(str(tmp_path / "lake"))
    found: Place = request.getfixturevalue("bucket")
    return found


@pytest.fixture
def store(place: Place) -> Store:
    """A store there."""
    return place.open()
