"""Results, and how the values of tables look in JSON."""

from __future__ import annotations

import base64
import datetime
import decimal
import hashlib
import io
import json
import math
import re
import sys
import uuid
from collections.abc import Mapping
from typing import Any

from .errors import Error
from .protocol import pb
from .stream import folder

MAX_INLINE = 160 << 10  # bytes of a result that travels in its event


class Sink:
    """Takes the bytes of a result: in memory while they are few, in a file beyond."""

    def __init__(self, request: Any, content_type: str, name: str) -> None:
        self.content_type, self.name, self.rows, self.size = content_type, name, 0, 0
        self.whole = False
        self.inline = min(request.limits.inline_result_bytes or 64 << 10, MAX_INLINE)
        self.limit = request.limits.result_bytes or sys.maxsize
        self.path = request.folders.result
        self.memory = io.BytesIO()
        self.file: io.BufferedWriter | None = None
        self.hash = hashlib.sha256()  # of what is in the file

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self.limit:
            raise Error("quota", f"the result is larger than the limit of {self.limit} bytes")
        self.memory.write(data)
        if self.file is None and self.size <= self.inline:
            return
        if self.file is None:
            self.file = open(folder(self.path) / self.name, "wb")
        self.file.write(self.memory.getbuffer())
        self.hash.update(self.memory.getbuffer())
        self.memory = io.BytesIO()

    def close(self) -> Any:
        """Returns the result as a message."""
        result = pb.Result(content_type=self.content_type, rows=self.rows, bytes=self.size)
        if self.file is None:
            result.inline = self.memory.getvalue()
            return result
        self.file.close()
        result.file.path, result.file.sha256 = self.name, self.hash.digest()
        return result


TYPE = re.compile(r"bool|u?int(8|16|32|64)|float(32|64)|decimal\(\d+, ?\d+\)|string|bytes|date|time|timestamp|timestamptz"
                  r"|interval|uuid|json|null|(list|map|struct)<.+>")
PYTHON: dict[str, Any] = {
    "bool": bool, "int": int, "uint": int, "float": (int, float), "decimal": (int, str, decimal.Decimal),
    "string": str, "bytes": (bytes, bytearray), "date": datetime.date, "time": datetime.time,
    "timestamp": datetime.datetime, "timestamptz": datetime.datetime, "interval": (str, datetime.timedelta),
    "uuid": (str, uuid.UUID), "null": (),
}


def cell(kind: str, value: Any) -> Any:
    """Returns a value of a column of a type as JSON has it."""
    base = re.split(r"[(<]", kind)[0]
    short, bits = base.rstrip("0123456789"), base.lstrip("uintfloa")
    if value is None or short not in PYTHON:
        return plain(value)
    if not isinstance(value, PYTHON[short]) or isinstance(value, bool) is not (base == "bool"):
        raise TypeError(f"a value of type {type(value).__name__} is no {kind}")
    if short in ("int", "uint"):
        low, high = (0, 1 << int(bits)) if short == "uint" else (-(1 << int(bits) - 1), 1 << int(bits) - 1)
        if not low <= value < high:
            raise ValueError(f"{value} does not fit into {kind}")
    if base == "timestamptz" and value.tzinfo is None:
        raise ValueError(f"{value} has no time zone and is no timestamptz")
    if base == "date" and isinstance(value, datetime.datetime):
        return plain(value.date())
    return plain(decimal.Decimal(value) if short == "decimal" else float(value) if short == "float" else value)


def plain(value: Any) -> Any:
    """Returns a value as JSON has it: what its numbers cannot hold exactly are strings."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= 1 << 53 else str(value)
        case float():
            return value if math.isfinite(value) else "NaN" if math.isnan(value) else f"{value:+f}".title()
        case decimal.Decimal():
            return f"{value:f}"
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case datetime.datetime():
            return value.isoformat() + "Z" if value.tzinfo is None else value.isoformat().replace("+00:00", "Z")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return f"{value.total_seconds():f}s"
        case uuid.UUID():
            return str(value)
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
    raise TypeError(f"a value of type {type(value).__name__} has no form in JSON")


def dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
