"""A plugin that counts the words of a text: the smallest one with all that a plugin has."""

import collections
import re

from heimdall_plugin import Error, Job, serve

SETTINGS = {"properties": {
    "ignore": {"type": "array", "items": {"type": "string"}, "default": [], "description": "Words that do not count."},
    "pause": {"type": "number", "minimum": 0, "default": 0, "description": "Seconds to wait after each line."},
}}
INPUT = {"required": ["text"], "properties": {
    "text": {"type": "string", "description": "The text to count."},
    "top": {"type": "integer", "minimum": 1, "default": 10, "description": "How many words to show."},
}}
POEM = "the quick brown fox\njumps over\nthe lazy dog\n"


def run(job: Job) -> None:
    ignore, words, lines = set(job.settings["ignore"]), collections.Counter(), job.input["text"].splitlines()
    for number, line in enumerate(lines, 1):
        words.update(word for word in re.findall(r"\w+", line.lower()) if word not in ignore)
        print(f"line {number}: {words.total()} words", file=job.stdout)
        job.progress(number, len(lines))
        job.wait(job.settings["pause"])
    if not words:
        raise Error("failed", "the text has no word that counts")
    job.table({"word": "string", "count": "int64"}, words.most_common(job.input["top"]))


EXAMPLES = [
    {"kind": "quick", "title": "Count two words", "input": {"text": "hello hello world"}},
    {"kind": "table", "title": "The words of a fox", "settings": {"ignore": ["the"]}, "input": {"text": POEM}},
    {"kind": "long", "title": "Line by line", "settings": {"pause": 1}, "input": {"text": POEM * 10}},
    {"kind": "fails", "title": "Nothing to count", "input": {"text": "..."}},
]
serve("wordcount", "0.1.0", run, settings_schema=SETTINGS, input_schema=INPUT, examples=EXAMPLES, retry_safe=True)
