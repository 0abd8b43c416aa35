"""The files of a job."""

from __future__ import annotations

import io
import os
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from .protocol import pb

if TYPE_CHECKING:
    from .attempt import Attempt


class Stream(io.RawIOBase):
    """stdout or stderr of a job: a file that only grows and is made by the first write."""

    def __init__(self, attempt: Attempt, number: int, name: str) -> None:
        self.attempt, self.number, self.name, self.file = attempt, number, name, -1
        self.left = self.limit = attempt.request.limits.log_bytes or sys.maxsize  # bytes

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self.closed:
            raise ValueError(f"write {self.name}: the job has ended")
        if self.file < 0:
            path = folder(self.attempt.request.folders.logs) / self.name
            self.file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        return self.file

    def write(self, data: Any) -> int:
        """Appends. What passes the limit is dropped without an error, and the job says so."""
        file, rest = self.fileno(), memoryview(data)[: max(self.left, 0)]
        if self.left >= 0 and len(rest) < len(data):
            self.attempt.tell("log_truncated", pb.LogTruncated(stream=self.number, offset=self.limit))
            self.left = -1  # told
        while rest:
            written = os.write(file, rest)
            self.left -= written
            rest = rest[written:]
        return len(data)

    def close(self) -> None:
        if self.file >= 0 and not self.closed:
            os.close(self.file)
        super().close()


def folder(path: str) -> pathlib.Path:
    """Makes a folder of the attempt, which is not there before it is needed."""
    os.makedirs(path, 0o700, exist_ok=True)
    return pathlib.Path(path)
