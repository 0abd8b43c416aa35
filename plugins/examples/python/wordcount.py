"""A plugin that counts the words of a text, or phrases of several words: the first one to read."""

import collections
import re

from heimdall_plugin import Error, Job, serve

SETTINGS = {"properties": {  # what the operator writes, as the context of command and cluster
    "ignore": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Words that do not count."},
    "pause": {"type": "number", "minimum": 0, "default": 0, "description": "Seconds to wait after each line."}}}
INPUT = {"required": ["text"], "properties": {  # what the caller writes, as the context of the job
    "text": {"type": "string", "description": "The text to count."},
    "length": {"type": "integer", "minimum": 1, "maximum": 100, "default": 1, "description": "Words of a phrase."},
    "top": {"type": "integer", "minimum": 1, "default": 10, "description": "How many phrases to show."}}}


def run(job: Job) -> None:
    phrases, length, lines = collections.Counter(), job.input["length"], job.input["text"].splitlines()
    for number, line in enumerate(lines, 1):
        words = [word for word in re.findall(r"\w+", line.lower()) if word not in job.settings["ignore"]]
        phrases.update(" ".join(words[i:i + length]) for i in range(len(words) - length + 1))
        print(f"line {number}: {phrases.total()} phrases", file=job.stdout if words else job.stderr)
        job.progress(number, len(lines))
        job.wait(job.settings["pause"])
    if not phrases:
        raise Error("failed", f"no line of the text has {length} words that count")
    job.table({"phrase": "string", "count": "int64"}, phrases.most_common(job.input["top"]))


POEM, MANY = "the quick brown fox\n---\njumps over the lazy dog\n", " ".join(map(str, range(1500)))
serve("wordcount", "0.2.0", run, settings_schema=SETTINGS, input_schema=INPUT, max_concurrency=64,
      retry_safe=True, examples=[
    {"kind": "quick", "title": "Three words", "input": {"text": "hello hello world"}},
    {"kind": "table", "title": "A fox and a dog", "settings": {"ignore": ["the"]}, "input": {"text": POEM}},
    {"kind": "logs", "title": "A line without words", "input": {"text": POEM}},
    {"kind": "long", "title": "Line by line", "settings": {"pause": 1}, "input": {"text": POEM * 10}},
    {"kind": "fails", "title": "Nothing to count", "input": {"text": "..."}},
    {"kind": "big", "title": "Long phrases", "input": {"text": MANY, "length": 50, "top": 1500}}])
