"use strict";

/* The search of the front page. Files assets/index-*.js hold [kind, text, address] of every page. */
const MAX_HITS = 30;
const input = document.getElementById("q");
const hits = document.getElementById("hits");
const count = document.getElementById("count");
const entries = (self.siteIndex ?? []).flat();
const texts = entries.map(([, text]) => text.toLowerCase());
const KINDS = ["suite", "method", "leaderboard", "run"];

/* Return the places of entries that contain all words; texts that begin with the query first. */
function search(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const matches = [];
  for (const [place, text] of texts.entries()) {
    if (!words.every((word) => text.includes(word))) continue;
    const names = text.split(" · ");
    const exact = names.includes(words.join(" ")) ? 0 : 1;
    const begins = names.some((name) => name.startsWith(words.join(" "))) ? 0 : 1;
    matches.push([exact, KINDS.indexOf(entries[place][0]), begins, place]);
  }
  matches.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2] || a[3] - b[3]);
  return matches.map((match) => match[3]);
}

function item(place) {
  const [kind, text, address] = entries[place];
  const link = document.createElement("a");
  link.href = address;
  link.textContent = text;
  const label = document.createElement("span");
  label.className = "kind";
  label.textContent = kind;
  const node = document.createElement("li");
  node.append(label, " ", link);
  return node;
}

function update() {
  const found = search(input.value);
  hits.replaceChildren(...found.slice(0, MAX_HITS).map(item));
  hits.hidden = !found.length;
  const more = found.length > MAX_HITS ? `; the first ${MAX_HITS} are shown` : "";
  const noun = found.length === 1 ? "result" : "results";
  count.textContent = input.value.trim() ? `${found.length} ${noun}${more}` : "";
}

/* The arrow keys move between the input and the results; Escape returns to the input. */
addEventListener("keydown", (event) => {
  const links = [...hits.querySelectorAll("a")];
  const place = links.indexOf(document.activeElement);
  const isInput = document.activeElement === input;
  if (event.key === "Escape" && place >= 0) input.focus();
  if (!isInput && place < 0) return;
  if (event.key === "ArrowDown" && links[place + 1]) {
    event.preventDefault();
    links[place + 1].focus();
  }
  if (event.key === "ArrowUp" && place >= 0) {
    event.preventDefault();
    (links[place - 1] ?? input).focus();
  }
});
input.form.addEventListener("submit", (event) => {
  event.preventDefault();
  hits.querySelector("a")?.click();
});
input.addEventListener("input", update);
input.value = new URLSearchParams(location.search).get("q") ?? "";
update();
