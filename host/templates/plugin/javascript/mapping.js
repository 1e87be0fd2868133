// Registrations (ADT^A04) to leads. The types are those of wit/mapping.wit: records are objects, a variant is
// { tag, val }, and what the contract calls an error is thrown.

const target = (name, label, proposed) => ({ name, label, proposed, required: false });

export const about = {
  // What the administrator sees, approves and binds to the account's fields.
  describe: () => ({
    name: 'PLUGIN-NAME',
    version: '0.1.0',
    vendor: 'Your company',
    summary: 'Registrations become leads.',
    events: ['ADT^A04'],
    reads: ['PID-3', 'PID-5', 'PID-7'],
    leadTargets: [
      target('mrn', 'Medical record number', 'mx_MRN'),
      target('first-name', 'First name', 'FirstName'),
      target('last-name', 'Last name', 'LastName'),
      target('born', 'Date of birth', 'mx_Date_of_Birth'),
    ],
    activityTargets: [],
    activityKinds: [],
    places: [],
    tables: [],
    settings: [],
    rows: [],
    annotations: [],
  }),
};

// A value that the host cannot finish for its field is left out with a warning.
const assign = (target, value) => ({ target, value, otherwise: { tag: 'leave-out' } });

const MRN = "PID-3[.5='MR'].1";

export const inbound = {
  toLeadSquared(message) {
    const [mrn, last, first, born] = message.getAll([MRN, 'PID-5.1', 'PID-5.2', 'PID-7']);
    if (mrn.tag !== 'text') {
      throw { tag: 'missing', val: MRN };
    }
    const lead = [assign('mrn', mrn), ...text('last-name', last), ...text('first-name', first), ...date('born', born)];
    return { tag: 'write', val: { lead, retired: [], activities: [] } };
  },
};

// Absent leaves the field as it is, null empties it.
function text(target, content) {
  if (content.tag === 'absent') {
    return [];
  }
  return [assign(target, content.tag === 'null' ? { tag: 'clear' } : content)];
}

function date(target, content) {
  if (content.tag !== 'text') {
    return text(target, content);
  }
  const found = /^(\d{4})(\d{2})(\d{2})/.exec(content.val);
  if (!found) {
    throw { tag: 'malformed', val: { path: 'PID-7', expected: 'a date, YYYYMMDD' } };
  }
  const [year, month, day] = found.slice(1).map(Number);
  return [assign(target, { tag: 'date', val: { year, month, day } })];
}
