"""Records as a spool gives them, made from values: what a vendor would send, and what a recorder notes."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from marketlake.spool import Kind, Position, Record, pack_record

Event = dict[str, Any]


class Recording:
    """A spool in memory: records are added in order, and read as from files."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._file, self._offset = 1, 8

    def frame(self, *events: Event | Any, received_ns: int = 0) -> Record:
        """A message of the vendor: one array of these elements."""
        return self.message(json.dumps(events, separators=(",", ":")).encode(), received_ns)

    def message(self, payload: bytes, received_ns: int = 0) -> Record:
        """A message of the vendor, byte for byte."""
        return self._add(Kind.FRAME, payload, received_ns)

    def note(self, event: str, **facts: object) -> Record:
        """What happened to the recorder or its connection."""
        return self._add(Kind.EVENT, json.dumps({"event": event, **facts}).encode(), 0)

    def next_file(self) -> None:
        """What is added from here on stands in a file of its own."""
        self._file, self._offset = self._file + 1, 8

    def read_after(self, after: Position | None) -> Iterator[Record]:
        """What stands behind a position."""
        return (record for record in self.records if after is None or record.position > after)

    def _add(self, kind: Kind, payload: bytes, received_ns: int) -> Record:
        self._offset += len(pack_record(received_ns, kind, payload))
        record = Record(Position(self._file, self._offset), received_ns, kind, payload)
        self.records.append(record)
        return record


def recording_of(frames: Sequence[Sequence[Event]]) -> Recording:
    """Messages of these events, one after the other."""
    recording = Recording()
    for events in frames:
        recording.frame(*events)
    return recording
