// An example vendor plugin: appointments (SIU) to activities, with a local segment and a provider directory.
//
// The same mapping as rust-appointments and python-appointments, with the same results. What a mapping document cannot
// say is here: the provider's code is looked up in a table that the administrator keeps, several services become one
// text, and the vendor's own segment `ZAP` holds how to reach the visit.
//
//     ZAP|video|https://visits.example.org/r/4711

import { translate } from 'ligature:mapping/codes@1.0.0';
import { event, setting } from 'ligature:mapping/flow@1.0.0';

const target = (name, label, proposed) => ({ name, label, proposed, required: false });

export const about = {
  describe: () => ({
    name: 'appointments',
    version: '1.0.0',
    vendor: 'Example Scheduling Inc.',
    summary: 'Appointments become activities, with provider names and the way to a video visit.',
    events: ['SIU^S12', 'SIU^S13', 'SIU^S14', 'SIU^S15', 'SIU^S26'],
    reads: ['PID-3', 'PID-5', 'SCH', 'AIS', 'AIP-3', 'ZAP'],
    leadTargets: [
      target('mrn', 'Medical record number', 'mx_MRN'),
      target('first-name', 'First name', 'FirstName'),
      target('last-name', 'Last name', 'LastName'),
    ],
    activityTargets: [
      target('status', 'Status', 'Status'),
      target('provider', 'Provider', 'mx_Custom_4'),
      target('visit', 'Way of the visit', 'mx_Custom_6'),
    ],
    activityKinds: [],
    places: [],
    tables: [target('providers', 'Provider code to display name', undefined)],
    settings: [
      {
        name: 'authority',
        label: 'Assigning authority',
        help: 'Which identifier is the MRN: the fourth component of PID-3.',
        kind: { tag: 'text' },
        required: false,
        default: undefined,
      },
    ],
    rows: [],
    annotations: [],
  }),
};

const PATHS = ['SCH-1.1', 'SCH-2.1', 'SCH-11.4', 'AIS-4', 'PID-5.2', 'PID-5.1', 'AIP-3.1', 'ZAP-1', 'ZAP-2'];

export const inbound = {
  toLeadSquared(message) {
    // One crossing for all that is asked once: a crossing costs more than a path.
    const contents = message.getAll([mrnPath(), ...PATHS]);
    const [mrn, placer, filler, starts, service, first, last, provider, way, address] = contents.map(text);
    const key = placer ?? filler;
    if (key === undefined) {
      throw { tag: 'missing', val: 'SCH-1.1' };
    }
    const at = dateTime('SCH-11.4', starts) ?? dateTime('AIS-4', service);
    const activity = {
      key,
      kind: undefined,
      note: services(message),
      at,
      fields: [
        assign('status', status()),
        ...some('provider', provider === undefined ? undefined : translate('providers', provider)),
        ...some('visit', way === 'video' && address !== undefined ? `Video: ${address}` : way),
      ],
    };
    if (mrn === undefined) {
      throw { tag: 'missing', val: mrnPath() };
    }
    const lead = [assign('mrn', mrn), ...some('first-name', first), ...some('last-name', last)];
    return { tag: 'write', val: { lead, retired: [], activities: [activity] } };
  },
};

// A value that the host cannot finish for its field is left out with a warning.
const assign = (target, value) => ({ target, value: { tag: 'text', val: value }, otherwise: { tag: 'leave-out' } });
const some = (target, value) => (value === undefined ? [] : [assign(target, value)]);
const text = (content) => (content.tag === 'text' ? content.val : undefined);

function mrnPath() {
  const authority = setting('authority');
  // A quote ends the text in a path, so it is doubled.
  return authority === undefined
    ? "PID-3[.5='MR'].1"
    : `PID-3[.5='MR' and .4='${authority.replaceAll("'", "''")}'].1`;
}

function status() {
  switch (event()) {
    case 'SIU^S15':
      return 'Cancelled';
    case 'SIU^S26':
      return 'No show';
    default:
      return 'Booked';
  }
}

// All services of the appointment in one text.
function services(message) {
  const paths = Array.from({ length: message.count('AIS') }, (_, index) => `AIS[${index + 1}]-3.2`);
  const names = message.getAll(paths).map(text).filter((name) => name !== undefined);
  return names.length === 0 ? undefined : names.join(', ');
}

const FORM = /^(\d{4})(\d{2})(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,9}))?)?)?)?(?:([+-])(\d{2})(\d{2}))?$/;

// HL7 DTM: YYYYMMDD[HH[MM[SS[.S…]]]][+|-ZZZZ].
function dateTime(path, value) {
  if (value === undefined) {
    return undefined;
  }
  const refused = { tag: 'malformed', val: { path, expected: 'a date and time, YYYYMMDDHHMMSS[+ZZZZ]' } };
  const found = FORM.exec(value.trim());
  if (!found) {
    throw refused;
  }
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map((part) => Number(part ?? 0));
  const nanosecond = Number((found[7] ?? '').padEnd(9, '0'));
  const minutes = Number(found[9] ?? 0) * 60 + Number(found[10] ?? 0);
  const offsetMinutes = found[8] === undefined ? undefined : Number(`${found[8]}${minutes}`);
  // Months of a Date begin at 0; day 0 is the last of the month before.
  const isDay = year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate();
  const isTime = hour < 24 && minute < 60 && second < 60 && Number(found[10] ?? 0) < 60 && minutes <= 14 * 60;
  if (!isDay || !isTime) {
    throw refused;
  }
  return { date: { year, month, day }, time: { hour, minute, second, nanosecond }, offsetMinutes };
}
