"""Registrations (ADT^A04) to leads.

The types are those of wit/mapping.wit; `componentize-py ... bindings .` writes them out for your editor. What the contract
calls an error is raised as `Err`.
"""

import re
from typing import Optional

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.about import Manifest, Target
from wit_world.imports.types import (
    Assignment,
    Content,
    Content_Null,
    Content_Text,
    Date,
    Malformed,
    Mapped,
    Mapped_Write,
    Otherwise_LeaveOut,
    Refusal_Malformed,
    Refusal_Missing,
    Value,
    Value_Clear,
    Value_Date,
    Value_Text,
    Write,
)

MRN = "PID-3[.5='MR'].1"


class About(exports.About):
    """What the administrator sees, approves and binds to the account's fields."""

    def describe(self) -> Manifest:
        return Manifest(
            name="PLUGIN-NAME",
            version="0.1.0",
            vendor="Your company",
            summary="Registrations become leads.",
            events=["ADT^A04"],
            reads=["PID-3", "PID-5", "PID-7"],
            lead_targets=[
                Target("mrn", "Medical record number", "mx_MRN", False),
                Target("first-name", "First name", "FirstName", False),
                Target("last-name", "Last name", "LastName", False),
                Target("born", "Date of birth", "mx_Date_of_Birth", False),
            ],
            activity_targets=[],
            activity_kinds=[],
            places=[],
            tables=[],
            settings=[],
            rows=[],
            annotations=[],
        )


class Inbound(exports.Inbound):
    def to_lead_squared(self, message) -> Mapped:
        mrn, last, first, born = message.get_all([MRN, "PID-5.1", "PID-5.2", "PID-7"])
        if not isinstance(mrn, Content_Text):
            raise Err(Refusal_Missing(MRN))
        lead = [
            assignment("mrn", mrn),
            assignment("last-name", last),
            assignment("first-name", first),
            date("born", born),
        ]
        return Mapped_Write(Write([one for one in lead if one], [], []))


def assign(target: str, value: Value) -> Assignment:
    """A value that the host cannot finish for its field is left out with a warning."""
    return Assignment(target, value, Otherwise_LeaveOut())


def assignment(target: str, content: Content) -> Optional[Assignment]:
    """Absent leaves the field as it is, null empties it."""
    if isinstance(content, Content_Text):
        return assign(target, Value_Text(content.value))
    return assign(target, Value_Clear()) if isinstance(content, Content_Null) else None


def date(target: str, content: Content) -> Optional[Assignment]:
    if not isinstance(content, Content_Text):
        return assignment(target, content)
    found = re.match(r"(\d{4})(\d{2})(\d{2})", content.value)
    if not found:
        raise Err(Refusal_Malformed(Malformed("PID-7", "a date, YYYYMMDD")))
    year, month, day = (int(part) for part in found.groups())
    return assign(target, Value_Date(Date(year, month, day)))
