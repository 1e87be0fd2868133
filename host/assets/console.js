// Small things that every page is better with, and works without: times in the reader's zone, links with this origin.

const times = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

function local(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime()) || time.title) continue;
    time.title = `${time.textContent} UTC`;
    time.textContent = (time.hasAttribute("data-short") ? clock : times).format(at);
  }
}

local(document);
document.addEventListener("htmx:afterSwap", (event) => local(event.target));

for (const input of document.querySelectorAll("input[data-origin]")) {
  if (input.value.startsWith("/")) input.value = location.origin + input.value;
  input.addEventListener("focus", () => input.select());
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
  if (zone) zone.textContent = new Intl.DateTimeFormat().resolvedOptions().timeZone;
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
