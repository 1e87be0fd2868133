// What a row does where there is no value, where one is deleted, and with one that cannot be used. Knows no page but its own box.

import { el } from "./mapping-element.js";

/** Members of a row with their choices: the word of the document, and what it means. The first is the usual one. */
function questions(row, { inbound, isKey, isTime }) {
  const silent = [
    ["keep", inbound ? "keeps the field as it is" : "keeps what the template has"],
    ["clear", inbound ? "empties the field" : "deletes it in the EHR (\"\")"],
    ["default", "writes this:"],
  ];
  const strict = row.required === true || isKey;
  // A needed row without a value is a fault; what follows a fault is asked below.
  const without = strict ? [["keep", "counts as a value that cannot be used"], silent[2]] : silent;
  return [
    { key: "empty", title: "Without a value", choices: without },
    { key: "null", title: inbound ? "If the message deletes it (\"\")" : "If the field was emptied", choices: without },
    {
      key: "on-error", title: "With a value that cannot be used",
      choices: strict
        ? [["leave-out", "refuses the message"], ["wait", "waits until somebody has mended it"]]
        : [["leave-out", "leaves the field out, with a warning"], ...(isTime ? [] : [silent[2]]), ["wait", "waits until somebody has mended it"], ["refuse", "refuses the message"]],
    },
  ];
}

const chosen = (value) => (value && typeof value === "object" ? "default" : value);

/** How many of them are not as usual. */
export function unusual(row) {
  return ["empty", "null", "on-error"].filter((key) => row[key] !== undefined && !["keep", "leave-out"].includes(row[key])).length;
}

/** The same row with another answer; the usual one is not written down. */
export function withOption(row, key, word, text) {
  const other = { ...row };
  delete other[key];
  if (word === "default") other[key] = { default: text };
  else if (!["keep", "leave-out"].includes(word)) other[key] = word;
  return other;
}

/** The box with the questions; `now` gives the row as it stands, `put` takes another. */
export function optionsBox(label, { now, put, ...about }) {
  const box = el("div", { class: "options", role: "group", "aria-label": `Options of ${label}` });
  for (const { key, title, choices } of questions(now(), about)) {
    const word = chosen(now()[key]) ?? choices[0][0];
    const known = choices.some(([one]) => one === word) ? choices : [...choices, [word, word]];
    const text = el("input", {
      "aria-label": `${title}, it writes`, value: now()[key]?.default ?? "", autocomplete: "off", hidden: word !== "default",
      oninput: () => put(withOption(now(), key, "default", text.value)),
    });
    const select = el("select", {
      onchange: () => {
        text.hidden = select.value !== "default";
        put(withOption(now(), key, select.value, text.value));
        if (!text.hidden) text.focus();
      },
    }, ...known.map(([one, means]) => el("option", { value: one, selected: one === word }, means)));
    box.append(el("div", {}, el("label", {}, title, select), text));
  }
  return box;
}
