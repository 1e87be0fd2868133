"""Reads HL7 messages with PyPI `hl7` and with PyPI `hl7apy`, which share nothing with the host or with each other.

read.py PLACE... < messages, one a line as JSON: {"bytes": hex}
Prints for each a line of JSON: what stands at each place by either of them, and whether the second finds it valid.
Places are written like PID-3[2].1 and NK1[2]-2.1.
"""

import json
import re
import sys

import hl7
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

PLACE = re.compile(r"(\w{3})(?:\[(\d+)\])?-(\d+)(?:\[(\d+)\])?(?:\.(\d+))?(?:\.(\d+))?$")
CHARSETS = {"": "ascii", "8859/1": "latin-1", "UNICODE UTF-8": "utf-8"}
ESCAPES = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\", ".br": "\n", "X0D": "\r", "X0A": "\n"}


def places(arguments):
    for text in arguments:
        segment, *numbers = PLACE.match(text).groups()
        yield text, segment, [int(number or 1) for number in numbers]


def by_hl7(message, segment, numbers):
    occurrence, field, repetition, component, subcomponent = numbers
    try:
        value = message.extract_field(segment, occurrence, field, repetition, component, subcomponent)
    except (LookupError, KeyError):
        return ""
    return value.replace("\r", "\n")


def unescaped(text):
    return re.sub(r"\\([^\\]*)\\", lambda found: ESCAPES[found.group(1)], text)


def nth(children, number):
    """The child whose name ends in the number; of a plain data type the child itself."""
    for child in children:
        end = child.name.rpartition("_")[2]
        if (end.isdigit() and int(end) or 1) == number:
            return child
    return None


def raw(leaf):
    """The text as it came: written anew, escapes that the data type does not know would be escaped once more."""
    value = leaf.value
    while hasattr(value, "value"):
        value = value.value
    return value if isinstance(value, str) else leaf.to_er7()


def by_hl7apy(message, segment, numbers):
    occurrence, field, repetition, component, subcomponent = numbers
    segments = [child for child in message.children if child.name == segment]
    if len(segments) < occurrence:
        return ""
    fields = [
        child
        for child in segments[occurrence - 1].children
        if child.name == f"{segment}_{field}"
    ]
    if len(fields) < repetition:
        return ""
    found = nth(fields[repetition - 1].children, component)
    leaf = found is not None and nth(found.children, subcomponent)
    return unescaped(raw(leaf)) if leaf else ""


def valid(text):
    try:
        return parse_message(text, validation_level=VALIDATION_LEVEL.STRICT).validate() or "no"
    except Exception as fault:  # Whatever it holds against a message is its answer.
        return f"{type(fault).__name__}: {fault}"


def main(arguments):
    wanted = list(places(arguments))
    for line in sys.stdin:
        payload = bytes.fromhex(json.loads(line)["bytes"])
        header = payload.split(b"\r", 1)[0].decode("ascii").split("|")
        text = payload.decode(CHARSETS[header[17] if len(header) > 17 else ""])
        one, other = hl7.parse(text), parse_message(text, find_groups=False)
        print(
            json.dumps(
                {
                    "hl7": {name: by_hl7(one, *place) for name, *place in wanted},
                    "hl7apy": {name: by_hl7apy(other, *place) for name, *place in wanted},
                    "valid": valid(text),
                }
            )
        )


main(sys.argv[1:])
