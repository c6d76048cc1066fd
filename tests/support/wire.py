"""Just enough of the client's side of the database protocols to see a COMMIT go by."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

COMMIT: Final = "commit"


@dataclass(frozen=True)
class Frame:
    """One whole message of the client, and whether it makes the server commit."""

    data: bytes
    commits: bool


class Decoder(ABC):
    """Cuts the client's bytes into frames; one for each connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take what arrived and return the messages that are now complete."""
        self._buffer += data
        frames = []
        while (length := self._frame_length()) is not None and length <= len(self._buffer):
            frame = bytes(self._buffer[:length])
            del self._buffer[:length]
            frames.append(Frame(frame, self._commits(frame)))
        return frames

    @abstractmethod
    def answered(self, received: bytes) -> bool:
        """Whether the server's bytes since the COMMIT tell that it has been carried out."""

    @abstractmethod
    def _frame_length(self) -> int | None:
        """The length of the first message in the buffer, None while that is unknown."""

    @abstractmethod
    def _commits(self, frame: bytes) -> bool:
        """Whether this message makes the server commit."""


class PostgreSQLDecoder(Decoder):
    """The simple and the extended query protocol of PostgreSQL, without TLS."""

    # Requests for encryption precede the start-up message and look like it.
    ENCRYPTION_REQUESTS: Final = (80877103, 80877104)

    def __init__(self) -> None:
        super().__init__()
        self._started = False
        self._committing_statements: set[bytes] = set()
        self._committing_portals: set[bytes] = set()

    def answered(self, received: bytes) -> bool:
        return b"COMMIT\0" in received or b"ROLLBACK\0" in received

    def _frame_length(self) -> int | None:
        if not self._started:
            return struct.unpack_from("!I", self._buffer)[0] if len(self._buffer) >= 4 else None
        return 1 + struct.unpack_from("!I", self._buffer, 1)[0] if len(self._buffer) >= 5 else None

    def _commits(self, frame: bytes) -> bool:
        if not self._started:
            self._started = struct.unpack_from("!I", frame, 4)[0] not in self.ENCRYPTION_REQUESTS
            return False
        kind, body = frame[:1], frame[5:]
        match kind:
            case b"Q":
                return _is_commit(body)
            case b"P":
                name, _, rest = body.partition(b"\0")
                _set_membership(
                    self._committing_statements, name, member=_is_commit(rest.partition(b"\0")[0])
                )
            case b"B":
                portal, statement = body.split(b"\0", 2)[:2]
                _set_membership(
                    self._committing_portals, portal, member=statement in self._committing_statements
                )
            case b"E":
                return body.partition(b"\0")[0] in self._committing_portals
        return False


class MySQLDecoder(Decoder):
    """The text protocol of MySQL and MariaDB, without TLS and compression."""

    COM_QUERY: Final = b"\x03"

    def answered(self, received: bytes) -> bool:
        return bool(received)

    def _frame_length(self) -> int | None:
        return 4 + int.from_bytes(self._buffer[:3], "little") if len(self._buffer) >= 4 else None

    def _commits(self, frame: bytes) -> bool:
        # Commands begin a sequence of packets; what the client sends at log-in does not.
        sequence, command = frame[3], frame[4:5]
        return sequence == 0 and command == self.COM_QUERY and _is_commit(frame[5:])


def _is_commit(query: bytes) -> bool:
    return query.rstrip(b"\0; \n").strip().decode(errors="replace").lower() == COMMIT


def _set_membership(names: set[bytes], name: bytes, *, member: bool) -> None:
    if member:
        names.add(name)
    else:
        names.discard(name)
