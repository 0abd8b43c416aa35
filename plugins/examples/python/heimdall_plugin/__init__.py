"""What plugins of Heimdall need in Python.

    from heimdall_plugin import Job, serve

    def run(job: Job) -> None:
        job.text(f"Hello, {job.user}!")

    serve("hello", "0.1.0", run)

The calls of the host are served on an asyncio loop in the main thread. Each job
runs in a thread of its own, which hands its events to the loop. Needs Python 3.11
and Debian's python3-grpcio and python3-protobuf.
"""

from .errors import Canceled, Error
from .job import Job
from .server import serve

__all__ = ["Canceled", "Error", "Job", "serve"]
