"""Where a lake may be: a folder, or a bucket of an S3 server on a loopback port."""

from dataclasses import dataclass
from urllib.request import Request, urlopen

from pydantic import SecretStr

from marketlake.store import S3Options, Store, open_store


@dataclass(frozen=True)
class Place:
    """Where a store is; other processes are given the root and the endpoint (empty for a folder)."""

    root: str
    endpoint: str = ""

    @property
    def s3(self) -> S3Options:
        """How the server is reached; moto takes any key."""
        return s3_at(self.endpoint) if self.endpoint else S3Options()

    def open(self) -> Store:
        """A store of its own, as another process would have."""
        return open_store(self.root, self.s3)


def s3_at(endpoint: str) -> S3Options:
    """How an S3 server of the tests is reached."""
    return S3Options(endpoint, "us-east-1", SecretStr("a-key"), SecretStr("a-secret"))


def new_bucket(endpoint: str, name: str) -> Place:
    """A lake's place in a bucket made now."""
    with urlopen(Request(f"{endpoint}/{name}", method="PUT"), timeout=10):
        return Place(f"s3://{name}/some/lake", endpoint)
