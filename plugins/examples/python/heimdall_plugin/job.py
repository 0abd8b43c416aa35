"""Jobs as the authors of plugins see them."""

from __future__ import annotations

import logging
import pathlib
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import Canceled, Error
from .protocol import TABLE, clip, pb
from .result import TYPE, Sink, cell, dumps
from .stream import folder

if TYPE_CHECKING:
    from .attempt import Attempt


class Job:
    """One attempt to perform a job, as run sees it. It is worth nothing after run has returned."""

    def __init__(self, attempt: Attempt, settings: dict[str, Any], input: dict[str, Any]) -> None:
        request = attempt.request
        self.id: str = request.job.id  # a UUID
        self.name: str = request.job.name  # that the caller gave, as are the next three
        self.version: str = request.job.version
        self.description: str = request.job.description
        self.tags: list[str] = list(request.job.tags)
        self.attempt: int = request.attempt_number  # from 1
        self.attempt_id: str = request.attempt_id  # unique over all hosts and times
        self.user: str = request.user.name  # who submitted the job
        self.groups: list[str] = list(request.user.groups)
        self.settings = settings  # the operator's, with defaults and secrets
        self.input = input  # the caller's, with defaults
        self.stdout, self.stderr = attempt.streams  # text that callers read while the job runs
        self.log = logging.LoggerAdapter(logging.getLogger("job"), {"job": self.id, "attempt": self.attempt_id})
        self.canceled: threading.Event = attempt.canceled  # set when the job is told to stop
        self._attempt = attempt
        self._sinks: list[Sink] = []  # of results that were begun; the last that is whole counts
        self._usage: dict[str, float] = {}

    @property
    def abandoned(self) -> bool:
        """Whether the job is canceled because somebody else goes on with its remote work: leave that alone."""
        return self._attempt.abandoned

    def wait(self, seconds: float = 0) -> None:
        """Sleeps, and raises Canceled as soon as the job is told to stop. Call it in long loops."""
        if self.canceled.wait(seconds):
            raise Canceled

    def dir(self) -> pathlib.Path:
        """Returns the job's own folder, which the first call makes. It goes away after the job."""
        return folder(self._attempt.request.folders.work)

    def secret(self, pointer: str) -> str | None:
        """Returns the newest value of a secret of the settings by its JSON pointer, such as "/password"."""
        return self._attempt.secrets.get(pointer)

    def progress(self, done: float, total: float = 0, message: str = "") -> None:
        """Says how far the work is; a total of 0 is unknown."""
        self._attempt.tell("progress", pb.Progress(done=done, total=total, message=clip(message)))

    def output(self, key: str, value: str, *, link: bool = False) -> None:
        """Shows a named value with the job; a link is an http or https address."""
        kind = "OUTPUT_KIND_LINK" if link else "OUTPUT_KIND_TEXT"
        self._attempt.tell("output", pb.Output(key=clip(key), value=clip(value), kind=kind))

    def usage(self, unit: str, amount: float) -> None:
        """Adds to what the job used of a unit, such as "rows"."""
        with self._attempt.lock:  # so that sums are told in their order
            self._usage[unit] = self._usage.get(unit, 0.0) + amount
            self._attempt.tell("usage", pb.Usage(unit=clip(unit), amount=self._usage[unit]))

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
            if not TYPE.fullmatch(kind):
                raise Error("internal", f"column {name!r}: there is no type {kind!r}")
        sink = self._sink(TABLE)
        sink.write(b'{"columns":%s,"data":[' % dumps([{"name": n, "type": k} for n, k in columns.items()]))
        for row in rows:
            self.wait()
            try:
                if len(row) != len(columns):
                    raise ValueError(f"{len(row)} values, want {len(columns)}")
                text = dumps([cell(kind, value) for kind, value in zip(columns.values(), row)])
            except (TypeError, ValueError, ArithmeticError) as error:
                raise Error("internal", f"row {sink.rows + 1} of the table: {error}") from error
            sink.write(b"," + text if sink.rows else text)
            sink.rows += 1
        sink.write(b"]}")
        sink.whole = True
        return sink.rows

    def result(self, content_type: str, data: str | bytes | Iterable[bytes]) -> None:
        """Makes a document the result: whole, or in pieces such as those of a file in mode "rb"."""
        sink = self._sink(content_type)
        for piece in [data.encode()] if isinstance(data, str) else [data] if isinstance(data, bytes) else data:
            self.wait()
            sink.write(piece)
        sink.whole = True

    def command(self, args: Sequence[str], *, input: str | bytes | None = None, check: bool = True,
                **options: Any) -> subprocess.CompletedProcess[Any]:
        """Runs a program to its end, like subprocess.run.

        It starts in the job's folder and writes to the job's streams; options are
        those of subprocess.Popen, and env adds variables. With check, a status
        other than 0 is an error, and that of the job unless it is caught. When the
        job ends or is told to stop, so does all that came from the program, also
        what left its session or ignores SIGTERM. Only what threw its environment
        away is not found.
        """
        attempt = self._attempt
        options = {"cwd": self.dir(), "stdout": self.stdout, "stderr": self.stderr,
                   "stdin": subprocess.PIPE if input else subprocess.DEVNULL, "text": not isinstance(input, bytes),
                   **options, "env": attempt.environment() | dict(options.get("env") or {})}
        self.stdout.flush()
        self.stderr.flush()
        with attempt.lock:  # whoever kills waits here, and then finds the new process too
            self.wait()
            attempt.parent = True
            process: subprocess.Popen[Any] = subprocess.Popen(args, **options)
        out, err = process.communicate(input or None)
        if check and process.returncode:
            raise subprocess.CalledProcessError(process.returncode, args, out, err)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def _close(self) -> Any:
        """Returns the result as a message, or None."""
        whole = [sink for sink in self._sinks if sink.whole]
        return whole[-1].close() if whole else None

    def _sink(self, content_type: str) -> Sink:
        self._sinks.append(Sink(self._attempt.request, content_type, f"result{len(self._sinks)}"))
        return self._sinks[-1]
