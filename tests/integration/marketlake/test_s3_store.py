"""What only S3 can do to a writer: lost answers, ignored conditions, wrong keys, no bucket, nobody there."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from lake_places import Place, s3_at
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from marketlake.errors import LakeError
from marketlake.store import S3Options, open_store


@dataclass
class Between:
    """What stands between a store and its server: it hands everything on, and does as it was told."""

    server: str
    loses_answer: Callable[[str, str], bool] = lambda _method, _path: False
    drops_condition: bool = False
    conflicts: int = 0
    page_size: int = 1000
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    between: Between

    def _pass_on(self) -> None:
        between = self.between
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        between.seen.append((self.command, self.path, headers))
        conditional = "if-none-match" in headers
        if conditional and between.drops_condition:
            del headers["if-none-match"]
        if conditional and between.conflicts and "conditional-writes" not in self.path:
            between.conflicts -= 1
            code = b"<Error><Code>ConditionalRequestConflict</Code><Message>again</Message></Error>"
            self._answer(409, code, {"content-type": "application/xml"})
            return
        upstream = HTTPConnection(urlsplit(between.server).netloc, timeout=10)
        path = self.path
        if "list-type=2" in path and "max-keys" not in path:
            path += f"&max-keys={between.page_size}"
        upstream.request(self.command, path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if between.loses_answer(self.command, self.path):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._answer(answer.status, content, {name.lower(): value for name, value in answer.getheaders()})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        length = headers.get("content-length", "0") if self.command == "HEAD" else str(len(content))
        skipped = {"content-length", "connection", "transfer-encoding"}
        for name, value in headers.items():
            if name not in skipped:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on  # noqa: N815 - named by http.server


@contextmanager
def _listening(between: Between) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"between": between})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _losing(method: str, name: str, times: int) -> Callable[[str, str], bool]:
    left = [times]

    def loses(seen_method: str, path: str) -> bool:
        if seen_method != method or not urlsplit(path).path.endswith(name) or not left[0]:
            return False
        left[0] -= 1
        return True

    return loses


@pytest.mark.parametrize("times", [1, 100], ids=["answered when sent again", "never answered"])
def test_a_creation_whose_answer_was_lost_is_ours(bucket: Place, times: int) -> None:
    between = Between(bucket.endpoint, _losing("PUT", "/lease", times))
    with _listening(between) as address:
        mine = open_store(bucket.root, s3_at(address))

        assert mine.create("lease", b"the same")

    sent = [headers for method, path, headers in between.seen if method == "PUT" and path.endswith("/lease")]
    assert len(sent) >= 2
    assert all(headers["if-none-match"] == "*" for headers in sent)
    assert bucket.open().read("lease") == b"the same"


def test_a_creation_whose_answer_was_lost_is_not_ours_when_another_was_first(bucket: Place) -> None:
    bucket.open().create("lease", b"the same")
    with _listening(Between(bucket.endpoint, _losing("PUT", "/lease", 1))) as address:
        assert not open_store(bucket.root, s3_at(address)).create("lease", b"the same")


def test_a_creation_that_meets_another_is_tried_again(bucket: Place) -> None:
    with _listening(Between(bucket.endpoint, conflicts=2)) as address:
        assert open_store(bucket.root, s3_at(address)).create("lease", b"x")

    with (
        _listening(Between(bucket.endpoint, conflicts=100)) as address,
        pytest.raises(LakeError, match="another write is going on"),
    ):
        open_store(bucket.root, s3_at(address)).create("other", b"x")


def test_a_service_that_ignores_conditions_is_refused_before_anything_depends_on_them(bucket: Place) -> None:
    with _listening(Between(bucket.endpoint, drops_condition=True)) as address:
        store = open_store(bucket.root, s3_at(address))
        with pytest.raises(LakeError, match="ignores If-None-Match"):
            store.create("lease", b"x")

    assert bucket.open().list("") == []


def test_a_body_that_broke_off_is_read_again(bucket: Place) -> None:
    bucket.open().write("data", b"x" * 100_000)
    with _listening(Between(bucket.endpoint, _losing("GET", "/data", 1))) as address:
        assert open_store(bucket.root, s3_at(address)).read("data") == b"x" * 100_000


def test_every_put_carries_a_checksum_that_any_service_checks(bucket: Place) -> None:
    between = Between(bucket.endpoint)
    with _listening(between) as address:
        open_store(bucket.root, s3_at(address)).write("data", b"123")

    headers = next(headers for method, _, headers in between.seen if method == "PUT")
    # printf 123 | openssl md5 -binary | base64
    assert headers["content-md5"] == "ICy5YqxZB1uWSwcVLSNLcA=="
    assert "x-amz-trailer" not in headers


def test_encryption_at_rest_is_asked_for(bucket: Place) -> None:
    between = Between(bucket.endpoint)
    with _listening(between) as address:
        options = S3Options(address, "us-east-1", SecretStr("k"), SecretStr("s"), server_side_encryption="AES256")
        store = open_store(bucket.root, options)
        store.write("data", b"x")
        store.create("lease", b"x")

    puts = [headers for method, _, headers in between.seen if method == "PUT"]
    assert {headers.get("x-amz-server-side-encryption") for headers in puts} == {"AES256"}


def test_listings_of_many_pages_are_whole(bucket: Place) -> None:
    expected = [f"part={number}" for number in range(10)]
    writer = bucket.open()
    for name in expected:
        writer.write(name, b"x")
    between = Between(bucket.endpoint, page_size=3)
    with _listening(between) as address:
        assert open_store(bucket.root, s3_at(address)).list("") == expected

    assert sum("continuation-token" in path for _, path, _ in between.seen) == 3


def test_a_missing_bucket_is_one_clear_line(s3_server: str) -> None:
    store = open_store("s3://no-such-bucket/lake", s3_at(s3_server))
    actions: list[Callable[[], object]] = [
        lambda: store.read("a"),
        lambda: store.size("a"),
        lambda: store.list(""),
        lambda: store.write("a", b""),
        lambda: store.create("a", b""),
    ]
    for action in actions:
        with pytest.raises(LakeError, match=r"NoSuchBucket.*create the bucket, or correct lake\.root") as caught:
            action()
        assert "\n" not in str(caught.value)


def test_an_address_where_nobody_answers_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        store = open_store("s3://some-bucket/lake", s3_at(f"http://127.0.0.1:{taken.getsockname()[1]}"))
        with pytest.raises(LakeError, match=r"check lake\.s3.endpoint_url") as caught:
            store.read("a")

    assert "\n" not in str(caught.value)


def test_no_credentials_at_all_is_one_clear_line(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    with pytest.raises(LakeError, match="AWS_ACCESS_KEY_ID"):
        open_store("s3://some-bucket/lake", S3Options(s3_server, "us-east-1")).list("")


@pytest.fixture
def strict_server() -> Iterator[str]:
    """An S3 server that looks at keys."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    _post(f"{address}/moto-api/reset-auth", b"0")
    yield address
    _post(f"{address}/moto-api/reset-auth", b"inf")
    server.stop()


def _post(address: str, body: bytes) -> None:
    with urlopen(Request(address, body, {"Content-Type": "text/plain"}, method="POST"), timeout=10):
        pass


def test_a_wrong_key_is_one_clear_line_without_the_secret(strict_server: str) -> None:
    options = S3Options(strict_server, "us-east-1", SecretStr("AKIAWRONG"), SecretStr("canary-secret"))
    store = open_store("s3://some-bucket/lake", options)
    with pytest.raises(LakeError, match=r"InvalidAccessKeyId.*check the access key") as caught:
        store.size("a")

    assert "canary-secret" not in f"{caught.value}{caught.value!r}{store!r}{options!r}"
    assert "\n" not in str(caught.value)
