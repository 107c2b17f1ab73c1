"""The store on S3: one PUT an object, and If-None-Match where a file may only be created.

The rules about paths stand in :mod:`marketlake.store`. Relied upon: S3's strong consistency of objects and listings
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel) and its conditional writes, which
are tried once before anything depends on them, because some services that speak S3 ignore the condition.
"""

import base64
import hashlib
import itertools
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import s3fs
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from marketlake.errors import LakeError, StoreUnavailable
from marketlake.processes import ProcessIdentity
from marketlake.store import checked_path

if TYPE_CHECKING:
    from marketlake.store import S3Options

# One PUT holds at most this (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
LARGEST_PUT: Final = 5 * 2**30
_CONNECT_TIMEOUT_S: Final = 5
_READ_TIMEOUT_S: Final = 60
# botocore retries throttling and 5xx with growing waits; the file system around it retries a body that broke off.
_ATTEMPTS: Final = 3
_BODY_ATTEMPTS: Final = 2
# A conditional PUT that meets another one may answer 409, which means "try again" and not "there is one".
_CONFLICT_ATTEMPTS: Final = 5
_WRITER: Final = "writer"
_NUMBERS: Final = itertools.count()
_PROBE: Final = ".conditional-writes"
_MISSING: Final = frozenset({"404", "NoSuchKey"})
_EXISTS: Final = frozenset({"412", "PreconditionFailed"})
_CONFLICT: Final = frozenset({"409", "ConditionalRequestConflict", "OperationAborted"})
_FAILURES: Final = (OSError, BotoCoreError, ClientError, aiohttp.ClientError)
_ADVICE: Final = {
    "NoSuchBucket": "create the bucket, or correct lake.root",
    "InvalidAccessKeyId": "check the access key of the Lake block or of the environment",
    "SignatureDoesNotMatch": "check the secret key of the Lake block or of the environment",
    "AccessDenied": "the key may not do this: it needs to get, put, delete and list",
    "403": "the key may not do this: it needs to get, put, delete and list",
    "ExpiredToken": "the session token has expired: get a new one",
    "PermanentRedirect": "the bucket is in another region: set lake.s3.region",
    "NoCredentialsError": "give the Lake block a key, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "EndpointConnectionError": "nothing answers there: check lake.s3.endpoint_url and the network",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set lake.s3.region",
}
_PASSING: Final = frozenset({"EndpointConnectionError"})


class S3Store:
    """Objects below ``s3://bucket/prefix``; the connection is made by the first call and checked once."""

    def __init__(self, bucket: str, prefix: str, options: "S3Options") -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._options = options
        self._lock = threading.Lock()
        self._connected: tuple[int, s3fs.S3FileSystem] | None = None
        self._honours_conditions = False

    def __reduce__(self) -> tuple[type["S3Store"], tuple[str, str, "S3Options"]]:
        # Another process makes a connection of its own.
        return S3Store, (self._bucket, self._prefix.removesuffix("/"), self._options)

    @property
    def root(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self._bucket}/{self._prefix}".removesuffix("/")

    def read(self, path: str) -> bytes:
        """The whole object; FileNotFoundError when there is none."""
        key = self._key(path)
        found = None
        with self._errors(path):
            try:
                found = self._files.cat_file(f"{self._bucket}/{key}")
            except FileNotFoundError as error:
                if _code(error) not in _MISSING:
                    raise
        if found is None:
            raise FileNotFoundError(f"{self.root}/{path}")
        return bytes(found)

    def exists(self, path: str) -> bool:
        """Whether there is such an object."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Its size in bytes; None when there is none."""
        key = self._key(path)
        with self._errors(path):
            there = self._head(key)
        return None if there is None else int(there["ContentLength"])

    def write(self, path: str, data: bytes) -> None:
        """Replace the object by one PUT."""
        key = self._key(path)
        with self._errors(path):
            self._put(key, data)

    def create(self, path: str, data: bytes) -> bool:
        """Write the object only if there is none; False if there is one.

        The acknowledgement of a PUT may get lost, and the PUT be sent again by the library or not. So each carries the
        name of its writer, and where it fails the name on the object decides.
        """
        key = self._key(path)
        self._require_conditions()
        writer = f"{ProcessIdentity.of_this_process().slug}-{socket.gethostname()}-{next(_NUMBERS)}"
        with self._errors(path):
            for _ in range(_CONFLICT_ATTEMPTS):
                try:
                    self._put(key, data, IfNoneMatch="*", Metadata={_WRITER: writer})
                except _FAILURES as error:
                    there = self._head(key)
                    if there is not None:
                        return bool(there["Metadata"].get(_WRITER) == writer)
                    if _code(error) not in _CONFLICT | _EXISTS:
                        raise
                else:
                    return True
        raise LakeError(f"{self.root}/{path}", "S3 keeps answering that another write is going on; run again later")

    def delete(self, path: str) -> None:
        """Remove the object; a missing one is fine."""
        key = self._key(path)
        with self._errors(path):
            self._call("delete_object", Key=key)

    def list(self, prefix: str) -> list[str]:
        """The paths of all objects below a folder, sorted."""
        start = f"{self._key(prefix)}/" if prefix else self._prefix
        found: list[str] = []
        more: dict[str, str] = {}
        with self._errors(prefix):
            while True:
                page = self._call("list_objects_v2", Prefix=start, **more)
                found += [item["Key"].removeprefix(self._prefix) for item in page.get("Contents", ())]
                if not page.get("IsTruncated"):
                    break
                more = {"ContinuationToken": page["NextContinuationToken"]}
        return sorted(path for path in found if not any(part.startswith(".") or not part for part in path.split("/")))

    def _key(self, path: str) -> str:
        return self._prefix + checked_path(path)

    @property
    def _files(self) -> s3fs.S3FileSystem:
        with self._lock:
            # The event loop of a parent process does not run in its forked child.
            if self._connected is None or self._connected[0] != os.getpid():
                files = _connect(self._options)
                files.call_s3("list_objects_v2", Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
                self._connected = (os.getpid(), files)
            return self._connected[1]

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._files.call_s3(method, Bucket=self._bucket, **arguments)
        return answer

    def _put(self, key: str, data: bytes, **more: Any) -> None:
        if len(data) > LARGEST_PUT:
            raise LakeError(f"s3://{self._bucket}/{key}", f"{len(data)} bytes are more than one PUT may hold")
        # Every S3 service checks this header; the newer checksums are refused by some.
        checksum = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        encryption = self._options.server_side_encryption
        extra = {"ServerSideEncryption": encryption} if encryption else {}
        self._call("put_object", Key=key, Body=data, ContentMD5=checksum, **more, **extra)

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            return self._call("head_object", Key=key)
        except FileNotFoundError as error:
            if _code(error) not in _MISSING:
                raise
            return None

    def _require_conditions(self) -> None:
        if self._honours_conditions:
            return
        with self._errors(_PROBE):
            for _ in range(2):
                try:
                    self._put(self._prefix + _PROBE, b"", IfNoneMatch="*")
                except _FAILURES as error:
                    if _code(error) not in _EXISTS:
                        raise
                    self._honours_conditions = True
                    return
        problem = "this S3 service ignores If-None-Match, so that two writers could hold one lease; use another one"
        raise LakeError(self.root, problem)

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            code = _code(error)
            problem = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            name = code or type(error).__name__
            advice = _ADVICE.get(name, "run again; if it stays, check endpoint and network")
            shown = f"{code}: {problem}" if code and code not in problem else problem
            kind = LakeError if name in _ADVICE.keys() - _PASSING else StoreUnavailable
            raise kind(f"{self.root}/{path}", f"{shown}; {advice}") from error


def _connect(options: "S3Options") -> s3fs.S3FileSystem:
    files = s3fs.S3FileSystem(
        endpoint_url=options.endpoint_url,
        key=options.key.get_secret_value() if options.key else None,
        secret=options.secret.get_secret_value() if options.secret else None,
        client_kwargs={"region_name": options.region} if options.region else {},
        config_kwargs={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "read_timeout": _READ_TIMEOUT_S,
            "retries": {"mode": "standard", "total_max_attempts": _ATTEMPTS},
            # Services other than AWS reject the trailing checksums that are sent otherwise; see _put.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
        max_concurrency=1,  # one GET reads one version of an object; parallel ranges could mix two
        use_listings_cache=False,
        skip_instance_cache=True,  # the cache's key would hold the secret
    )
    files.retries = _BODY_ATTEMPTS
    return files


def _code(error: BaseException) -> str:
    cause = error if isinstance(error, ClientError) else error.__cause__
    return str(cause.response.get("Error", {}).get("Code", "")) if isinstance(cause, ClientError) else ""
