"""The services of a plugin, and the process around them."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio

from .attempt import GRACEFUL, MAX_KEPT, Attempt
from .errors import stop_error
from .job import Job
from .protocol import COOKIE, MAX_MESSAGE, MESSAGES, SERVICES, VERSION, clip, pb
from .result import dumps
from .schema import read, secrets_of

SHUTDOWN, LEASE_LOST = 3, 5  # CancelReason
MAX_FORGOTTEN = 8192  # ids of acknowledged attempts that are remembered: a late start begins nothing


class Plugin:
    """The services of a plugin. A capitalized method is a call of the protocol; one that is missing, UNIMPLEMENTED."""

    def __init__(self, name: str, version: str, run: Callable[[Job], None], settings_schema: Any, input_schema: Any,
                 check: Callable[[dict[str, Any]], None] | None, description: Any) -> None:
        closed = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": False}
        self.name, self.run, self.check = name, run, check
        self.settings, self.input = closed | (settings_schema or {}), closed | (input_schema or {})
        self.description = description
        self.description.MergeFrom(pb.DescribeResponse(
            name=name, version=version, sdk_version="python/0.1.0", kinds=["KIND_COMMAND"],
            settings_schema=json.dumps(self.settings), input_schema=json.dumps(self.input)))
        self.attempts: dict[str, Attempt] = {}  # in the order of their start
        self.forgotten: dict[str, None] = {}
        self.early: dict[str, Any] = {}  # cancels that overtook their start
        self.draining = False
        self.changed = asyncio.Event()  # set, and replaced, when an attempt has ended
        self.epoch = 0  # of the host, as the next two: when it was heard of, and until when it may run
        self.seen, self.until = boot_time(), math.inf

    def running(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts.values() if not attempt.ended]

    def notify(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def Describe(self, request: Any, context: Any) -> Any:
        self.seen = boot_time()
        return self.description

    async def Renew(self, request: Any, context: Any) -> Any:
        if request.host_epoch < self.epoch:
            message = f"host epoch {request.host_epoch} is older than {self.epoch}, which is in force"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, message)
        self.epoch, self.seen = request.host_epoch, boot_time()
        self.until = self.seen + request.valid_for.ToMilliseconds() / 1000
        return pb.RenewResponse()

    async def List(self, request: Any, context: Any) -> Any:
        self.seen = boot_time()
        return pb.ListResponse(host_epoch=self.epoch, attempts=[
            pb.AttemptInfo(attempt_id=a.id, job_id=a.request.job.id, last_event=a.last, state=2 if a.ended else 1)
            for a in self.attempts.values()])

    async def Drain(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.draining, told = True, None
        while True:
            changed, running = self.changed, sorted(attempt.id for attempt in self.running())
            if running != told:
                yield pb.DrainResponse(running=running)
                told = running
            if not running:
                return
            await changed.wait()

    async def Start(self, request: Any, context: Any) -> AsyncIterator[Any]:
        attempt = self.attempts.get(request.attempt_id)
        if attempt is None:
            if refusal := self.refuse(request.attempt_id):
                await context.abort(*refusal)
            attempt = Attempt(self, request)
            if early := self.early.pop(attempt.id, None):
                self.obey(attempt, early)
            attempt.begin()
            self.attempts[attempt.id] = attempt
        async for events in attempt.follow(1):
            yield pb.StartResponse(events=events)

    def refuse(self, attempt: str) -> tuple[grpc.StatusCode, str] | None:
        """Returns why an unknown attempt may not start."""
        limit = self.description.capabilities.max_concurrency
        if attempt in self.forgotten:
            return grpc.StatusCode.ALREADY_EXISTS, f"attempt {attempt} has ended and was acknowledged"
        if not attempt:
            return grpc.StatusCode.INVALID_ARGUMENT, "attempt_id is empty"
        if self.draining:
            return grpc.StatusCode.FAILED_PRECONDITION, f"plugin {self.name} drains and starts nothing more"
        if limit and len(self.running()) >= limit:
            return grpc.StatusCode.RESOURCE_EXHAUSTED, f"plugin {self.name} runs {limit} attempts, which is its limit"
        return None

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if request.attempt_id not in self.attempts:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"attempt {request.attempt_id!r} is not known")
        async for events in self.attempts[request.attempt_id].follow(getattr(request, "from")):
            yield pb.WatchResponse(events=events)

    async def Ack(self, request: Any, context: Any) -> Any:
        for acked in request.attempts:
            attempt = self.attempts.get(acked.attempt_id)
            if attempt and attempt.ack(acked.event):
                self.forgotten[attempt.id] = None
                del self.attempts[attempt.id]
        while len(self.forgotten) > MAX_FORGOTTEN:
            del self.forgotten[next(iter(self.forgotten))]
        return pb.AckResponse()

    async def Cancel(self, request: Any, context: Any) -> Any:
        attempt = self.attempts.get(request.attempt_id)
        if attempt is None and request.attempt_id not in self.forgotten:
            if len(self.early) >= MAX_KEPT:
                self.early.clear()
            self.early[request.attempt_id] = request
        return pb.CancelResponse(accepted=attempt is not None and self.obey(attempt, request))

    def obey(self, attempt: Attempt, request: Any) -> bool:
        return attempt.stop(request.mode, request.grace.ToMilliseconds() / 1000, stop_error(request.reason, request.message))

    async def UpdateSecrets(self, request: Any, context: Any) -> Any:
        if request.attempt_id not in self.attempts:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"attempt {request.attempt_id!r} is not known")
        self.attempts[request.attempt_id].secrets.update(secrets_of(request))
        return pb.UpdateSecretsResponse()

    async def Check(self, request: Any, context: Any) -> Any:
        try:
            settings = read(request, self.settings)
            if self.check is None:
                return pb.CheckResponse(ok=True)
            await asyncio.to_thread(self.check, settings)
        except Exception as cause:
            return pb.CheckResponse(checked=True, detail=clip(str(cause)))
        return pb.CheckResponse(checked=True, ok=True)

    async def Cleanup(self, request: Any, context: Any) -> Any:
        return pb.CleanupResponse()  # programs end with their job, and files lie in its folders

    def look(self) -> bool:
        """Stops attempts that no host may or does follow, and reports whether the process should end."""
        now = boot_time()
        alone, running = now - self.seen, self.running()
        for attempt in running:
            orphan = attempt.request.orphan_timeout.ToMilliseconds() / 1000
            if now > self.until and attempt.request.retryable or attempt.request.HasField("orphan_timeout") and alone > orphan:
                attempt.stop(GRACEFUL, 0, stop_error(LEASE_LOST))
        return not running and alone > (3600 if self.attempts else 60)

    def handler(self, method: Any) -> Any:
        """Returns the handler of a call that the protocol describes."""
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        request, response = MESSAGES[method.input_type[1:]], MESSAGES[method.output_type[1:]]
        return make(getattr(self, method.name), request.FromString, response.SerializeToString)

    async def serve(self, handshake: int) -> None:
        """Serves until SIGTERM, or until no host comes any more."""
        server = grpc.aio.server(options=[(f"grpc.max_{way}_message_length", MAX_MESSAGE) for way in ("receive", "send")])
        for name, methods in SERVICES.items():
            handlers = {method.name: self.handler(method) for method in methods if hasattr(self, method.name)}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        socket = os.path.join(os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp(), f"plugin{os.getpid()}")
        server.add_insecure_port(f"unix:{socket}")
        await server.start()

        over, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, over.set)
        # It reaches whole groups. It is not ignored, because programs would inherit that.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        os.write(handshake, f"1|{VERSION}|unix|{socket}|grpc\n".encode())
        os.close(handshake)
        while not over.is_set() and not self.look():
            try:
                await asyncio.wait_for(over.wait(), 2)
            except TimeoutError:
                pass

        self.draining = True
        for attempt in self.running():
            attempt.stop(GRACEFUL, 1.0, stop_error(SHUTDOWN))
        while self.running():  # bounded: what does not stop is forced, and then left behind
            await self.changed.wait()
        await server.stop(0.25)


def boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # it goes on while the machine sleeps


class Lines(logging.Formatter):
    """Log lines as the host reads them: JSON, with a level."""

    def format(self, record: logging.LogRecord) -> str:
        level = {"WARNING": "warn", "CRITICAL": "error"}.get(record.levelname, record.levelname.lower())
        more = {name: getattr(record, name) for name in ("job", "attempt") if hasattr(record, name)}
        return json.dumps({"level": level, "msg": super().format(record), **more})


def serve(name: str, version: str, run: Callable[[Job], None], *,
          settings_schema: Mapping[str, Any] | None = None, input_schema: Mapping[str, Any] | None = None,
          examples: Iterable[Mapping[str, Any]] = (), docs: str = "", check: Callable[[dict[str, Any]], None] | None = None,
          max_concurrency: int = 0, read_only: bool = False, retry_safe: bool = False) -> NoReturn:
    """Serves the plugin until its host ends it, and exits the process. It is the last line of a plugin.

    The name is that of the file behind "heimdall-plugin-"; the version a semantic
    one. run performs one job, in a thread of its own: it returns when the job has
    succeeded and raises when not. The schemas are JSON Schema of objects that
    have no other properties unless they say so; see fit for what is checked. An
    example has kind (quick, long, fails, table, logs or big), title, settings,
    input and needs. check gets settings and raises if no work could be done with
    them. At most max_concurrency jobs run at once, 0 is without limit; read_only
    jobs change nothing, retry_safe ones may be started again at any time.
    """
    if os.environ.get(COOKIE[0]) != COOKIE[1]:
        sys.exit(f"This is {name} {version}, a plugin of Heimdall. It does nothing by itself.\n"
                 f"Put it into the plugin folder of a Heimdall server as heimdall-plugin-{name}.")
    if VERSION not in os.environ.get("PLUGIN_PROTOCOL_VERSIONS", VERSION).split(","):
        sys.exit(f"plugin {name} speaks version {VERSION} of the plugin protocol, and the host does not")
    handshake = os.dup(1)
    os.dup2(2, 1)  # what is printed, also by an import before this, goes to the host's log
    sys.stdout.flush()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])

    description = pb.DescribeResponse(docs=docs, examples=[
        pb.Example(kind=f"EXAMPLE_KIND_{e['kind'].upper()}", title=e.get("title", ""), needs=e.get("needs", ()),
                   settings=dumps(e.get("settings", {})), input=dumps(e.get("input", {}))) for e in examples])
    capabilities = pb.Capabilities(max_concurrency=max_concurrency, read_only=read_only, retry_safe=retry_safe)
    description.capabilities.CopyFrom(capabilities)

    async def main() -> None:
        await Plugin(name, version, run, settings_schema, input_schema, check, description).serve(handshake)
        logging.shutdown()
        os._exit(0)  # threads of jobs that did not return would hold an orderly end

    asyncio.run(main())
    raise AssertionError("not reached")
