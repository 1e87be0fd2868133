// *Add custom*: a field of leads, or a slot of the flow's activity type, made in LeadSquared for a row.

import { el } from "./mapping-element.js";
import { sourceOf } from "./mapping-rows.js";

const PATH = /^[A-Z][A-Z0-9]{2}[-[]/;

/** Asks for a new field beside `button`; `waiting` is the row that it is for, if there is one, and `made` takes what was made. */
export function custom(button, { account, code, csrf, waiting, made }) {
  const before = document.querySelector(".custom input");
  if (before) { before.focus(); return; }
  const root = `/api/v1/accounts/${encodeURIComponent(account)}`;
  const said = el("span", { class: "row-fault", role: "alert" });
  const name = el("input", { autocomplete: "off" });
  const length = el("input", { inputmode: "numeric", class: "length", value: "200" });
  const lengthLabel = el("label", { hidden: code !== null }, "Length ", length);
  // LeadSquared decides how long the text of a slot may be.
  const kind = el("select", { onchange: () => { lengthLabel.hidden = code !== null || kind.value !== "Text"; } }, ...["Text", "Number", "Date", "Phone", "Boolean"].map((type) => el("option", {}, type)));
  const close = () => { box.remove(); button.focus(); };
  const make = async () => {
    const wanted = { display_name: name.value.trim(), data_type: kind.value };
    if (!lengthLabel.hidden) wanted.max_length = Number.parseInt(length.value, 10) || 200;
    const path = code === null ? `${root}/fields` : `${root}/activity-types/${code}/slots`;
    const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json", "x-csrf-token": csrf }, body: JSON.stringify(wanted) });
    const body = await answer.json();
    if (!answer.ok) { said.textContent = body.error?.fields?.[0]?.message ?? body.error?.message ?? "it was not made"; return; }
    const field = body.field ?? body;
    made({ name: field.schema_name, label: field.display_name, kind: field.data_type, marks: [], options: [] });
  };
  const box = el("div", { class: "custom sheet", role: "group", "aria-label": code === null ? "New field in LeadSquared" : `New field of activity type ${code} in LeadSquared` },
    el("label", {}, "Display name ", name), el("label", {}, "Type ", kind), lengthLabel,
    el("button", { type: "button", onclick: make }, "Create in LeadSquared"), el("button", { type: "button", class: "plain", onclick: close }, "Cancel"), said);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key === "Enter" && event.target.matches("input")) { event.preventDefault(); make(); }
  });
  button.parentElement.after(box);
  name.focus();
  const path = waiting ? sourceOf(waiting, true) ?? "" : "";
  if (PATH.test(path)) propose(root, path, name, kind, length);
}

/** What the dictionary knows of a place: a name, a type and a length, as long as nobody has typed a name. */
async function propose(root, path, name, kind, length) {
  const answer = await fetch(`${root}/fields/proposal?path=${encodeURIComponent(path)}`);
  if (!answer.ok || name.value) return;
  const proposed = await answer.json();
  name.value = proposed.display_name;
  kind.value = proposed.data_type;
  kind.dispatchEvent(new Event("change"));
  if (proposed.max_length) length.value = proposed.max_length;
  name.select();
}
