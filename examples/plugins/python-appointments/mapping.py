"""An example vendor plugin: appointments (SIU) to activities, with a local segment and a provider directory.

The same mapping as rust-appointments and javascript-appointments, with the same results. What a mapping document cannot
say is here: the provider's code is looked up in a table that the administrator keeps, several services become one text,
and the vendor's own segment `ZAP` holds how to reach the visit.

    ZAP|video|https://visits.example.org/r/4711
"""

import calendar
import re
from typing import List, Optional

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.about import Kind_Text, Manifest, Setting, Target
from wit_world.imports import codes, flow
from wit_world.imports.hl7 import Message
from wit_world.imports.types import (
    Activity,
    Assignment,
    Content,
    Content_Text,
    Date,
    DateTime,
    Malformed,
    Mapped,
    Mapped_Write,
    Otherwise_LeaveOut,
    Refusal_Malformed,
    Refusal_Missing,
    Time,
    Value_Text,
    Write,
)


def target(name: str, label: str, proposed: Optional[str]) -> Target:
    return Target(name, label, proposed, False)


class About(exports.About):
    def describe(self) -> Manifest:
        return Manifest(
            name="appointments",
            version="1.0.0",
            vendor="Example Scheduling Inc.",
            summary="Appointments become activities, with provider names and the way to a video visit.",
            events=["SIU^S12", "SIU^S13", "SIU^S14", "SIU^S15", "SIU^S26"],
            reads=["PID-3", "PID-5", "SCH", "AIS", "AIP-3", "ZAP"],
            lead_targets=[
                target("mrn", "Medical record number", "mx_MRN"),
                target("first-name", "First name", "FirstName"),
                target("last-name", "Last name", "LastName"),
            ],
            activity_targets=[
                target("status", "Status", "Status"),
                target("provider", "Provider", "mx_Custom_4"),
                target("visit", "Way of the visit", "mx_Custom_6"),
            ],
            activity_kinds=[],
            places=[],
            tables=[target("providers", "Provider code to display name", None)],
            settings=[
                Setting(
                    name="authority",
                    label="Assigning authority",
                    help="Which identifier is the MRN: the fourth component of PID-3.",
                    kind=Kind_Text(),
                    required=False,
                    default=None,
                )
            ],
            rows=[],
            annotations=[],
        )


PATHS = ["SCH-1.1", "SCH-2.1", "SCH-11.4", "AIS-4", "PID-5.2", "PID-5.1", "AIP-3.1", "ZAP-1", "ZAP-2"]

STATUS = {"SIU^S15": "Cancelled", "SIU^S26": "No show"}


class Inbound(exports.Inbound):
    def to_lead_squared(self, message: Message) -> Mapped:
        # One crossing for all that is asked once: a crossing costs more than a path.
        contents = [text(content) for content in message.get_all([mrn_path(), *PATHS])]
        mrn, placer, filler, starts, service, first, last, provider, way, address = contents
        key = placer if placer is not None else filler
        if key is None:
            raise Err(Refusal_Missing("SCH-1.1"))
        at = date_time("SCH-11.4", starts) or date_time("AIS-4", service)
        name = codes.translate("providers", provider) if provider is not None else None
        visit = f"Video: {address}" if way == "video" and address is not None else way
        activity = Activity(
            key=key,
            kind=None,
            note=services(message),
            at=at,
            fields=some(
                ("status", STATUS.get(flow.event(), "Booked")),
                ("provider", name),
                ("visit", visit),
            ),
        )
        if mrn is None:
            raise Err(Refusal_Missing(mrn_path()))
        lead = some(("mrn", mrn), ("first-name", first), ("last-name", last))
        return Mapped_Write(Write(lead, [], [activity]))


def some(*values: tuple[str, Optional[str]]) -> List[Assignment]:
    """A value that the host cannot finish for its field is left out with a warning."""
    return [
        Assignment(target, Value_Text(value), Otherwise_LeaveOut())
        for target, value in values
        if value is not None
    ]


def text(content: Content) -> Optional[str]:
    return content.value if isinstance(content, Content_Text) else None


def mrn_path() -> str:
    authority = flow.setting("authority")
    if authority is None:
        return "PID-3[.5='MR'].1"
    # A quote ends the text in a path, so it is doubled.
    authority = authority.replace("'", "''")
    return f"PID-3[.5='MR' and .4='{authority}'].1"


def services(message: Message) -> Optional[str]:
    """All services of the appointment in one text."""
    paths = [f"AIS[{number}]-3.2" for number in range(1, message.count("AIS") + 1)]
    names = [text(content) for content in message.get_all(paths)]
    return ", ".join(name for name in names if name is not None) or None


FORM = re.compile(
    r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,9}))?)?)?)?(?:([+-])(\d{2})(\d{2}))?",
    re.ASCII,
)


def date_time(path: str, value: Optional[str]) -> Optional[DateTime]:
    """HL7 DTM: YYYYMMDD[HH[MM[SS[.S…]]]][+|-ZZZZ]."""
    if value is None:
        return None
    found = FORM.fullmatch(value.strip())
    if found:
        year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
        fraction, sign, hours, minutes = found.groups()[6:]
        total = int(hours or 0) * 60 + int(minutes or 0)
        is_day = year >= 1 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]
        is_time = hour < 24 and minute < 60 and second < 60
        if is_day and is_time and int(minutes or 0) < 60 and total <= 14 * 60:
            time = Time(hour, minute, second, int((fraction or "").ljust(9, "0")))
            offset = None if sign is None else int(f"{sign}{total}")
            return DateTime(Date(year, month, day), time, offset)
    raise Err(Refusal_Malformed(Malformed(path, "a date and time, YYYYMMDDHHMMSS[+ZZZZ]")))
