// The mapping screen: the tree of the sample, the rows of the document, and what they make of the sample while one types.
// The document is the truth; the page is drawn from it. Start at `draw`.

import { custom } from "./mapping-custom.js";
import { el } from "./mapping-element.js";
import { optionsBox, unusual } from "./mapping-options.js";
import { finished, inOrder, namesOf, readBy, resultText, sourceOf, stepOf, STEPS, stepShort, stepText, VALUED, whenOf, withSource, withWhen } from "./mapping-rows.js";

const form = document.querySelector("#desk");
const desk = JSON.parse(form.dataset.desk);
const csrf = document.querySelector('meta[name="csrf"]').content;
// Each version has unsaved work of its own.
const kept = `mapping ${desk.flow} ${desk.base}`;
const $ = (id) => document.getElementById(id);

let doc = desk.document;
let history = [];
let outcome = { faults: [], result: null, problem: null, warnings: [] };
let lastFrom = null;
/** The row that was worked on last. */
let lastLine = null;
/** The field that a place is being looked for, from the keyboard. */
let picking = null;
/** What people call the places of the tree, by path. */
let names = new Map();
/** The message that rows are tried on; null for the flow's own sample. */
let sample = null;

// --- what the document holds ----------------------------------------------------------------------------------------

/** Groups of rows, each with a list in the document that rows are added to. */
function groups() {
  if (!desk.inbound) {
    return [{ title: "Places of the message", list: (doc.place ??= []), name: (row) => `place ${JSON.stringify(row.target)}`, result: (row) => outcome.result?.places?.[row.target], targets: desk.targets, fixed: [] }];
  }
  const found = [];
  (doc.activity ?? []).forEach((activity, at) => {
    const title = doc.activity.length > 1 ? `Activity ${at + 1}` : "Activity";
    const made = () => outcome.result?.activities?.[at];
    const fixed = ["key", "at", "note", "kind"].filter((part) => activity[part] && typeof activity[part] === "object")
      .map((part) => ({ part, owner: activity, name: `activity ${at + 1} ${part}`, result: () => made()?.[part] }));
    found.push({ title, list: (activity.field ??= []), name: (row) => `field ${JSON.stringify(row.target)}`, result: (row) => made()?.fields?.[row.target], targets: desk.slots, fixed });
  });
  found.push({ title: "Lead fields", list: (doc.lead ??= []), name: (row) => `lead row ${JSON.stringify(row.target)}`, result: (row) => outcome.result?.lead?.[row.target], targets: desk.targets, fixed: [] });
  return found;
}

const PART_LABELS = { key: "Number of the appointment", at: "Time", note: "Note", kind: "Kind" };

function clean() {
  const copy = structuredClone(doc);
  for (const name of ["lead", "place"]) if (copy[name]?.length === 0) delete copy[name];
  for (const activity of copy.activity ?? []) if (activity.field?.length === 0) delete activity.field;
  return copy;
}

// --- changes --------------------------------------------------------------------------------------------------------

function remember() {
  history.push(JSON.stringify(doc));
  if (history.length > 200) history.shift();
  $("undo").disabled = false;
}

/** A change of the document: `draws` where the page has to be drawn anew. */
function change(edit, draws = false) {
  remember();
  edit();
  sessionStorage.setItem(kept, JSON.stringify({ base: desk.base, doc }));
  if (draws) draw();
  preview();
}

$("undo").addEventListener("click", () => {
  const before = history.pop();
  if (!before) return;
  doc = JSON.parse(before);
  sessionStorage.setItem(kept, JSON.stringify({ base: desk.base, doc }));
  $("undo").disabled = history.length === 0;
  draw();
  preview();
});

// --- what comes of it -----------------------------------------------------------------------------------------------

/** Keys that come quicker than this are looked at together. */
const TOGETHER_MS = 25;

let asked = 0;
let timer;
let waiting;
/** When the first key came that is not answered yet. */
let since = null;

function preview() {
  since ??= performance.now();
  clearTimeout(timer);
  timer = setTimeout(look, TOGETHER_MS);
}

async function look() {
  const number = ++asked;
  const begun = since;
  since = null;
  waiting?.abort();
  waiting = new AbortController();
  const { copy, faults } = finished(clean());
  try {
    const answer = await fetch(`/api/v1/flows/${encodeURIComponent(desk.flow)}/preview`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-csrf-token": csrf },
      body: JSON.stringify({ document: copy, ...(sample ? { sample } : {}) }),
      signal: waiting.signal,
    });
    const body = await answer.json();
    if (number !== asked) return;
    if (!answer.ok) throw new Error(body.error?.fields?.[0]?.message ?? body.error?.message);
    outcome = { ...body, faults: [...faults, ...body.faults] };
  } catch (fault) {
    if (number !== asked || fault.name === "AbortError") return;
    outcome = { faults: [{ row: "", key: "", text: fault.message || "the host does not answer" }], result: null, problem: null, warnings: [] };
  }
  show();
  if (begun !== null) performance.measure("key to result", { start: begun });
}

/** Puts results and faults beside the rows, without touching what somebody types in. */
function show() {
  let told = 0;
  for (const line of document.querySelectorAll("[data-row]")) {
    const faults = outcome.faults.filter((fault) => fault.row === line.dataset.row || fault.row.endsWith(line.dataset.row) || fault.row.startsWith(`${line.dataset.row} `));
    const output = line.querySelector("output");
    const said = line.querySelector(".row-fault");
    const value = outcome.result ? line.result?.() : undefined;
    const isNothing = value === undefined || value === "";
    output.textContent = outcome.result && isNothing && !faults.length ? "nothing" : resultText(value);
    output.classList.toggle("nothing", isNothing);
    const warned = outcome.warnings.find?.((warning) => warning.startsWith(`${line.dataset.target} (`));
    said.textContent = faults.map((fault) => (fault.key ? `${fault.key}: ${fault.text}` : fault.text)).join(" · ") || warned || "";
    said.classList.toggle("warned", !faults.length && Boolean(warned));
    line.classList.toggle("bad", faults.length > 0);
    told += faults.length;
  }
  const others = outcome.faults.length - told;
  const first = outcome.faults.find((fault) => !fault.row) ?? outcome.faults[0];
  $("status").textContent = outcome.faults.length
    ? `${outcome.faults.length} to mend${others > 0 && first ? `: ${first.row} ${first.key} ${first.text}` : ""}`
    : outcome.problem ?? (outcome.result?.skip ? `The sample is skipped: ${outcome.result.skip}` : inOrder());
  $("status").className = outcome.faults.length ? "bad" : outcome.problem ? (desk.inbound ? "bad" : "quiet") : document.querySelector(".about.warned") ? "warned" : "";
  $("save").disabled = outcome.faults.length > 0;
}

// --- rows -----------------------------------------------------------------------------------------------------------

function fieldLabel(target, row, known) {
  if (!target) {
    // What a flow to the EHR writes are places of the message, which the sample need not have.
    if (!desk.inbound) return row?.label ? el("span", { class: "about" }, row.label) : null;
    if (!row?.target || known.length === 0) return null;
    return el("span", { class: "about warned" }, [row.label, desk.inbound ? "not a field of the account" : "not a place of the template"].filter(Boolean).join(" · "));
  }
  return el("span", { class: "about" }, el("strong", {}, target.label), [desk.inbound ? target.kind : "", ...target.marks].filter(Boolean).join(" · "));
}

/** The steps of a row; `now` gives the row with what was typed since it was drawn. */
function chips(now, put) {
  const box = el("div", { class: "chips" });
  const steps = now().steps ?? [];
  const keep = (list) => {
    const other = { ...now(), steps: list };
    if (list.length === 0) delete other.steps;
    put(other);
  };
  steps.forEach((step, at) => {
    const text = stepText(step);
    box.append(el("button", { type: "button", class: "chip", title: `Remove: ${text}`, "aria-label": `Remove step ${text}`, onclick: () => keep(steps.filter((_, other) => other !== at)) }, stepShort(step), el("span", { "aria-hidden": "true" }, " ×")));
  });
  const select = el("select", { "aria-label": "Add a step", class: "add-step" }, el("option", { value: "" }, "+ step"));
  // A choice of twenty in each of 200 rows is filled in when somebody comes to it.
  const offer = () => { if (select.options.length === 1) select.append(...STEPS.map((word) => el("option", { value: word }, word))); };
  select.addEventListener("focus", offer);
  select.addEventListener("pointerdown", offer);
  select.addEventListener("change", () => {
    const word = select.value;
    if (!word) return;
    if (!VALUED.includes(word)) return keep([...steps, word]);
    const hint = { map: "F=Female, M=Male, else Other", table: desk.tables[0] ?? "name of the table" }[word] ?? "value";
    const input = el("input", { class: "step-value", "aria-label": `Value of ${word}`, placeholder: hint, list: word === "table" ? "tables" : null });
    let done = false;
    const finish = () => {
      if (done) return;
      done = true;
      if (input.value.trim()) keep([...steps, stepOf(word, input.value.trim())]);
      else { input.remove(); select.value = ""; }
    };
    input.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); finish(); } });
    input.addEventListener("blur", finish);
    select.before(input);
    input.focus();
  });
  box.append(select);
  return box;
}

/** One row: target, source, steps, condition, result. */
function line(group, row, keep, remove, fixed) {
  const target = group.targets.find((known) => known.name === row.target);
  const name = fixed ? fixed.name : group.name(row);
  let label = fixed ? PART_LABELS[fixed.part] : row.target || "new row";
  const box = el("div", { class: "line", role: "group", "aria-label": label, "data-row": name, "data-target": row.target ?? "" });
  let current = row;
  const store = (other, draws) => {
    change(() => { current = other; keep(other); }, draws);
  };
  // The row is drawn anew, and the focus stays at its steps.
  const stepped = (other) => {
    const at = linesOf(group).indexOf(box);
    store(other, true);
    linesOf(group)[at]?.querySelector(".add-step")?.focus();
  };
  const optional = () => (unusual(current) ? `Options (${unusual(current)})` : "Options");
  const open = el("button", { type: "button", class: "plain open-options", "aria-expanded": "false", onclick: () => toggle() });
  /** What the row is called changes while its field is typed. */
  const named = (now) => {
    label = now;
    box.setAttribute("aria-label", label);
    open.textContent = optional();
    open.setAttribute("aria-label", `${optional()} of ${label}`);
    box.querySelector("output")?.setAttribute("aria-label", `Result of ${label}`);
    box.querySelector(".remove")?.setAttribute("aria-label", `Remove ${label}`);
  };
  const toggle = () => {
    const before = box.querySelector(".options");
    open.setAttribute("aria-expanded", String(!before));
    if (before) { before.remove(); open.focus(); return; }
    const put = (other) => {
      store(other);
      named(label);
    };
    box.append(optionsBox(label, { now: () => current, put, inbound: desk.inbound, isKey: fixed?.part === "key", isTime: fixed?.part === "at" }));
    box.querySelector(".options select").focus();
  };
  const head = el("div", { class: "cell field" });
  if (fixed) head.append(el("strong", {}, PART_LABELS[fixed.part]));
  else {
    const about = el("span", {}, fieldLabel(target, row, group.targets));
    head.append(el("input", {
      list: group.targets === desk.slots ? "slots" : "targets", value: row.target ?? "", "aria-label": "Field", class: "target", autocomplete: "off",
      oninput: (event) => {
        const chosen = group.targets.find((known) => known.name === event.target.value);
        store({ ...current, target: event.target.value });
        box.dataset.row = group.name(current);
        box.dataset.target = current.target;
        about.replaceChildren(fieldLabel(chosen, current, group.targets) ?? "");
        named(current.target || "new row");
      },
    }), about);
  }
  const source = sourceOf(row, desk.inbound);
  const from = el("div", { class: "cell", "data-label": "From" });
  if (source === null) {
    const plain = structuredClone(row);
    for (const key of ["target", "label", "steps", "when", "group", "required", "null", "empty", "on-error", "id"]) delete plain[key];
    from.append(el("details", {}, el("summary", { class: "mono" }, Object.keys(plain).join(", ")), el("textarea", {
      "aria-label": "From, as JSON", rows: "5",
      onchange: (event) => {
        try {
          const parsed = JSON.parse(event.target.value);
          const rest = { ...current };
          for (const key of Object.keys(plain)) delete rest[key];
          event.target.removeAttribute("aria-invalid");
          store({ ...rest, ...parsed });
        } catch { event.target.setAttribute("aria-invalid", "true"); }
      },
    }, JSON.stringify(plain, null, 1))));
  } else {
    const read = el("span", { class: "about" }, readBy(row, names));
    const input = el("input", {
      value: source, title: source, "aria-label": "From", class: "mono from", autocomplete: "off", placeholder: desk.inbound ? "PID-5.1" : "lead.FirstName", list: "sources",
      oninput: () => { store(withSource(current, input.value, desk.inbound)); read.textContent = readBy(current, names); input.title = input.value; },
      onfocus: () => { lastFrom = input; },
      ondragover: (event) => event.preventDefault(),
      ondrop: (event) => { event.preventDefault(); put(input, event.dataTransfer.getData("text/plain")); },
    });
    from.append(input, read);
  }
  const when = whenOf(row);
  const condition = el("div", { class: "cell", "data-label": "Only if" });
  const shared = row.group ? el("span", { class: "about" }, `if ${row.group}`) : null;
  if (when === null) condition.append(el("span", { class: "about mono", title: JSON.stringify(row.when) }, "conditions of the text"));
  else condition.append(el("input", { value: when, "aria-label": "Condition", class: "mono", placeholder: "always", autocomplete: "off", oninput: (event) => store(withWhen(current, event.target.value, desk.inbound)) }));
  if (shared) condition.append(shared);
  const result = el("div", { class: "cell result", "data-label": "Result" }, el("output", { "aria-label": `Result of ${label}` }), el("span", { class: "row-fault" }));
  const rest = el("div", { class: "cell tools" });
  if (!fixed) {
    rest.append(el("label", { class: "check", title: "Without a value the message is refused; Options say whether it waits instead" }, el("input", { type: "checkbox", checked: row.required === true, onchange: (event) => { const other = { ...current, required: event.target.checked }; if (!other.required) delete other.required; store(other); if (box.querySelector(".options")) { toggle(); toggle(); event.target.focus(); } } }), "needed"));
    rest.append(el("button", { type: "button", class: "plain remove", "aria-label": `Remove ${label}`, onclick: remove }, "Remove"));
  }
  rest.append(open);
  box.append(head, from, el("div", { class: "cell", "data-label": "Steps" }, chips(() => current, stepped)), condition, result, rest);
  named(label);
  box.result = fixed ? fixed.result : () => group.result(current);
  return box;
}

/** The rows of a group as they stand on the screen. */
const linesOf = (group) => [...document.querySelectorAll(`[data-group="${CSS.escape(group.title)}"] [data-row]`)];

function addRow(group, row, focus = ".target") {
  change(() => { group.list.push(row); }, true);
  const last = linesOf(group).at(-1);
  last?.scrollIntoView({ block: "nearest" });
  last?.querySelector(focus)?.focus();
}

/** Away with a row; the focus goes to the one that takes its place, or to the one before. */
function removeRow(group, at) {
  change(() => group.list.splice(at, 1), true);
  const lines = linesOf(group);
  lines[Math.min(group.fixed.length + at, lines.length - 1)]?.querySelector("input")?.focus();
}

function drawRows() {
  const root = $("rows");
  root.replaceChildren(...["targets", "slots", "tables", "sources"].map((id) => el("datalist", { id })));
  const options = (id, list) => $(id).append(...list.map((target) => el("option", { value: target.name ?? target.path }, [target.label, target.kind, ...(target.marks ?? [])].filter(Boolean).join(" · "))));
  options("targets", desk.targets);
  options("slots", desk.slots);
  options("tables", desk.tables.map((name) => ({ name })));
  options("sources", desk.tree.flatMap((branch) => branch.places));
  for (const group of groups()) {
    const section = el("div", { "data-group": group.title });
    section.append(el("div", { class: "group-head" }, el("h2", {}, group.title, " ", el("span", { class: "soft" }, String(group.list.length)))));
    if (group.list.length + group.fixed.length) {
      section.append(el("div", { class: "line titles", "aria-hidden": "true" }, ...[desk.inbound ? "LeadSquared field" : "Place in the message", "From", "Steps", "Only if", "Result", ""].map((text) => el("div", {}, text))));
    } else section.append(el("p", { class: "soft empty-rows" }, "No row yet. Choose a value on the left, or add a row."));
    for (const fixed of group.fixed) {
      section.append(line(group, fixed.owner[fixed.part], (row) => { fixed.owner[fixed.part] = row; }, null, fixed));
    }
    group.list.forEach((row, at) => {
      section.append(line(group, row, (other) => { group.list[at] = other; }, () => removeRow(group, at)));
    });
    section.append(el("p", { class: "actions" },
      el("button", { type: "button", class: "second", onclick: () => addRow(group, { target: "", [desk.inbound ? "path" : "field"]: "" }) }, "Add row"),
      desk.inbound && desk.may_add ? el("button", { type: "button", class: "second add-custom", onclick: (event) => add(event.currentTarget, group) }, group.targets === desk.slots ? "Add custom field of the activity" : "Add custom field") : null,
      group.targets === desk.targets && desk.proposals.length ? el("button", { type: "button", class: "second offer", "aria-expanded": "false", onclick: (event) => proposals(event.target, group) }, `${desk.proposals.length} ${desk.proposals.length === 1 ? "proposal" : "proposals"}`) : null));
    root.append(section);
  }
}

/** Rows that the host proposes for fields without one. */
function proposals(button, group) {
  const open = document.querySelector(".proposals");
  if (open) { open.remove(); button.setAttribute("aria-expanded", "false"); return; }
  const take = (proposal) => {
    desk.proposals = desk.proposals.filter((other) => other !== proposal);
    change(() => { group.list.push(proposal.row); }, true);
    const again = document.querySelector("#rows .offer");
    if (again) proposals(again, group);
    told(`${proposal.row.label ?? proposal.row.target} was added`);
  };
  const sure = desk.proposals.filter((proposal) => proposal.confidence >= 80);
  const box = el("div", { class: "proposals sheet", role: "region", "aria-label": "Proposals" },
    sure.length ? el("button", { type: "button", onclick: () => { change(() => { group.list.push(...sure.map((proposal) => proposal.row)); desk.proposals = desk.proposals.filter((other) => !sure.includes(other)); }, true); } }, sure.length === 1 ? "Add the sure one" : `Add all ${sure.length} sure ones`) : null,
    ...desk.proposals.map((proposal) => el("div", { class: "proposal" },
      el("button", { type: "button", class: "second", onclick: () => take(proposal) }, `Add ${proposal.row.label ?? proposal.row.target}`),
      el("span", {}, `${sourceOf(proposal.row, true) ?? "several parts"} `, el("span", { class: "soft" }, `${proposal.why} (${proposal.confidence} %)`)))));
  button.setAttribute("aria-expanded", "true");
  button.parentElement.after(box);
  (box.querySelector(".proposal button") ?? box.querySelector("button"))?.focus();
}

/** The row that waits for a field to go to: the one that was worked on last, if the account has none of its name. */
function waits(group) {
  const at = linesOf(group).indexOf(lastLine) - group.fixed.length;
  const row = group.list[at];
  return row && !group.targets.some((target) => target.name === row.target) ? { at, row } : null;
}

/** A new field in LeadSquared, for the row that waits for one or for a new row. */
function add(button, group) {
  const waiting = waits(group);
  const made = (target) => {
    group.targets.push(target);
    told(`${target.label} was made in LeadSquared`);
    const row = { target: target.name, label: target.label };
    if (!waiting) { addRow(group, { ...row, path: "" }, ".from"); return; }
    change(() => { group.list[waiting.at] = { ...group.list[waiting.at], ...row }; }, true);
    linesOf(group)[group.fixed.length + waiting.at]?.querySelector(".from")?.focus();
  };
  custom(button, { account: desk.account, code: group.targets === desk.slots ? desk.code : null, csrf, waiting: waiting?.row, made });
}

// --- tree -----------------------------------------------------------------------------------------------------------

/** Every place that some row reads. */
function used() {
  return new Set(JSON.stringify([doc.lead, doc.activity, doc.place]).match(/[A-Za-z][A-Za-z0-9]*(-[0-9]+(\.[0-9]+)*|\.[A-Za-z_0-9]+)/g) ?? []);
}

/** `PID-3[1].1` is mapped as `PID-3.1`. */
const general = (path) => path.replace(/\[1\]/g, "");

function drawTree() {
  const reads = used();
  let count = 0;
  let known = 0;
  $("tree").replaceChildren(...desk.tree.map((branch, at) => el("details", { open: branch.name !== "MSH" && at < 6 },
    el("summary", {}, el("span", { class: "mono" }, branch.name), " ", branch.label),
    ...branch.places.map((place) => {
      const path = general(place.path);
      const isUsed = reads.has(path.replace(/\[[^\]]*\]/g, ""));
      count += 1;
      if (isUsed) known += 1;
      return el("button", { type: "button", class: `place${isUsed ? " used" : ""}${desk.inbound ? "" : " wide"}`, title: `${place.path}\n${place.value}`, "data-words": `${place.path} ${place.label} ${place.value}`.toLowerCase(), onclick: () => choose(path, place), draggable: "true", ondragstart: (event) => event.dataTransfer.setData("text/plain", path) },
        el("span", { class: "mono" }, place.path.replace(`${branch.name}`, "").replace(/^[-.]/, "") || place.path), el("span", { class: "name" }, place.label), el("span", { class: "value mono" }, place.value), isUsed ? el("span", { class: "mark" }, "used") : null);
    }))));
  $("tree-count").textContent = `${count} values, ${known} used`;
  filter();
}

/** Writes into a field as if somebody typed it. */
function put(input, text) {
  input.value = text;
  input.dispatchEvent(new Event("input"));
  input.focus();
}

/** A place was chosen: it goes into the row that asked for it or has no source yet, or into a new one. */
function choose(path, place) {
  if (lastFrom?.isConnected && (picking === lastFrom || lastFrom.value.trim() === "")) {
    picking = null;
    put(lastFrom, path);
    return;
  }
  const all = groups();
  const group = all.find((group) => group.title === "Lead fields") ?? all[0];
  const key = desk.inbound ? "path" : "field";
  addRow(group, { target: "", ...(place.label ? { label: place.label } : {}), [key]: path });
}

/** Says something to people who listen. */
function told(text) {
  $("told").textContent = text;
}

function filter() {
  const word = $("find").value.trim().toLowerCase();
  for (const button of $("tree").querySelectorAll(".place")) {
    button.hidden = !button.dataset.words.includes(word);
    if (word && !button.hidden) button.closest("details").open = true;
  }
}

$("find").addEventListener("input", filter);

// --- samples --------------------------------------------------------------------------------------------------------

async function chooseSample() {
  const chosen = $("sample").value;
  const answer = chosen ? await fetch(`/api/v1/flows/${encodeURIComponent(desk.flow)}/samples/${encodeURIComponent(chosen)}`) : null;
  if (answer && !answer.ok) {
    $("sample").value = sample ?? "";
    told("That message is no longer kept. Choose another one.");
    return;
  }
  desk.tree = answer ? (await answer.json()).segments : own;
  sample = chosen || null;
  draw();
  look();
}

const own = desk.tree;
if (!desk.inbound) for (const target of desk.targets) target.name = general(target.name);
for (const live of desk.live) {
  const at = new Date(live.received_at);
  $("sample").append(el("option", { value: live.id }, `${at.toLocaleString()} · ${live.control_id}`));
}
$("sample").closest("label").hidden = desk.live.length === 0;
$("sample").addEventListener("change", chooseSample);

// --- keyboard -------------------------------------------------------------------------------------------------------

/** The same field of the next row, or of the one before. */
function along(down) {
  const here = document.activeElement.closest(".line");
  const lines = [...document.querySelectorAll(".line[data-row]")];
  const next = lines[here ? lines.indexOf(here) + (down ? 1 : -1) : 0];
  if (!next) return;
  const cell = here ? [...here.children].findIndex((cell) => cell.contains(document.activeElement)) : 0;
  const into = next.children[cell]?.querySelector("input, select, button, summary") ?? next.querySelector("input, button");
  into?.focus();
  next.scrollIntoView({ block: "nearest" });
}

/** The group that the focus is in, or the lead's. */
function here() {
  const title = document.activeElement.closest("[data-group]")?.dataset.group;
  const all = groups();
  return all.find((group) => group.title === title) ?? all.find((group) => group.title === "Lead fields") ?? all[0];
}

$("rows").addEventListener("focusin", (event) => { lastLine = event.target.closest("[data-row]") ?? lastLine; });

const KEYS = {
  KeyN: () => addRow(here(), { target: "", [desk.inbound ? "path" : "field"]: "" }),
  KeyT: () => { picking = document.activeElement.closest(".line")?.querySelector(".from") ?? null; lastFrom = picking ?? lastFrom; $("find").focus(); $("find").select(); },
  KeyC: () => document.querySelector(`[data-group="${CSS.escape(here().title)}"] .add-custom`)?.click(),
  KeyO: () => document.activeElement.closest(".line")?.querySelector(".open-options")?.click(),
  KeyP: () => document.querySelector("#rows .offer[aria-expanded=false]")?.click(),
  KeyS: () => $("save").click(),
  KeyZ: () => $("undo").click(),
  ArrowDown: () => along(true),
  ArrowUp: () => along(false),
  Backspace: () => document.activeElement.closest(".line")?.querySelector(".tools .remove")?.click(),
};

document.addEventListener("keydown", (event) => {
  const key = event.altKey && !event.ctrlKey && !event.metaKey ? KEYS[event.code] : null;
  if (!key) return;
  event.preventDefault();
  key();
});

// In the tree: up and down through the places that are shown, Enter takes one, Escape goes back to the row.
$("tree").parentElement.addEventListener("keydown", (event) => {
  if (event.altKey) return;
  if (event.key === "Escape" && lastFrom?.isConnected) { lastFrom.focus(); return; }
  if (event.key === "Enter" && event.target === $("find")) {
    event.preventDefault();
    $("tree").querySelector(".place:not([hidden])")?.click();
    return;
  }
  const down = event.key === "ArrowDown";
  if (!down && event.key !== "ArrowUp") return;
  event.preventDefault();
  const places = [...$("tree").querySelectorAll(".place:not([hidden])")].filter((place) => place.closest("details").open);
  const at = places.indexOf(document.activeElement);
  (places[at + (down ? 1 : -1)] ?? (down ? places[0] : $("find"))).focus();
});

function draw() {
  names = namesOf(desk.tree);
  drawRows();
  drawTree();
  show();
}

// --- save, reload ---------------------------------------------------------------------------------------------------

form.addEventListener("submit", () => {
  $("document").value = JSON.stringify(clean());
});
form.addEventListener("keydown", (event) => {
  // Enter in a row is no wish to save all of it.
  if (event.key === "Enter" && event.target.matches("input")) event.preventDefault();
  if (event.key === "z" && (event.ctrlKey || event.metaKey) && !event.target.matches("input, textarea")) $("undo").click();
});
$("discard").addEventListener("click", () => {
  sessionStorage.removeItem(kept);
  doc = desk.document;
  history = [];
  $("restored").hidden = true;
  draw();
  preview();
});

try {
  const before = JSON.parse(sessionStorage.getItem(kept));
  if (before?.base === desk.base) {
    doc = structuredClone(before.doc);
    $("restored").hidden = JSON.stringify(clean()) === JSON.stringify(desk.document);
    desk.document = structuredClone(desk.document);
  } else sessionStorage.removeItem(kept);
} catch { sessionStorage.removeItem(kept); }
if (doc === desk.document) doc = structuredClone(desk.document);
draw();
look();
