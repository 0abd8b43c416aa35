"""Attempts to perform a job."""

from __future__ import annotations

import asyncio
import ctypes
import io
import json
import os
import pathlib
import signal
import threading
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from .errors import Canceled, Error, describe, stop_error
from .job import Job
from .protocol import clip, pb
from .schema import fit, read, secrets_of
from .stream import Stream

if TYPE_CHECKING:
    from .server import Plugin

GRACEFUL, FORCED, ABANDON = 1, 2, 3  # CancelMode
RESUME = 2  # StartMode
TIMEOUT = 2  # CancelReason
MAX_BATCH = 192 << 10  # bytes of events in one message; a large one may be alone in it
MAX_KEPT = 512  # events that wait for an acknowledgement, of kinds that can be many
GRACE, DEAF = 10.0, 1.0  # seconds: of a stop when nobody says; from a forced stop to the end without run


class Attempt:
    """One try to perform a job, from its start until the host has acknowledged its end.

    It belongs to the loop, but for work and what work and the job call.
    """

    def __init__(self, plugin: Plugin, request: Any) -> None:
        self.plugin, self.request, self.id = plugin, request, request.attempt_id
        self.loop = asyncio.get_running_loop()
        self.events: dict[Any, Any] = {}  # not acknowledged yet, by what a later one replaces; in their order
        self.last = 0  # number of the newest event
        self.changed = asyncio.Event()  # set, and replaced, when there is more to send
        self.ended, self.abandoned, self.parent = False, False, False
        self.stopped: Error | None = None  # why it was told to stop
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.canceled, self.lock = threading.Event(), threading.Lock()
        self.secrets = secrets_of(request)
        self.streams = tuple(io.TextIOWrapper(Stream(self, i, name), "utf-8", "replace", line_buffering=True)
                             for i, name in ((1, "stdout"), (2, "stderr")))
        self.thread = threading.Thread(target=self.work, name=f"attempt {self.id}", daemon=True)

    def begin(self) -> None:
        """Begins the work."""
        self.thread.start()
        if self.request.HasField("deadline"):
            left = self.request.deadline.ToMilliseconds() / 1000 - time.time()
            self.timers["deadline"] = self.loop.call_later(left, self.stop, GRACEFUL, 0, stop_error(TIMEOUT))

    def work(self) -> None:
        """Performs the job, in a thread of its own, and reports its end whatever happens."""
        result, error = None, Error("internal", "run ended in an unheard-of way")
        try:
            result, error = self.perform(), None
        except BaseException as cause:
            error = describe(cause)
        finally:
            self.end_programs(signal.SIGKILL)
            self.loop.call_soon_threadsafe(self.end, result, error)

    def perform(self) -> Any:
        settings = read(self.request, self.plugin.settings)
        try:
            input = fit(json.loads(self.request.input or "{}"), self.plugin.input)
        except ValueError as cause:
            raise Error("invalid", f"input: {cause}") from cause
        if self.request.mode == RESUME:
            raise Error("lost", f"plugin {self.plugin.name} cannot go on with the work of an earlier attempt")
        job = Job(self, settings, input)
        job.wait()
        self.tell("started", pb.Started())
        self.plugin.run(job)
        return job._close()

    def end_programs(self, number: int) -> None:
        """Signals all that came from the job's programs, after which no others start. SIGKILL waits for their end."""
        with self.lock:
            self.canceled.set()
        mark = f"HEIMDALL_ATTEMPT_ID={self.id}".encode()
        for _ in range(400):  # about two seconds; what the kernel does not end by then, nobody can
            if not self.parent or not signal_marked(mark, number) or number != signal.SIGKILL:
                return
            time.sleep(0.005)

    def environment(self) -> dict[str, str]:
        """Returns what programs may know of the plugin's environment and of the job."""
        names = ("PATH", "HOME", "TMPDIR", "LANG", "TZ", "USER")
        inherited = {name: value for name, value in os.environ.items() if name in names or name.startswith("LC_")}
        return inherited | {"HEIMDALL_JOB_ID": self.request.job.id, "HEIMDALL_ATTEMPT": str(self.request.attempt_number),
                            "HEIMDALL_ATTEMPT_ID": self.id, "HEIMDALL_USER": self.request.user.name}

    def tell(self, kind: str, value: Any) -> None:
        """Reports an event, from any thread."""
        self.loop.call_soon_threadsafe(self.add, kind, value)

    def add(self, kind: str, value: Any) -> None:
        if self.ended:
            return
        key = {"progress": "", "output": getattr(value, "key", ""), "usage": getattr(value, "unit", "")}.get(kind)
        if key is not None:
            self.events.pop((kind, key), None)
            if len(self.events) >= MAX_KEPT:
                return
        self.last += 1
        event = pb.Event(number=self.last, **{kind: value})
        event.time.GetCurrentTime()
        self.events[self.last if key is None else (kind, key)] = event
        self.changed.set()
        self.changed = asyncio.Event()

    async def follow(self, number: int) -> AsyncIterator[list[Any]]:
        """Yields the events from a number on until the end."""
        while True:
            changed, batch, size = self.changed, [], 0
            for event in self.events.values():
                size += event.ByteSize() if event.number >= number else 0
                if event.number >= number and (not batch or size <= MAX_BATCH):
                    batch.append(event)
            if batch:
                yield batch
                number = batch[-1].number + 1
            elif self.ended:
                return
            else:
                await changed.wait()

    def ack(self, number: int) -> bool:
        """Forgets events that the host holds, and reports whether the end is among them."""
        self.events = {key: event for key, event in self.events.items() if event.number > number}
        return self.ended and not self.events

    def stop(self, mode: int, grace: float, reason: Error) -> bool:
        """Tells the job to stop and reports whether it still ran. The first reason stays."""
        if self.ended:
            return False
        first, self.stopped = self.stopped is None, self.stopped or reason
        self.abandoned |= mode == ABANDON
        self.canceled.set()
        if mode == FORCED:
            self.force()
        elif first or grace > 0:
            if first:
                threading.Thread(target=self.end_programs, args=(signal.SIGTERM,), daemon=True).start()
            if "force" in self.timers:
                self.timers["force"].cancel()
            self.timers["force"] = self.loop.call_later(grace if grace > 0 else GRACE, self.force)
        return True

    def force(self) -> None:
        """Kills the job's programs and interrupts run. A run that does not return soon is left behind."""
        threading.Thread(target=self.end_programs, args=(signal.SIGKILL,), daemon=True).start()
        if self.thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread.ident or 0), ctypes.py_object(Canceled))
        deaf = Error("internal", "run did not return after it was told to stop")
        self.timers["deaf"] = self.loop.call_later(DEAF, self.end, None, deaf)

    def end(self, result: Any, error: Error | None) -> None:
        """Reports the end, once."""
        if self.ended:
            return
        for timer in self.timers.values():
            timer.cancel()
        for stream in self.streams:
            try:
                stream.close()
            except (OSError, ValueError) as cause:
                error = error or Error("internal", f"write the job's streams: {cause}")
        if result is not None and error is None:
            self.add("result", result)
        wire = error and error.wire
        if error and self.stopped:  # whatever run made of it, this was why
            wire = pb.Error()
            wire.CopyFrom(self.stopped.wire)
            wire.detail = clip(f"{error.wire.message}\n{error.wire.detail}", 32 << 10)
            wire.signal = error.wire.signal
            if error.wire.HasField("exit_code"):
                wire.exit_code = error.wire.exit_code
        self.add("ended", pb.Ended(error=wire))
        self.ended = True
        self.plugin.notify()


def signal_marked(mark: bytes, number: int) -> bool:
    """Signals all processes whose environment has a mark, and reports whether there were any."""
    found = False
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            process = os.pidfd_open(int(name))  # held, its number stays its own
        except OSError:
            continue
        try:
            if mark in pathlib.Path("/proc", name, "environ").read_bytes().split(b"\0"):
                signal.pidfd_send_signal(process, number)
                found = True
        except OSError:
            pass  # it has ended, or is somebody else's
        finally:
            os.close(process)
    return found
