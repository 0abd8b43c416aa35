"""The messages and services of the plugin protocol.

Nothing is generated as code: protocol.binpb is the compiled form of the
repository's proto/ and describes them all. `make generate` writes it.
"""

from __future__ import annotations

import pkgutil
import types

from google.protobuf import descriptor_pb2, message_factory

FILES = descriptor_pb2.FileDescriptorSet.FromString(pkgutil.get_data("heimdall_plugin", "protocol.binpb") or b"").file
MESSAGES = message_factory.GetMessages(FILES)  # classes by their full names
SERVICES = {f"{file.package}.{service.name}": service.method for file in FILES for service in file.service}
pb = types.SimpleNamespace(**{name.rpartition(".")[2]: message for name, message in MESSAGES.items()})

COOKIE = ("HEIMDALL_PLUGIN_COOKIE", "1f0c5b1e6f5e4c0fa7c6d0c8f2b9a4d3")
VERSION = "1"
MAX_MESSAGE = 64 << 20  # bytes
TABLE = "application/vnd.heimdall.table+json"


def clip(text: str, size: int = 8 << 10) -> str:
    """Returns a text as it may go over the wire: bounded, and UTF-8."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= size and data.isascii() else data[:size].decode("utf-8", "ignore")
