"""Finished files of a spool, brought into the lake: compressed whole, proved, and removed here when that is asked for.

``capture/stream/{feed}/session=…/000001.spool.zst`` holds the bytes of the file as they were, a torn tail included
(``zstd -d`` reads it). What a file is made of is told by :mod:`marketlake.spool`, which reads both kinds alike.
"""

import hashlib
import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Final

import pyarrow as pa

from marketlake.errors import LakeError, RecordMismatch, UsageError
from marketlake.ledger import Proof
from marketlake.spool import captured_path, file_name, is_being_written, local_folder, local_numbers
from marketlake.store import Store
from marketlake.tickers import AssetClass

_CHUNK: Final = 2**20


class CapturedFile:
    """A finished file in the lake, unpacked while it is read.

    Raises:
        RecordMismatch: the file is gone, or does not unpack.
    """

    def __init__(self, store: Store, path: str) -> None:
        self._path = path
        try:
            packed = store.read(path)
        except FileNotFoundError:
            raise RecordMismatch(path, "the captured stream is gone") from None
        self._stream = pa.CompressedInputStream(pa.BufferReader(packed), "zstd")

    def read(self, size: int) -> bytes:
        """The next bytes."""
        chunks: list[bytes] = []
        try:
            while size and (chunk := self._stream.read(min(size, _CHUNK))):
                chunks.append(chunk)
                size -= len(chunk)
        except OSError as error:
            raise RecordMismatch(self._path, f"the captured stream does not unpack: {error}") from None
        return b"".join(chunks)

    def skip(self, size: int) -> None:
        """Pass over the next bytes."""
        while size and (passed := len(self.read(min(size, _CHUNK)))):
            size -= passed

    def close(self) -> None:
        """Let go of it."""
        self._stream.close()


def seal(root: Path, feed: AssetClass, session: date, number: int, store: Store) -> Proof:
    """Bring a file whose writer is gone into the lake; doing it again, also after a kill, gives the same proof.

    It stays here too: that it does is how a session is known not to be healed.

    Raises:
        UsageError: the file is still being written.
        RecordMismatch: another file stands in the lake under its number.
        LakeError: the file cannot be read, or the lake cannot be written.
    """
    path = local_folder(root, feed, session) / file_name(number)
    captured = captured_path(feed, session, number)
    if not path.exists():
        return Proof(captured, _sha256_of(CapturedFile(store, captured)))
    if is_being_written(path):
        message = f"{path} is still being written: stop the recorder first"
        raise UsageError(message)
    packed, sha256 = _pack(path)
    if not store.create(captured, packed) and _sha256_of(CapturedFile(store, captured)) != sha256:
        raise RecordMismatch(captured, f"another spool was captured under this number before: look at {path}")
    return Proof(captured, sha256)


def remove_sealed(root: Path, feed: AssetClass, session: date, proofs: Iterable[Proof]) -> None:
    """Remove here the files that are proved to stand in the lake; others stay, such as one that was begun since.

    Raises:
        LakeError: a file cannot be removed.
    """
    folder, sealed = local_folder(root, feed, session), {proof.path for proof in proofs}
    for number in local_numbers(folder):
        if captured_path(feed, session, number) in sealed:
            path = folder / file_name(number)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise LakeError(str(path), error.strerror or str(error)) from error


def _pack(path: Path) -> tuple[bytes, str]:
    """The compressed bytes of a file, and the SHA-256 of the uncompressed ones."""
    digest = hashlib.sha256()
    packed = pa.BufferOutputStream()
    try:
        with path.open("rb", buffering=0) as file, pa.CompressedOutputStream(packed, "zstd") as stream:
            os.fdatasync(file.fileno())
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                stream.write(chunk)
    except OSError as error:
        raise LakeError(str(path), error.strerror or str(error)) from error
    data: bytes = packed.getvalue().to_pybytes()
    return data, digest.hexdigest()


def _sha256_of(file: CapturedFile) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    file.close()
    return digest.hexdigest()
