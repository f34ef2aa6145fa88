const figures = [...document.querySelectorAll(".result, .statistics")];

function showMetric() {
  const wanted = byId("metric").value;
  for (const figure of figures) figure.hidden = figure.dataset.metric !== wanted;
  redraw();
}

/* Checkboxes for `items`, and what they hide. */
function filter(id, items, hidden, apply) {
  const boxes = items.map(([value, text]) => {
    const box = element("input", { type: "checkbox", checked: true, value });
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(value);
      else hidden.add(value);
      changed();
    });
    return [box, element("label", {}, box, text)];
  });
  const set = (on) => () => {
    for (const [box] of boxes) {
      box.checked = on;
      if (on) hidden.delete(box.value);
      else hidden.add(box.value);
    }
    changed();
  };
  const changed = () => {
    byId(`${id}-count`).textContent = `${items.length - hidden.size} of ${items.length}`;
    apply();
    byId("told").textContent = `${items.length - hidden.size} of ${items.length} ${id} shown`;
  };
  byId(id).append(
    element("div", { class: "both" },
      element("button", { type: "button", class: "plain", onclick: set(true) }, "All"),
      element("button", { type: "button", class: "plain", onclick: set(false) }, "None")),
    ...boxes.map(([, label]) => label),
  );
  changed();
}

function applyMethods() {
  for (const row of document.querySelectorAll(":is(.result, .statistics) tbody tr")) {
    row.hidden = row.dataset.role !== "teacher" && hiddenMethods.has(row.dataset.method);
  }
  redraw();
}

const hiddenPairs = new Set();

function applyPairs() {
  for (const cell of document.querySelectorAll(":is(.result, .statistics) [data-pair]")) {
    cell.hidden = hiddenPairs.has(cell.dataset.pair);
  }
}

/* Sort the methods of a table by a column: falling, rising, and back to the suite's order. */
function sortBy(head, table) {
  const heads = [...table.tHead.rows[0].cells];
  const place = heads.indexOf(head);
  const body = table.querySelector(".methods");
  const next = { none: "descending", descending: "ascending", ascending: "none" };
  const order = place === 0 ? "none" : next[head.getAttribute("aria-sort")];
  for (const one of heads) one.setAttribute("aria-sort", one === head ? order : "none");
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
  byId("told").textContent = order === "none" ? "the suite's order" : `sorted by ${name}, ${order}`;
}

/* Statistics are printed, open or not, and stay afterwards as they were. */
function startStatistics() {
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll(".statistics:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
  });
}

function startTables() {
  byId("metric").addEventListener("change", showMetric);
  filter("methods", methods.map((one) => [one.method, one.label]), hiddenMethods, applyMethods);
  filter("pairs", pairs.map((one) => [one.pair, nameOf(one)]), hiddenPairs, applyPairs);
  for (const button of document.querySelectorAll(".result .sort")) {
    button.addEventListener("click", () => sortBy(button.closest("th"), button.closest("table")));
  }
  document.addEventListener("click", (event) => {
    for (const one of document.querySelectorAll(".filter[open]")) {
      if (!one.contains(event.target)) one.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && document.querySelector(".filter[open]");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });
}
