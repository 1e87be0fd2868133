// Small things that every page is better with, and works without: times in the reader's zone, faults beside their fields,
// links with this origin.

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const here = new Intl.DateTimeFormat().resolvedOptions().timeZone;

/** As short as it is plain: today's with the clock alone, this year's without the year. */
function written(at) {
  const now = new Date();
  if (at.toDateString() === now.toDateString()) return `Today, ${clock.format(at)}`;
  return `${(at.getFullYear() === now.getFullYear() ? day : date).format(at)}, ${clock.format(at)}`;
}

/** The same time in the zone of a flow; none where that is the reader's own. */
function elsewhere(at, zone) {
  if (!zone || zone === here) return null;
  try {
    const text = new Intl.DateTimeFormat(undefined, { timeStyle: "short", timeZone: zone }).format(at);
    if (text === new Intl.DateTimeFormat(undefined, { timeStyle: "short" }).format(at)) return null;
    return `${text} in ${zone}`;
  } catch { return null; }
}

function local(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime()) || time.title) continue;
    const there = elsewhere(at, time.closest("[data-flow-zone]")?.dataset.flowZone);
    time.title = [full.format(at), there, time.textContent].filter(Boolean).join("\n");
    const isShort = time.hasAttribute("data-short");
    time.textContent = isShort ? clock.format(at) : written(at);
    if (!there || isShort) continue;
    const beside = document.createElement("small");
    beside.className = "elsewhere";
    beside.textContent = there;
    (time.closest("a") ?? time).after(" ", beside);
  }
}

local(document);
document.addEventListener("htmx:afterSwap", (event) => local(event.target));

for (const input of document.querySelectorAll("input[data-origin]")) {
  if (input.value.startsWith("/")) input.value = location.origin + input.value;
  input.addEventListener("focus", () => input.select());
}

// What is wrong stands beside its field, too, as the list on top says it.
/** The field of a fault by the end of its path: `rules.quiet.threshold` is called `quiet.threshold` or `threshold`. */
function fieldOf(path) {
  const parts = path.split(".");
  for (let at = 0; at < parts.length; at += 1) {
    const name = CSS.escape(parts.slice(at).join("."));
    const input = document.querySelector(`main form [name="${name}"]:not([type=hidden])`);
    if (input) return input;
  }
  return null;
}

for (const line of document.querySelectorAll(".faults [data-field]")) {
  const input = fieldOf(line.dataset.field);
  if (!input) continue;
  const id = `fault-${input.name}`;
  const text = `${line.dataset.text}.`;
  let said = document.getElementById(id);
  if (said?.dataset.more) said.append(document.createElement("br"), text);
  if (!said) {
    said = document.createElement("span");
    said.className = "fault";
    said.id = id;
    said.dataset.more = "1";
    said.textContent = text;
    const label = input.closest("label") ?? input;
    const choices = input.matches("[type=radio], [type=checkbox]") && input.closest("fieldset");
    if (choices) choices.append(said);
    else {
      const box = document.createElement("div");
      label.replaceWith(box);
      box.append(label, said);
    }
  }
  input.setAttribute("aria-invalid", "true");
  const about = new Set([...(input.getAttribute("aria-describedby") ?? "").split(" "), id].filter(Boolean));
  input.setAttribute("aria-describedby", [...about].join(" "));
  for (let details = input.closest("details"); details; details = details.parentElement.closest("details")) details.open = true;
}
document.querySelector("main form [aria-invalid=true]:not([type=file])")?.focus({ preventScroll: true });

// Chromium's lists show only what fits the text that is there: whoever points at a filled one sees all of it.
for (const input of document.querySelectorAll("input[list][required]")) {
  const back = () => { if (!input.value && input.dataset.was) input.value = input.dataset.was; };
  input.addEventListener("pointerdown", () => {
    if (document.activeElement === input || !input.value) return;
    input.dataset.was = input.value;
    input.placeholder = input.value;
    input.value = "";
  });
  input.addEventListener("blur", back);
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") back(); });
}

// A button that needs a name typed to be pressed.
for (const input of document.querySelectorAll("input[data-names]")) {
  const button = input.form?.querySelector("button");
  const check = () => { if (button) button.disabled = input.value.trim() !== input.dataset.names; };
  input.addEventListener("input", check);
  check();
}

// What is asked for by time is asked for in the zone that times are shown in; what is sent is UTC.
for (const input of document.querySelectorAll("input[data-utc]")) {
  const zone = input.closest("label")?.querySelector("[data-zone]");
  if (zone) zone.textContent = here;
  const at = new Date(`${input.value}Z`);
  if (input.value && !Number.isNaN(at.getTime())) {
    input.value = new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
  }
  const sent = document.createElement("input");
  sent.type = "hidden";
  sent.name = input.name;
  input.removeAttribute("name");
  input.after(sent);
  const keep = () => {
    const typed = new Date(input.value);
    sent.value = input.value && !Number.isNaN(typed.getTime()) ? typed.toISOString() : "";
  };
  input.addEventListener("input", keep);
  keep();
}
