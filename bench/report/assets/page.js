"use strict";

const byId = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const hidden = { methods: new Set(), pairs: new Set() };

/* Return [value, label] of all matching elements, each value once: the choices of a filter. */
function choices(selector, key) {
  return [...new Map(all(selector).map((node) => [node.dataset[key], node.dataset.label])).entries()];
}

/* Show only the chosen metric, methods and pairs. */
function update() {
  const metric = byId("metric").value;
  for (const node of all(".result, .statistics, .chart")) {
    const other = node.dataset.metric !== undefined && node.dataset.metric !== metric;
    node.hidden = other || hidden.pairs.has(node.dataset.pair);
  }
  for (const row of all(":is(.result, .statistics) tbody tr")) {
    row.hidden = row.dataset.role !== "teacher" && hidden.methods.has(row.dataset.method);
  }
  for (const cell of all(":is(.result, .statistics) [data-pair]")) {
    cell.hidden = hidden.pairs.has(cell.dataset.pair);
  }
}

function button(text, click) {
  const node = document.createElement("button");
  node.type = "button";
  node.className = "plain";
  node.textContent = text;
  node.addEventListener("click", click);
  return node;
}

/* Add a checkbox for each item; unchecked items are hidden. */
function filter(id, items) {
  const boxes = items.map(([value]) => {
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", checked: true, value });
    box.addEventListener("change", changed);
    return box;
  });
  function changed() {
    hidden[id] = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    const count = `${items.length - hidden[id].size} of ${items.length}`;
    byId(`${id}-count`).textContent = count;
    byId("status").textContent = `${count} ${id} shown`;
    update();
  }
  const set = (on) => () => {
    for (const box of boxes) box.checked = on;
    changed();
  };
  const both = document.createElement("div");
  both.className = "both";
  both.append(button("All", set(true)), button("None", set(false)));
  byId(id).append(both, ...items.map(([, text], at) => {
    const label = document.createElement("label");
    label.append(boxes[at], text);
    return label;
  }));
  changed();
}

/* Sort a table's methods by a column: first descending, at the next click ascending, then as in the suite. */
function sortBy(head) {
  const table = head.closest("table");
  const heads = [...table.tHead.rows[0].cells];
  const place = heads.indexOf(head);
  const body = table.querySelector(".methods");
  if (!body) return;
  const next = { none: "descending", descending: "ascending", ascending: "none" };
  const order = place === 0 ? "none" : next[head.getAttribute("aria-sort")];
  for (const each of heads) each.setAttribute("aria-sort", each === head ? order : "none");
  const rows = [...body.rows];
  for (const [at, row] of rows.entries()) row.dataset.place ??= String(at);
  const key = (row) => {
    if (order === "none") return Number(row.dataset.place);
    const value = row.cells[place].dataset.value;
    if (value === undefined) return Infinity;
    return order === "descending" ? -Number(value) : Number(value);
  };
  rows.sort((a, b) => key(a) - key(b) || Number(a.dataset.place) - Number(b.dataset.place));
  body.append(...rows);
  const name = head.textContent.trim();
  byId("status").textContent = order === "none" ? "the suite's order" : `sorted by ${name}, ${order}`;
}

/* Open the record that the fragment of the page's address names. */
function openRecord() {
  const record = byId(decodeURIComponent(location.hash.slice(1)));
  if (!record?.classList.contains("record")) return;
  byId("all-records").open = true;
  record.open = true;
  record.scrollIntoView();
  record.querySelector("summary").focus();
}

/* Open closed statistics for printing, and close them again afterwards. */
let closed = [];
addEventListener("beforeprint", () => {
  closed = all(".statistics:not([open])");
  for (const node of closed) node.open = true;
});
addEventListener("afterprint", () => {
  for (const node of closed) node.open = false;
});
document.addEventListener("click", (event) => {
  for (const node of all(".filter[open]")) if (!node.contains(event.target)) node.open = false;
  if (event.target.closest(".number")) setTimeout(openRecord);
});
document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && document.querySelector(".filter[open]");
  if (open) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});
addEventListener("hashchange", openRecord);

document.documentElement.classList.add("ready");
byId("metric").addEventListener("change", update);
filter("methods", choices(".result tbody tr:not([data-role=teacher])", "method"));
filter("pairs", choices(".result thead [data-pair]", "pair"));
for (const head of all(".result .sort")) head.addEventListener("click", () => sortBy(head.closest("th")));
openRecord();
