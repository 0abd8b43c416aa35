"""All that a plugin of Heimdall needs in Python: one file to lay beside yours.

    from heimdall_plugin import Job, serve

    def run(job: Job) -> None:
        job.text(f"Hello, {job.user}!")

    serve("hello", "0.1.0", run)

It is also meant to be read by those who teach another language the protocol. Its
sections follow the life of a job: the protocol; the process; the calls of the
host; an attempt, its events and its stop; settings and input; what run sees;
streams and programs; results; errors.

The calls of the host are served on an asyncio loop in the main thread. Each job
runs in a thread of its own and hands over events. Needs Python 3.11 and Debian's
python3-grpcio and python3-protobuf.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import datetime
import decimal
import hashlib
import io
import json
import math
import os
import pathlib
import pkgutil
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, message_factory

__all__ = ["Canceled", "Error", "Job", "serve"]

# --- The protocol ---
#
# protocol.binpb describes the messages and services of proto/ in protobuf's own
# form. Classes are made of it here, so there is neither generated code nor a
# compiler: pb.Event is the class of the message Event.

_FILES = descriptor_pb2.FileDescriptorSet.FromString(pkgutil.get_data("heimdall_plugin", "protocol.binpb") or b"").file
_MESSAGES = message_factory.GetMessages(_FILES)  # by their full names
pb = types.SimpleNamespace(**{name.rpartition(".")[2]: message for name, message in _MESSAGES.items()})

_COOKIE = ("HEIMDALL_PLUGIN_COOKIE", "1f0c5b1e6f5e4c0fa7c6d0c8f2b9a4d3")
_RESUME = 2  # StartMode
_GRACEFUL, _FORCED = 1, 2  # CancelMode
_TIMEOUT, _SHUTDOWN, _CLIENT_GONE, _LEASE_LOST, _LIMIT = 2, 3, 4, 5, 6  # CancelReason

_MAX_MESSAGE = 64 << 20  # bytes
_MAX_BATCH = 192 << 10  # bytes of events in one message; a large one may be alone in it
_MAX_INLINE = 160 << 10  # bytes of a result that travels in its event
_MAX_DETAIL = 32 << 10  # bytes of an error's detail
_MAX_KEPT = 512  # events of an attempt that wait for an acknowledgement; also early cancels
_MAX_FORGOTTEN = 8192  # ids of acknowledged attempts that are remembered: a late start begins nothing

_GATHER = 0.005  # seconds that events may lie, so that a quick job is one message
_GRACE = 10.0  # seconds of an orderly stop when nobody says
_DEAF = 1.0  # seconds from a forced stop until the job ends without run
_LOOK = 2.0  # seconds between two looks at whether there is still a host


# --- The process ---


def serve(name: str, version: str, run: Callable[[Job], None], *, settings_schema: Mapping[str, Any] | None = None,
          input_schema: Mapping[str, Any] | None = None, plugin_settings_schema: Mapping[str, Any] | None = None,
          examples: Iterable[Mapping[str, Any]] = (), docs: str = "",
          check: Callable[[dict[str, Any]], None] | None = None, **capabilities: Any) -> NoReturn:
    """Serves the plugin until its host ends it, and exits the process. It is the last line of a plugin.

    The name is that of the file behind "heimdall-plugin-", the version a semantic
    one. run performs one job, in a thread of its own: it returns when the job has
    succeeded and raises when it has not. The schemas are JSON Schema of objects,
    closed unless they say otherwise; _fit says what is checked. An example has kind
    (quick, long, fails, table, logs or big), title, settings, input and needs. check
    gets settings, and raises if no work could be done with them now. Capabilities:
    at most max_concurrency jobs run at once; read_only jobs change nothing;
    retry_safe ones may be started again at any time.
    """
    if os.environ.get(_COOKIE[0]) != _COOKIE[1]:
        sys.exit(f"This is {name} {version}, a plugin of Heimdall. It does nothing by itself.\n"
                 f"Put it into the plugin folder of a Heimdall server as heimdall-plugin-{name}.")
    if "1" not in os.environ.get("PLUGIN_PROTOCOL_VERSIONS", "1").split(","):
        sys.exit(f"plugin {name} speaks version 1 of the plugin protocol, and the host does not")
    handshake = os.dup(1)
    os.dup2(2, 1)  # what is printed, also by an import before this, goes to the host's log
    sys.stdout.flush()
    sys.stdout.reconfigure(line_buffering=True)

    schemas = [{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
                "additionalProperties": False, **(schema or {})}
               for schema in (settings_schema, input_schema, plugin_settings_schema)]
    description = pb.DescribeResponse(
        name=name, version=version, sdk_version="python/0.1.0", kinds=["KIND_COMMAND"], docs=docs,
        settings_schema=json.dumps(schemas[0]), input_schema=json.dumps(schemas[1]),
        plugin_settings_schema=json.dumps(schemas[2]), capabilities=pb.Capabilities(**capabilities),
        examples=[pb.Example(kind=f"EXAMPLE_KIND_{e['kind'].upper()}", title=e.get("title", ""), needs=e.get("needs", ()),
                             settings=_dumps(e.get("settings", {})), input=_dumps(e.get("input", {}))) for e in examples])

    async def main() -> None:
        await _Plugin(description, schemas, run, check).serve(handshake)
        os._exit(0)  # threads of jobs that did not return would hold an orderly end

    asyncio.run(main())
    raise AssertionError("not reached")


class _News:
    """Something to await until the next time that there is news. It belongs to the loop."""

    def __init__(self) -> None:
        self.next = asyncio.Event()

    def spread(self) -> None:
        self.next.set()
        self.next = asyncio.Event()


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # it goes on while the machine sleeps


# --- The calls of the host ---


class _Plugin:
    """The services. A method with a capital is a call of the protocol. All belongs to the loop."""

    def __init__(self, description: Any, schemas: list[Any], run: Callable[[Job], None], check: Any) -> None:
        self.description, self.name, self.run, self.check = description, description.name, run, check
        self.settings, self.input, self.own = schemas
        self.own_settings, self.generation = _fit({}, self.own | {"required": []}), 0  # until Configure
        self.attempts: dict[str, _Attempt] = {}  # until their end is acknowledged, in the order of their start
        self.forgotten: dict[str, None] = {}  # their ids, afterwards
        self.early: dict[str, Any] = {}  # cancels that overtook their start
        self.draining, self.ends = False, _News()  # of attempts
        self.epoch = 0  # of the host; the next two: when it was heard of, and until when it may run
        self.seen, self.until = _boot_time(), math.inf

    async def serve(self, handshake: int) -> None:
        """Serves until SIGTERM, or until no host comes any more."""
        server = grpc.aio.server(options=[(f"grpc.max_{way}_message_length", _MAX_MESSAGE) for way in ("receive", "send")])
        for file in _FILES:
            for service in file.service:
                calls = {call.name: self.handler(call) for call in service.method}
                name = f"{file.package}.{service.name}"
                server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, calls),))
        self.folder = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp()
        socket = os.path.join(self.folder, f"plugin{os.getpid()}")
        if len(socket) > 107:
            sys.exit(f"{socket} is too long for a unix socket, which may have 107 bytes: use a shorter folder")
        server.add_insecure_port(f"unix:{socket}")
        await server.start()

        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, lambda: os._exit(1) if over.is_set() else over.set())
        # SIGINT reaches whole groups. It is not ignored, because programs would inherit that.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        os.write(handshake, f"1|1|unix|{socket}|grpc\n".encode())
        os.close(handshake)
        terminated = asyncio.create_task(over.wait())
        while not terminated.done() and not self.look():
            await asyncio.wait([terminated], timeout=_LOOK)

        self.draining = True
        for attempt in self.running():
            attempt.stop(_GRACEFUL, 1.0, _stopped(_SHUTDOWN))
        while self.running():  # bounded: what does not stop is forced, and then left behind
            await self.ends.next.wait()
        await server.stop(0.25)

    def handler(self, call: Any) -> Any:
        """Returns the handler of a call that the protocol describes."""
        make = grpc.unary_stream_rpc_method_handler if call.server_streaming else grpc.unary_unary_rpc_method_handler
        request, response = _MESSAGES[call.input_type[1:]], _MESSAGES[call.output_type[1:]]
        return make(getattr(self, call.name), request.FromString, response.SerializeToString)

    def running(self) -> list[_Attempt]:
        return [attempt for attempt in self.attempts.values() if not attempt.ended]

    def look(self) -> bool:
        """Stops attempts that no host may or does follow, and reports whether the process should end."""
        now, running = _boot_time(), self.running()
        alone = now - self.seen
        for attempt in running:
            orphan = _seconds(attempt.request.orphan_timeout)
            if now > self.until and attempt.request.retryable:
                attempt.stop(_GRACEFUL, 0, _stopped(_LEASE_LOST))
            elif attempt.request.HasField("orphan_timeout") and alone > orphan:
                attempt.stop(_GRACEFUL, 0, _stopped(_LEASE_LOST, f"no host followed the job for {orphan:g} seconds"))
        wanted = self.attempts and os.path.exists(self.folder)  # a host may come for their ends, which it finds by the socket
        return not running and alone > (3600 if wanted else 60)

    async def Describe(self, request: Any, context: Any) -> Any:
        self.seen = _boot_time()
        return self.description

    async def Configure(self, request: Any, context: Any) -> Any:
        self.seen = _boot_time()
        if request.generation >= self.generation:
            try:
                self.own_settings = _settings_of(request, self.own)
            except Error as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"plugin {self.name}: {error}")
            self.generation = request.generation
        return pb.ConfigureResponse()

    async def Renew(self, request: Any, context: Any) -> Any:
        if request.host_epoch < self.epoch:
            message = f"host epoch {request.host_epoch} is older than {self.epoch}, which is in force"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, message)
        self.epoch, self.seen = request.host_epoch, _boot_time()
        if valid := _seconds(request.valid_for):  # else the host only says that it lives
            self.until = self.seen + valid
        return pb.RenewResponse()

    async def List(self, request: Any, context: Any) -> Any:
        self.seen = _boot_time()
        return pb.ListResponse(host_epoch=self.epoch, attempts=[
            pb.AttemptInfo(attempt_id=a.id, job_id=a.request.job.id, last_event=a.last,
                           state="ATTEMPT_STATE_ENDED" if a.ended else "ATTEMPT_STATE_RUNNING")
            for a in self.attempts.values()])

    async def Check(self, request: Any, context: Any) -> Any:
        try:
            settings = _settings_of(request, self.settings)
            if self.check:
                await asyncio.to_thread(self.check, settings)
            return pb.CheckResponse(checked=self.check is not None, ok=True)
        except Exception as cause:
            return pb.CheckResponse(checked=True, detail=_clip(str(cause)))

    async def Start(self, request: Any, context: Any) -> AsyncIterator[Any]:
        attempt = self.attempts.get(request.attempt_id)
        if attempt is None:
            if refusal := self.refuse(request.attempt_id):
                await context.abort(*refusal)
            attempt = _Attempt(self, request)
            if early := self.early.pop(attempt.id, None):
                attempt.obey(early)
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
        attempt = await self.known(request.attempt_id, context)
        async for events in attempt.follow(getattr(request, "from")):
            yield pb.WatchResponse(events=events)

    async def known(self, attempt: str, context: Any) -> _Attempt:
        if attempt not in self.attempts:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"attempt {attempt!r} is not known")
        return self.attempts[attempt]

    async def UpdateSecrets(self, request: Any, context: Any) -> Any:
        (await self.known(request.attempt_id, context)).secrets.update(_secrets_of(request))
        return pb.UpdateSecretsResponse()

    async def Ack(self, request: Any, context: Any) -> Any:
        for acked in request.attempts:
            attempt = self.attempts.get(acked.attempt_id)
            if attempt and attempt.ack(acked.event):
                self.forgotten[attempt.id] = None
                del self.attempts[attempt.id]
        while len(self.forgotten) > _MAX_FORGOTTEN:
            del self.forgotten[next(iter(self.forgotten))]
        return pb.AckResponse()

    async def Cancel(self, request: Any, context: Any) -> Any:
        attempt = self.attempts.get(request.attempt_id)
        if attempt is None and request.attempt_id not in self.forgotten:
            if len(self.early) >= _MAX_KEPT:
                self.early.clear()
            self.early[request.attempt_id] = request
        return pb.CancelResponse(accepted=attempt is not None and attempt.obey(request))

    async def Cleanup(self, request: Any, context: Any) -> Any:
        return pb.CleanupResponse()  # programs end with their job, and files lie in its folders

    async def Drain(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.draining = True
        while running := sorted(attempt.id for attempt in self.running()):
            yield pb.DrainResponse(running=running)
            if running == sorted(attempt.id for attempt in self.running()):
                await self.ends.next.wait()
        yield pb.DrainResponse()


# --- An attempt, its events and its stop ---


class _Attempt:
    """One try to perform a job, from its start until the host has acknowledged its end.

    It is tied to no call: calls only follow its events. It belongs to the loop, but
    for work and what work and the job call; the lock guards what both sides change.
    """

    def __init__(self, plugin: _Plugin, request: Any) -> None:
        self.plugin, self.request, self.id = plugin, request, request.attempt_id
        self.loop, self.lock = asyncio.get_running_loop(), threading.Lock()
        self.events: dict[Any, Any] = {}  # not acknowledged yet, by what a later one replaces; in their order
        self.last, self.ended = 0, False  # number of the newest event; whether it is the end
        self.news, self.telling = _News(), False  # of events; whether the loop was told of them
        self.stopped: Error | None = None  # why it was told to stop
        self.canceled = threading.Event()
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.secrets = _secrets_of(request)
        self.streams = _Stream(self, 1, "stdout"), _Stream(self, 2, "stderr")
        self.programs, self.starting = False, threading.Lock()  # whether any was started; held while one is
        self.thread = threading.Thread(target=self.work, name=f"attempt {self.id}", daemon=True)

    def begin(self) -> None:
        self.thread.start()
        if self.request.HasField("deadline"):
            left = self.request.deadline.ToMilliseconds() / 1000 - time.time()
            self.later("deadline", left, self.stop, _GRACEFUL, 0, _stopped(_TIMEOUT))

    def work(self) -> None:
        """Performs the job, in a thread of its own, and reports its end whatever happens."""
        result, error = None, Error("internal", "run ended in an unheard-of way")
        try:
            if self.request.mode == _RESUME:
                raise Error("lost", f"plugin {self.plugin.name} cannot go on with the work of an earlier attempt")
            job = Job(self, _settings_of(self.request, self.plugin.settings), _input_of(self.request, self.plugin.input))
            job.wait()
            self.tell("started", pb.Started())
            self.plugin.run(job)
            result, error = job._result and job._result.close(), None
        except BaseException as cause:
            error = _describe(cause)
        finally:
            self.end_programs(signal.SIGKILL)
            self.loop.call_soon_threadsafe(self.end, result, error)

    def end(self, result: Any, error: Error | None) -> None:
        """Reports the end, once. An error after a stop came of the stop, whatever run made of it."""
        if self.ended:
            return
        for timer in self.timers.values():
            timer.cancel()
        for stream in self.streams:
            try:
                stream.close()
            except OSError as cause:
                error = error or Error("internal", f"write the job's streams: {cause}")
        if error and self.stopped:
            self.stopped.wire.detail = _clip(f"{error}\n{error.wire.detail}", _MAX_DETAIL)
            error = self.stopped
        if error is None and result is not None:
            self.tell("result", result)
        self.tell("ended", pb.Ended(error=error and error.wire))
        self.plugin.ends.spread()

    def tell(self, kind: str, value: Any) -> None:
        """Adds an event, from any thread. Progress, or the same output or usage, takes the place of the last."""
        key = {"progress": "", "output": getattr(value, "key", ""), "usage": getattr(value, "unit", "")}.get(kind)
        event = pb.Event(**{kind: value})
        event.time.GetCurrentTime()
        with self.lock:
            if key is not None:
                self.events.pop((kind, key), None)
            if self.ended or key is not None and len(self.events) >= _MAX_KEPT:
                return
            self.last += 1
            event.number = self.last
            self.events[self.last if key is None else (kind, key)] = event
            self.ended = kind == "ended"
            if self.ended:
                self.loop.call_soon_threadsafe(self.spread)
            elif not self.telling:
                self.telling = True
                self.loop.call_soon_threadsafe(self.loop.call_later, _GATHER, self.spread)

    def spread(self) -> None:
        """Wakes those who follow."""
        self.telling = False
        self.news.spread()

    async def follow(self, number: int) -> AsyncIterator[list[Any]]:
        """Yields the events from a number on until the end."""
        while True:
            batch, size = [], 0
            with self.lock:
                for event in self.events.values():
                    size += event.ByteSize() if event.number >= number else 0
                    if event.number >= number and (not batch or size <= _MAX_BATCH):
                        batch.append(event)
            if batch:
                yield batch
                number = batch[-1].number + 1
            elif self.ended:
                return
            else:
                await self.news.next.wait()

    def ack(self, number: int) -> bool:
        """Forgets events that the host holds, and reports whether the end is among them."""
        with self.lock:
            self.events = {key: event for key, event in self.events.items() if event.number > number}
            return self.ended and not self.events

    def obey(self, request: Any) -> bool:
        """Stops as the host asks."""
        return self.stop(request.mode, _seconds(request.grace), _stopped(request.reason, request.message))

    def stop(self, mode: int, grace: float, reason: Error) -> bool:
        """Tells the job to stop and reports whether it still ran.

        The first reason stays. What is not over after the grace time, of which the
        last that was said counts, is forced.
        """
        if self.ended:
            return False
        first, self.stopped = self.stopped is None, self.stopped or reason
        if first:
            self.canceled.set()
        if mode == _FORCED:
            self.force()
        elif first or grace > 0:
            self.later("force", grace if grace > 0 else _GRACE, self.force)
            if first:
                threading.Thread(target=self.end_programs, args=(signal.SIGTERM,), daemon=True).start()
        return True

    def force(self) -> None:
        """Kills the job's programs and raises Canceled in run. A run that does not return soon is left behind."""
        threading.Thread(target=self.end_programs, args=(signal.SIGKILL,), daemon=True).start()
        if self.thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread.ident or 0), ctypes.py_object(Canceled))
        self.later("deaf", _DEAF, self.end, None, Error("internal", "run did not return after it was told to stop"))

    def later(self, name: str, seconds: float, action: Callable[..., Any], *args: Any) -> None:
        """Does something later unless the attempt ends before. One of the same name takes its place."""
        if name in self.timers:
            self.timers[name].cancel()
        self.timers[name] = self.loop.call_later(seconds, action, *args)

    def end_programs(self, number: int) -> None:
        """Signals all that came from the job's programs, after which no others start. SIGKILL waits for their end."""
        with self.starting:
            if not self.canceled.is_set():  # Canceled, raised anywhere in run, may have left its lock behind
                self.canceled.set()
        gone = 0
        # A process that becomes another program just now shows no environment: hence three looks. What the kernel
        # does not end within seconds, nobody can.
        for _ in range(400 if self.programs else 0):
            gone = 0 if _signal_all(f"HEIMDALL_ATTEMPT_ID={self.id}", number) else gone + 1
            if gone == 3 or number != signal.SIGKILL:
                return
            time.sleep(0.005)


# --- Settings and input ---


def _settings_of(request: Any, schema: Any) -> Any:
    """Returns the settings of a request, with secrets and defaults."""
    try:
        settings = json.loads(request.settings or b"{}")
        for pointer, value in _secrets_of(request).items():
            *path, last = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
            place = settings
            for token in path:
                place = place[int(token)] if isinstance(place, list) else place.setdefault(token, {})
            place[int(last) if isinstance(place, list) else last] = value
        return _fit(settings, schema)
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as cause:
        raise Error("internal", f"settings: {cause}") from cause


def _input_of(request: Any, schema: Any) -> Any:
    """Returns the input of a request, with defaults."""
    try:
        return _fit(json.loads(request.input or b"{}"), schema)
    except (ValueError, RecursionError) as cause:
        raise Error("invalid", f"input: {cause}") from cause


def _secrets_of(request: Any) -> dict[str, str]:
    """Returns the secrets of a request by their JSON pointers."""
    return {secret.pointer: secret.value.decode("utf-8", "replace") for secret in request.secrets}


_JSON_TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
                               "boolean": bool, "null": type(None)}


def _fit(value: Any, schema: Any, at: str = "") -> Any:
    """Returns a value with its defaults, or raises ValueError if it does not fit.

    Of JSON Schema it knows type, enum, minimum, maximum, properties, required,
    additionalProperties, items and default; the rest only documents.
    """
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    # To Python, but not to JSON, True is an integer.
    if kinds and not any(isinstance(value, _JSON_TYPES[k]) and isinstance(value, bool) is (k == "boolean") for k in kinds):
        raise ValueError(f"{at or 'it'} must be of type {' or '.join(kinds)}")
    if "enum" in schema and value not in schema["enum"]:
        raise ValueError(f"{at} must be one of {json.dumps(schema['enum'])}")
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        raise ValueError(f"{at} must lie between {schema.get('minimum', '-∞')} and {schema.get('maximum', '∞')}")
    if isinstance(value, list):
        return [_fit(inner, schema.get("items", {}), f"{at}/{i}") for i, inner in enumerate(value)]
    if not isinstance(value, dict):
        return value
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name in schema.get("required", []):
        if name not in value:
            raise ValueError(f"{at}/{name} is missing")
    if others is False and (unknown := sorted(value.keys() - properties.keys())):
        raise ValueError(f"{at}/{unknown[0]} is not known; known: {', '.join(sorted(properties)) or 'nothing'}")
    defaults = {name: inner["default"] for name, inner in properties.items() if "default" in inner}
    others = {} if isinstance(others, bool) else others
    return {name: _fit(inner, properties.get(name, others), f"{at}/{name}") for name, inner in (defaults | value).items()}


# --- What run sees ---


class Job:
    """One attempt to perform a job, as run sees it. It is worth nothing after run has returned."""

    def __init__(self, attempt: _Attempt, settings: dict[str, Any], input: dict[str, Any]) -> None:
        request = attempt.request
        self.id: str = request.job.id  # a UUID
        self.name: str = request.job.name  # that the caller gave
        self.tags: list[str] = list(request.job.tags)
        self.attempt: int = request.attempt_number  # from 1
        self.user: str = request.user.name  # who submitted the job
        self.files = {file.name: pathlib.Path(file.path) for file in request.inputs}  # that came with the job
        self.request = request  # all that the host said: the protocol's StartRequest
        self.settings = settings  # the operator's, with defaults and secrets
        self.plugin_settings: dict[str, Any] = attempt.plugin.own_settings  # the operator's for the plugin itself
        self.input = input  # the caller's, with defaults
        self.stdout, self.stderr = (stream.text for stream in attempt.streams)  # that callers read while the job runs
        self.canceled: threading.Event = attempt.canceled  # set when the job is told to stop
        self._attempt = attempt
        self._result: _Result | None = None  # the last that is whole
        self._usage: dict[str, float] = {}

    def wait(self, seconds: float = 0) -> None:
        """Sleeps, and raises Canceled as soon as the job is told to stop. Call it in long loops."""
        if self.canceled.wait(seconds):
            raise Canceled

    def dir(self) -> pathlib.Path:
        """Returns the job's own folder, which the first call makes. It goes away after the job."""
        return _folder(self.request.folders.work)

    def secret(self, pointer: str) -> str | None:
        """Returns the newest value of a secret of the settings by its JSON pointer, such as "/password"."""
        return self._attempt.secrets.get(pointer)

    def log(self, message: str, level: str = "info") -> None:
        """Writes to the host's log, for the operator; the levels are debug, info, warn and error."""
        line = {"level": level, "msg": message, "job": self.id, "attempt": self.request.attempt_id}
        print(json.dumps(line), file=sys.stderr, flush=True)

    def progress(self, done: float, total: float = 0, message: str = "") -> None:
        """Says how far the work is; a total of 0 is unknown."""
        self._attempt.tell("progress", pb.Progress(done=done, total=total, message=_clip(message)))

    def output(self, key: str, value: str, *, link: bool = False) -> None:
        """Shows a named value with the job; a link is an http or https address."""
        kind = "OUTPUT_KIND_LINK" if link else "OUTPUT_KIND_TEXT"
        self._attempt.tell("output", pb.Output(key=_clip(key), value=_clip(value), kind=kind))

    def usage(self, unit: str, amount: float) -> None:
        """Adds to what the job used of a unit, such as "rows"."""
        self._usage[unit] = self._usage.get(unit, 0.0) + amount
        self._attempt.tell("usage", pb.Usage(unit=_clip(unit), amount=self._usage[unit]))

    def text(self, text: str) -> None:
        """Makes a text the result. Of several results the last counts; a job that fails has none."""
        self.table({"message": "string"}, [[text]])

    def table(self, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> int:
        """Makes a table the result and returns how many rows it has.

        Columns are names with types: bool int8…int64 uint8…uint64 float32 float64
        decimal(p,s) string bytes date time timestamp timestamptz interval uuid json
        list<…> map<…> struct<…> null. Rows may come from a generator: they are
        written as they come, and to a file when they are many.
        """
        for name, kind in columns.items():
            if not _TYPE.fullmatch(kind):
                raise Error("internal", f"column {name!r}: there is no type {kind!r}")
        result = _Result(self.request, "application/vnd.heimdall.table+json")
        result.write(b'{"columns":%s,"data":[' % _dumps([{"name": n, "type": k} for n, k in columns.items()]))
        for row in rows:
            self.wait()
            try:
                text = _dumps([_cell(kind, value) for kind, value in zip(columns.values(), row, strict=True)])
            except (TypeError, ValueError, ArithmeticError) as error:
                raise Error("internal", f"row {result.rows + 1} of the table: {error}") from error
            result.write(b"," + text if result.rows else text)
            result.rows += 1
        result.write(b"]}")
        self._result = result
        return result.rows

    def result(self, content_type: str, data: str | bytes | Iterable[bytes]) -> None:
        """Makes a document the result: whole, or in pieces such as those of a file in mode "rb"."""
        result = _Result(self.request, content_type)
        for piece in [data.encode()] if isinstance(data, str) else [data] if isinstance(data, bytes) else data:
            self.wait()
            result.write(piece)
        self._result = result

    def command(self, args: Sequence[str], *, input: str | bytes | None = None, check: bool = True,
                **options: Any) -> subprocess.CompletedProcess[Any]:
        """Runs a program to its end, like subprocess.run.

        It starts in the job's folder and writes to the job's streams; options are
        those of subprocess.Popen, and env adds variables. With check, a status
        other than 0 is an error, and that of the job unless it is caught. When the
        job ends or is told to stop, so does all that came from the program, also
        what left its session or ignores SIGTERM. It is found by its environment.
        """
        names = ("PATH", "HOME", "TMPDIR", "LANG", "TZ", "USER")
        env = {name: value for name, value in os.environ.items() if name in names or name.startswith("LC_")}
        env |= {"HEIMDALL_JOB_ID": self.id, "HEIMDALL_ATTEMPT": str(self.attempt), "HEIMDALL_USER": self.user,
                "HEIMDALL_ATTEMPT_ID": self.request.attempt_id}
        if self.request.traceparent:
            env["TRACEPARENT"] = self.request.traceparent
        options = {"cwd": self.dir(), "stdin": subprocess.PIPE if input else subprocess.DEVNULL,
                   "text": not isinstance(input, bytes), **options, "env": env | dict(options.get("env") or {})}
        copies = [_Copy(stream) for stream in self._attempt.streams if stream.name not in options]
        try:
            with self._attempt.starting:  # whoever kills waits here, and then finds the new process too
                self.wait()
                self._attempt.programs = True
                process = subprocess.Popen(args, **options, **{copy.stream.name: copy.end for copy in copies})
        finally:
            for copy in copies:
                os.close(copy.end)
        out, err = process.communicate(input or None)
        for copy in copies:
            copy.join(1)  # longer only if something that the program left behind holds the stream
        if check and process.returncode:
            raise subprocess.CalledProcessError(process.returncode, args, out, err)
        return subprocess.CompletedProcess(args, process.returncode, out, err)


# --- Streams and programs ---


class _Stream(io.RawIOBase):
    """stdout or stderr of a job: a file that only grows and is made by the first write, from any thread."""

    def __init__(self, attempt: _Attempt, number: int, name: str) -> None:
        self.attempt, self.number, self.name, self.lock, self.file = attempt, number, name, threading.Lock(), -1
        self.left = self.limit = attempt.request.limits.log_bytes or sys.maxsize  # bytes
        self.text = io.TextIOWrapper(self, "utf-8", "replace", write_through=True)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Appends. What passes the limit is dropped without an error, and the job says so."""
        with self.lock:
            if self.closed:
                raise ValueError(f"write {self.name}: the job has ended")
            if self.file < 0:
                path = _folder(self.attempt.request.folders.logs) / self.name
                self.file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
            rest = memoryview(data)[: max(self.left, 0)]
            if self.left >= 0 and len(rest) < len(data):
                self.attempt.tell("log_truncated", pb.LogTruncated(stream=self.number, offset=self.limit))
                self.left = -1  # told
            while rest:
                written = os.write(self.file, rest)
                self.left -= written
                rest = rest[written:]
            return len(data)

    def close(self) -> None:
        with self.lock:
            super().close()
            file, self.file = self.file, -1
            if file >= 0:
                os.close(file)


class _Copy(threading.Thread):
    """Copies what a program writes into end to a stream of the job, whose limit holds so, until nobody holds end."""

    def __init__(self, stream: _Stream) -> None:
        super().__init__(daemon=True)
        self.stream = stream
        self.source, self.end = os.pipe()
        self.start()

    def run(self) -> None:
        with open(self.source, "rb", buffering=0) as source:
            while data := source.read(64 << 10):
                try:
                    self.stream.write(data)
                except (OSError, ValueError):
                    pass  # the disk is full or the job over: the program is not to hang for it


def _signal_all(mark: str, number: int) -> bool:
    """Signals all processes whose environment has a mark, and reports whether there were any."""
    found = False
    for environ in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in environ.read_bytes().split(b"\0"):
                os.kill(int(environ.parent.name), number)
                found = True
        except OSError:
            pass  # it has ended, or is somebody else's
    return found


def _folder(path: str) -> pathlib.Path:
    """Makes a folder of the attempt, which is not there before it is needed."""
    os.makedirs(path, 0o700, exist_ok=True)
    return pathlib.Path(path)


# --- Results ---


class _Result:
    """Takes the bytes of a result: in memory while they are few, in a file beyond."""

    def __init__(self, request: Any, content_type: str) -> None:
        media_type = re.fullmatch(r"[\w.+-]+/[\w.+-]+( *;.*)?", content_type)
        self.content_type = content_type if media_type else "application/octet-stream"
        self.limits, self.folder, self.name = request.limits, request.folders.result, f"result-{uuid.uuid4()}"
        self.rows, self.size = 0, 0
        self.inline, self.file, self.hash = bytearray(), None, hashlib.sha256()  # of what is in the file

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.limits.result_bytes and self.size > self.limits.result_bytes:
            raise Error("quota", f"the result is larger than the limit of {self.limits.result_bytes} bytes")
        if self.file is None and self.size <= min(self.limits.inline_result_bytes or 64 << 10, _MAX_INLINE):
            self.inline += data
            return
        if self.file is None:
            self.file = open(_folder(self.folder) / self.name, "xb")
            data = self.inline + data
        self.file.write(data)
        self.hash.update(data)

    def close(self) -> Any:
        """Returns the result as a message."""
        result = pb.Result(content_type=self.content_type, rows=self.rows, bytes=self.size)
        if self.file is None:
            result.inline = bytes(self.inline)
        else:
            self.file.close()
            result.file.path, result.file.sha256 = self.name, self.hash.digest()
        return result


_TYPE = re.compile(r"bool|u?int(8|16|32|64)|float(32|64)|decimal\(\d+, ?\d+\)|string|bytes|date|time|timestamp|timestamptz"
                   r"|interval|uuid|json|null|(list|map|struct)<.+>")


def _cell(kind: str, value: Any) -> Any:
    """Returns a value of a column of a type as JSON has it: what its numbers cannot hold exactly are strings."""
    base = re.split(r"[\d(<]", kind)[0]
    match base, value:
        case (_, None) | (("json" | "map" | "struct"), _) | ("bool", bool()) | (("string" | "interval"), str()):
            return value
        case "list", list() | tuple():
            return [_cell(kind[len("list<"):-1], inner) for inner in value]
        case ("int" | "uint"), int():
            bits = int(kind.lstrip("uint"))
            if not (0 <= value < 1 << bits if base == "uint" else -1 << bits - 1 <= value < 1 << bits - 1):
                raise ValueError(f"{value} does not fit into {kind}")
            return int(value) if abs(value) <= 1 << 53 else str(value)
        case "float", int() | float():
            return float(value) if math.isfinite(value) else "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
        case "decimal", int() | str() | decimal.Decimal():
            return f"{decimal.Decimal(value):f}"
        case "bytes", bytes():
            return base64.b64encode(value).decode()
        case "date", datetime.date():
            return value.isoformat()[:len("2006-01-02")]
        case "time", datetime.time():
            return value.isoformat()
        case "timestamp", datetime.datetime() if not value.tzinfo:
            return value.isoformat() + "Z"
        case "timestamptz", datetime.datetime() if value.tzinfo:
            return value.isoformat().replace("+00:00", "Z")
        case "interval", datetime.timedelta():
            return f"{value.total_seconds():f}s"
        case "uuid", str() | uuid.UUID():
            return str(value)
    raise TypeError(f"a value of type {type(value).__name__} is no {kind}")


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


# --- Errors ---


class Error(Exception):
    """Why a job did not end well: its class, and one sentence for the caller.

    invalid: the input is wrong; failed: the work said no; denied; quota;
    unavailable: the other side is down; transient: it may work when tried again;
    timeout; canceled; lost: the outcome is unknown; internal: a defect of the
    plugin. What else run raises is internal, with its stack for the operator, but
    for subprocess.CalledProcessError, which is failed.

    More: retry_after, in seconds; retry_safe: nothing happened outside, so that the
    job may be repeated whatever it says itself; exit_code and signal of a program;
    detail, for the operator.
    """

    def __init__(self, kind: str, message: str, *, retry_after: float = 0, detail: str = "", **more: Any) -> None:
        super().__init__(message)
        self.wire = pb.Error(message=_clip(message), detail=_clip(detail, _MAX_DETAIL), **more,
                             **{"class": f"ERROR_CLASS_{kind.upper()}"})
        if retry_after > 0:
            self.wire.retry_after.FromTimedelta(datetime.timedelta(seconds=retry_after))


class Canceled(BaseException):
    """The job was told to stop. Let it pass: like KeyboardInterrupt, it is no Exception."""


def _describe(cause: BaseException) -> Error:
    """Returns the error of a job whose run raised something."""
    if isinstance(cause, Error):
        return cause
    if isinstance(cause, subprocess.CalledProcessError):
        program = cause.cmd if isinstance(cause.cmd, str) else cause.cmd[0]
        if cause.returncode < 0:
            name = next((s.name for s in signal.Signals if s == -cause.returncode), f"signal {-cause.returncode}")
            return Error("failed", f"{program} was ended by {name}", signal=name)
        return Error("failed", f"{program} ended with status {cause.returncode}", exit_code=cause.returncode)
    return Error("internal", f"{type(cause).__name__}: {cause}", detail="".join(traceback.format_exception(cause)))


def _stopped(reason: int, message: str = "") -> Error:
    """Returns the error of a job that was stopped for a reason, in the host's words if it has any."""
    kind, text = {
        _TIMEOUT: ("timeout", "the job's time was up"),
        _SHUTDOWN: ("canceled", "the job was stopped because the host shuts down"),
        _CLIENT_GONE: ("canceled", "the caller that waited for the job has gone"),
        _LEASE_LOST: ("lost", "the host lost its right to run the job"),
        _LIMIT: ("quota", "the job broke a limit"),
    }.get(reason, ("canceled", "the job was canceled"))
    return Error(kind, message or text)


def _seconds(duration: Any) -> float:
    return duration.ToMilliseconds() / 1000


def _clip(text: str, size: int = 8 << 10) -> str:
    """Returns a text as it may go over the wire: bounded, and UTF-8."""
    return text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")
