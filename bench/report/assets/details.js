/* Values as indented lines, as in a suite file. */
function indented(value, depth = 0) {
  const room = "  ".repeat(depth);
  if (value === null || typeof value !== "object") return String(value ?? "none");
  if (Array.isArray(value)) return `[${value.map((one) => indented(one)).join(", ")}]`;
  const lines = Object.entries(value).map(([key, one]) => {
    const nested = one !== null && typeof one === "object" && !Array.isArray(one) && Object.keys(one).length;
    return nested ? `${room}${key}:\n${indented(one, depth + 1)}` : `${room}${key}: ${isEmpty(one) ? "none" : indented(one)}`;
  });
  return lines.join("\n");
}

const isEmpty = (one) => one !== null && typeof one === "object" && !Array.isArray(one) && !Object.keys(one).length;

const SHORT = { top1: "top-1", top5: "top-5", nll: "NLL", ece: "ECE", kl: "KL to teacher" };

/* A list of terms and their descriptions, without those that are not known. */
function facts(pairsOf) {
  const known = pairsOf.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return element("dl", {}, ...known.flatMap(([key, value]) => [
    element("dt", {}, key), element("dd", {}, value instanceof Node ? value : String(value)),
  ]));
}

function openCell(place) {
  const cell = data.cells[place];
  openPanel(
    cell.role === "teacher" ? `Teacher ${cell.teacher}` : `${cell.label}, ${nameOf(cell)}`,
    cell.runs, statisticsOf(cell),
  );
}

/* What the statistics of the metric that is shown say of a cell; nothing of a teacher's. */
function statisticsOf(cell) {
  const rows = [...document.querySelectorAll(".statistics:not([hidden]) [data-pair] tr[data-method]")];
  const row = cell.role !== "teacher" && rows.find((one) =>
    one.dataset.method === cell.method && one.closest("[data-pair]").dataset.pair === cell.pair);
  if (!row) return [];
  const unmarked = (one) =>
    [...one.childNodes].filter((part) => part.nodeName !== "SUP").map((part) => part.textContent).join("");
  const heads = row.closest("table").tHead.rows[0].cells;
  return [
    element("h3", {}, byId("metric").selectedOptions[0].textContent),
    facts([...row.cells].map((one, at) => [heads[at].textContent, unmarked(one)]).slice(1)),
  ];
}

/* The panel with what is said of a cell, and with its records, the first of them shown. */
function openPanel(title, runs, said = []) {
  const panel = byId("panel");
  const body = element("div", {});
  const seeds = runs.length > 1 ? element("div", { class: "seeds", role: "group", "aria-label": "Runs, by seed" }) : null;
  const show = (id) => {
    body.replaceChildren(...recordOf(id, data.records[id]));
    if (seeds) for (const one of seeds.children) one.setAttribute("aria-pressed", String(one.dataset.run === id));
    const box = body.querySelector(".chart");
    if (box) drawRecord(box, data.records[id]);
  };
  if (seeds) {
    seeds.append(...runs.map((id) => element("button", {
      type: "button", "data-run": id, onclick: () => show(id),
    }, `seed ${data.records[id].seed}${data.records[id].status === "done" ? "" : ` (${data.records[id].status})`}`)));
  }
  byId("panel-content").replaceChildren(
    element("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => panel.close() }, "×"),
    element("h2", { id: "panel-title", tabindex: -1, autofocus: true }, title),
    ...said, ...(seeds ? [seeds] : []), body,
  );
  panel.showModal();
  panel.scrollTop = 0;
  show(runs[0]);
}

function recordOf(id, run) {
  const last = Object.entries(run.metrics?.last ?? {}).map(([key, value]) => {
    const metric = metrics.get(key);
    return [SHORT[key] ?? key, metric ? `${value.toFixed(metric.digits)} ${metric.unit}` : value];
  });
  const best = run.metrics?.oracle;
  const environment = data.environments[run.environment] ?? {};
  return [
    element("p", { class: "hint" }, run.name ?? id, run.reason ? `: ${run.reason}` : ""),
    element("div", { class: "pair-of-columns" },
      element("div", {}, element("h3", {}, "Result"), facts([
        ["status", run.status], ...last,
        ["oracle", best && `${best.top1.toFixed(2)} % in epoch ${best.epoch}, chosen on the test set`],
      ])),
      element("div", {}, element("h3", {}, "Run"), facts([
        ["id", element("code", {}, id)],
        ["record", element("a", { href: `runs/${encodeURIComponent(id)}.json` }, `runs/${id}.json`)],
        ["network", run.network && `${run.network.name ?? run.specification.network}, ${brief(run.network.parameters)} parameters, ${brief(run.network.multiply_adds)} multiply-adds`],
        ["teacher", run.teacher && `${run.teacher.network}${run.teacher.top1 ? `, ${run.teacher.top1.toFixed(2)} %` : ""}`],
        ["own seconds", run.seconds?.toFixed(1)],
        ["started", run.started],
        ["weights", run.weights && element("code", {}, `sha256 ${run.weights.slice(0, 16)}…`)],
      ]))),
    ...(run.curves?.epoch ? [element("h3", {}, "Curves"), element("div", { class: "pair-of-columns chart" })] : []),
    element("h3", {}, "Specification"), element("pre", { tabindex: 0, "aria-label": "Specification" }, indented(run.specification)),
    element("h3", {}, "Environment"), facts(Object.entries(environment).map(([key, value]) => [key, value])),
  ];
}

/* Training loss and test accuracy of one record. */
function drawRecord(box, run) {
  const courses = ["top1", "loss"].map((value) => ({
    value,
    points: (run.curves[value] ?? []).flatMap((one, at) => (one === null ? [] : [[run.curves.epoch[at], one]])),
  })).filter((one) => one.points.length);
  const places = courses.map(() => element("div", {}));
  box.append(...places);
  for (const [at, { value, points }] of courses.entries()) {
    const name = valueName(value);
    const frame = chart(places[at], points.map(([x]) => x), points.map(([, y]) => y),
      { x: "epoch", y: name, told: `${name} by epoch` }, 14, SMALL);
    frame.svg.append(...marked(points.map(([x, y]) => [frame.x(x), frame.y(y)]), "k0"));
  }
}

function startDetails() {
  document.addEventListener("click", (event) => {
    const number = event.target.closest("[data-cell]");
    const run = event.target.closest(".run[data-run]");
    if (number) openCell(Number(number.dataset.cell));
    if (run) openPanel(data.records[run.dataset.run].name ?? run.dataset.run, [run.dataset.run]);
    if (event.target === byId("panel")) byId("panel").close();
  });
}

document.documentElement.classList.add("ready");
startCurves();
startCost();
startTables();
startStatistics();
startDetails();
showMetric();
new ResizeObserver(redraw).observe(byId("results"));
addEventListener("beforeprint", redraw);
