// How a row of a mapping document is written in one line and read again. Knows no page.
//
// What has no line of its own (parts with conditions, templates, loops) is kept as it is and shown as JSON.

const PLAIN = ["trim", "upper", "lower", "title", "name", "digits", "plain-text", "date", "date-time", "time", "number", "boolean"];
export const VALUED = ["map", "table", "default", "prefix", "suffix", "truncate"];
export const STEPS = [...PLAIN, ...VALUED];

/** What a step is called by, of the members that it may have; what is named after another one may stand beside it. */
const NAMES = ["split", "substring", "pad", "extract", "replace-pattern", "replace", "base64", "hash", "mask", "phone", "format-date", "format-number", "shift", "age", "add", "subtract", "multiply", "divide", "round", "boolean", "words", "join", "pick", ...VALUED, ...PLAIN];

const SOURCES = ["path", "first", "concat", "constant", "field", "raw", "count", "fact", "setting", "template"];

const isText = (value) => typeof value === "string";

/** The source of a row in one line; null for what has none. */
export function sourceOf(row, inbound) {
  const plain = inbound ? "path" : "field";
  if (isText(row[plain])) return row[plain];
  if (isText(row.constant)) return JSON.stringify(row.constant);
  if (isText(row.fact)) return `fact.${row.fact}`;
  if (isText(row.setting)) return `setting.${row.setting}`;
  if (isText(row.template)) return `template ${JSON.stringify(row.template)}`;
  if (Array.isArray(row.first) && row.first.every(isText)) return row.first.join(" | ");
  if (Array.isArray(row.concat) && row.concat.every(isText)) {
    return row.concat.join(" + ") + (row.separator ? ` with ${JSON.stringify(row.separator)}` : "");
  }
  return null;
}

/** The same row with the source that a line says. */
export function withSource(row, line, inbound) {
  const other = { ...row };
  for (const key of [...SOURCES, "separator"]) delete other[key];
  const text = line.trim();
  const quoted = (part) => { try { return JSON.parse(part); } catch { return part.replace(/^"|"$/g, ""); } };
  const split = (separator, rest) => rest.split(separator).map((part) => part.trim()).filter(Boolean);
  if (text.startsWith("template ")) return { ...other, template: quoted(text.slice(9)) };
  if (text.startsWith('"')) return { ...other, constant: quoted(text) };
  if (text.startsWith("fact.")) return { ...other, fact: text.slice(5) };
  if (text.startsWith("setting.")) return { ...other, setting: text.slice(8) };
  if (text.includes(" | ")) return { ...other, first: split(" | ", text) };
  if (text.includes(" + ")) {
    const [parts, separator] = text.split(/ with (?=")/);
    return { ...other, concat: split(" + ", parts), ...(separator ? { separator: quoted(separator) } : {}) };
  }
  return { ...other, [inbound ? "path" : "field"]: text };
}

/** The conditions of a row in one line; null for what has none. */
export function whenOf(row) {
  const parts = (row.when ?? []).map((condition) => {
    const name = condition.path ?? condition.field;
    const keys = Object.keys(condition).length;
    if (!isText(name) || keys !== 2) return null;
    if (isText(condition.equals)) return `${name} = ${condition.equals}`;
    if (condition.present === true) return `${name} is there`;
    return null;
  });
  return parts.includes(null) ? null : parts.join(" and ");
}

export function withWhen(row, line, inbound) {
  const other = { ...row };
  delete other.when;
  const key = inbound ? "path" : "field";
  const conditions = line.split(" and ").map((part) => part.trim()).filter(Boolean).map((part) => {
    const there = part.match(/^(\S+) is there$/);
    if (there) return { [key]: there[1], present: true };
    const [name, ...value] = part.split("=");
    return { [key]: name.trim(), equals: value.join("=").trim() };
  });
  return conditions.length ? { ...other, when: conditions } : other;
}

const spoken = (value) => {
  if (Array.isArray(value)) return value.map(spoken).join(", ");
  if (value && typeof value === "object") return Object.entries(value).map(([code, text]) => `${code}=${text}`).join(", ");
  return isText(value) && (value === "" || value.trim() !== value) ? JSON.stringify(value) : String(value);
};

/** A step as a person reads it. */
export function stepText(step) {
  if (isText(step)) return step;
  const word = NAMES.find((name) => name in step);
  if (!word) return JSON.stringify(step);
  const beside = Object.keys(step).filter((key) => key !== word).sort();
  const said = beside.map((key) => {
    if (key === "default") return `else ${spoken(step.default)}`;
    return step[key] === true ? `or ${key}` : `${key} ${spoken(step[key])}`;
  });
  return [`${word} ${spoken(step[word])}`, ...said].join(", ");
}

/** The same, cut where it would fill the screen: a map of many codes says how many. */
export function stepShort(step) {
  const codes = Object.keys(step.map ?? {}).length;
  if (codes < 4) return stepText(step);
  return `map ${codes} codes${isText(step.default) ? `, else ${step.default}` : ""}`;
}

const anyRepetition = (path) => path.replace(/\[[^\]]*\]/g, "");

/** What people call the places of a tree, by path, whichever repetition. */
export function namesOf(tree) {
  const places = tree.flatMap((branch) => branch.places).reverse();
  return new Map(places.map((place) => [anyRepetition(place.path), place.label]));
}

/** What people call the places that a row reads. */
export function readBy(row, names) {
  const several = row.first ?? row.concat;
  const paths = Array.isArray(several) ? several.filter(isText) : [row.path ?? row.field].filter(isText);
  const found = new Set(paths.map((path) => names.get(anyRepetition(path))).filter(Boolean));
  return [...found].join(row.concat ? " and " : " or ");
}

/** A step with a value that was typed. */
export function stepOf(word, value) {
  if (!VALUED.includes(word)) return word;
  if (word === "truncate") return { truncate: Number.parseInt(value, 10) || 1 };
  if (word !== "map") return { [word]: value };
  const map = {};
  let otherwise;
  for (const part of value.split(",").map((text) => text.trim()).filter(Boolean)) {
    if (part.startsWith("else ")) otherwise = part.slice(5).trim();
    else {
      const [code, ...text] = part.split("=");
      map[code.trim()] = text.join("=").trim();
    }
  }
  return { map, ...(otherwise === undefined ? {} : { default: otherwise }) };
}

/** A result as text. */
export function resultText(value) {
  if (value === null) return "(cleared)";
  if (value === undefined) return "";
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value === "object") return String(Object.values(value)[0] ?? "");
  return String(value);
}

/** The document without rows that have no field yet, which would keep the others from their results; each is a fault. */
export function finished(copy) {
  const faults = [];
  const without = (owner, key, row) => {
    const rows = owner[key] ?? [];
    const done = rows.filter((one) => one.target);
    if (done.length < rows.length) faults.push({ row, key: "", text: "choose a field" });
    if (done.length) owner[key] = done;
    else delete owner[key];
  };
  without(copy, "lead", 'lead row ""');
  without(copy, "place", 'place ""');
  for (const activity of copy.activity ?? []) without(activity, "field", 'field ""');
  return { copy, faults };
}

/** What is to be said where the document has no fault: LeadSquared refuses a record for one field that it does not know. */
export function inOrder() {
  const unknown = document.querySelectorAll(".line .about.warned").length;
  if (unknown === 0) return "Every row is in order";
  return unknown === 1
    ? "1 row writes what is not a field of the account: LeadSquared refuses the whole lead"
    : `${unknown} rows write what is not a field of the account: LeadSquared refuses the whole lead`;
}
