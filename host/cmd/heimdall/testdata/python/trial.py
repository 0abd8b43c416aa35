"""A plugin for tests: it does what its input says."""

import datetime
import decimal
import math
import uuid

from heimdall_plugin import Error, serve

print("printed before the handshake")


def run(job):
    what = job.input["what"]
    if what == "values":
        job.table({"a": "int64", "b": "decimal(9,2)", "c": "float64", "d": "bytes", "e": "timestamptz", "f": "date", "g": "uuid",
                   "h": "list<int64>", "i": "bool", "j": "string"},
                  [[2**60, decimal.Decimal("1.50"), math.inf, b"hi", datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
                    datetime.date(2024, 1, 2), uuid.UUID(int=1), [1, 2**60], True, None]])
    elif what == "misfit":
        job.table({"a": "int8"}, [[1], [300]])
    elif what == "big":
        job.table({"n": "int64", "text": "string"}, ([n, "x" * 100] for n in range(20000)))
    elif what == "document":
        job.result("text/plain", "plain words")
    elif what == "program":
        print("before", file=job.stdout)
        job.command(["sh", "-c", "cat; pwd; echo oops >&2; exit 3"], input="stdin\n")
    elif what == "writes":
        job.command(["sh", "-c", "for n in 1 2 3 4 5 6; do echo to stdout; echo to stderr >&2; done"])
    elif what == "sleep":
        job.command(["sh", "-c", "sleep 60 & sleep 60"])
    elif what == "tree":
        job.command(["sh", "-c", "trap '' TERM; setsid sh -c \"trap '' TERM; echo \\$\\$ >>$0; while :; do sleep 1; done\" & "
                     "echo $$ >>$0; while :; do sleep 1; done", job.input["file"]])
    elif what == "leftover":
        job.command(["sh", "-c", "setsid sleep 60 </dev/null >/dev/null 2>&1 & echo $! >>$0", job.input["file"]])
        job.text(job.settings["token"])
    elif what == "deaf":
        open(job.input["file"] + " began", "x").close()
        try:
            while True:
                pass
        finally:
            open(job.input["file"], "x").close()
    elif what == "no newline":
        job.stdout.write("1234567890")
    elif what == "progress":
        for n in range(20000):
            job.progress(n)
    elif what == "greeting":
        job.text(job.plugin_settings["greeting"])
    elif what == "denied":
        raise Error("denied", "not you")
    elif what == "exit":
        raise SystemExit(4)
    elif what == "outputs":
        job.output("page", "https://example.com/", link=True)
        job.usage("rows", 3)
        job.wait(60)
    else:
        raise KeyError(what)


TEXT = {"type": "string"}
serve("trial", "0.1.0", run, input_schema={"required": ["what"], "properties": {"what": TEXT, "file": TEXT}},
      settings_schema={"properties": {"token": TEXT | {"x-heimdall-secret": True}}},
      plugin_settings_schema={"properties": {"greeting": TEXT | {"default": "hello"}, "color": TEXT | {"enum": ["red"]}}},
      examples=[{"kind": kind, "title": what, "input": {"what": what}} for kind, what in
                [("quick", "greeting"), ("fails", "denied"), ("logs", "writes"), ("long", "sleep")]])
