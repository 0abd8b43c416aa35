"""How jobs end that do not end well."""

from __future__ import annotations

import datetime
import signal
import subprocess
import traceback

from .protocol import clip, pb

STOPS = {  # by CancelReason
    2: ("timeout", "the job's time was up"),
    3: ("canceled", "the job was stopped because the host shuts down"),
    4: ("canceled", "the caller that waited for the job has gone"),
    5: ("lost", "the host lost its right to run the job"),
    6: ("quota", "the job broke a limit"),
}


class Error(Exception):
    """Why a job did not end well: its class, and one sentence for the caller.

    invalid: the input is wrong; failed: the work said no; denied; quota;
    unavailable: the other side is down; transient: it may work when tried again;
    timeout; canceled; lost: the outcome is unknown; internal: a defect of the
    plugin. What else run raises is internal, with its stack for the operator, but
    for subprocess.CalledProcessError, which is failed.

    retry_safe says that nothing happened outside, so that the job may be repeated
    whatever it says itself. The detail is for operators.
    """

    def __init__(self, kind: str, message: str, *, retry_after: float = 0, retry_safe: bool = False,
                 exit_code: int | None = None, signal: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.wire = pb.Error(message=clip(message), retry_safe=retry_safe, exit_code=exit_code, signal=signal,
                             detail=clip(detail, 32 << 10), **{"class": f"ERROR_CLASS_{kind.upper()}"})
        if retry_after > 0:
            self.wire.retry_after.FromTimedelta(datetime.timedelta(seconds=retry_after))


class Canceled(BaseException):
    """The job was told to stop. Let it pass: like KeyboardInterrupt, it is no Exception."""


def describe(cause: BaseException) -> Error:
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


def stop_error(reason: int, message: str = "") -> Error:
    kind, text = STOPS.get(reason, ("canceled", "the job was canceled"))
    return Error(kind, message or text)
