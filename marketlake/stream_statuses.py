"""The vendor's status messages on the stream, found among data. Pure; data is :mod:`marketlake.frames`' business."""

import msgspec


class Status(msgspec.Struct, frozen=True, gc=False):
    """One status: ``status`` is a word, ``message`` a sentence; an element of another kind has neither."""

    ev: str | None = None
    status: str = ""
    message: str = ""


_DECODER = msgspec.json.Decoder(list[Status])


def statuses_in(message: bytes) -> list[Status]:
    """The statuses of a message, in order; none where it cannot be read, for which there is the captured message."""
    try:
        return [item for item in _DECODER.decode(message) if item.ev == "status"]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
