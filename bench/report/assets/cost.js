const COSTS = {
  seconds: "seconds of one training",
  multiply_adds: "multiply-adds of one training",
};

/* What the runs of a cell cost and reach, on average over the seeds that finished. */
function point(cell, cost, metric) {
  const runs = runsOf(cell).filter((run) => run.cost?.[cost] !== undefined && valueOf(run, metric) !== undefined);
  if (!runs.length) return null;
  const values = runs.map((run) => valueOf(run, metric));
  return { cell, x: mean(runs.map((run) => run.cost[cost])), y: mean(values), spread: spread(values) };
}

function drawCost() {
  const metric = metrics.get(byId("metric").value);
  const cost = byId("cost-value").value;
  const pair = byId("cost-pair").value;
  const points = cellsOf(pair).map((cell) => point(cell, cost, metric.name)).filter(Boolean);
  const box = byId("cost-chart");
  if (!points.length) {
    box.replaceChildren(element("p", { class: "hint" }, "No record tells this cost among the methods shown."));
    byId("cost-caption").textContent = "";
    return;
  }
  const name = `${metric.phrase} (${metric.unit})`;
  const frame = chart(box, points.map((one) => one.x), points.flatMap((one) => [one.y - one.spread, one.y + one.spread]),
    { x: COSTS[cost], y: box.clientWidth < 520 ? `${metric.name} (${metric.unit})` : name, inset: 0.05, role: "group", told: `${name} against ${COSTS[cost]}` }, 78, HEIGHT);
  const taken = points.map((one) => ({ x: frame.x(one.x) - 6, y: frame.y(one.y) - 6, width: 12, height: 12 }));
  frame.svg.append(...points.map((one) => spot(frame, one, taken, pair)));
  byId("cost-caption").textContent =
    `${capital(name)} against ${COSTS[cost]}: means over seeds, bars are ± one standard deviation. `
    + (cost === "seconds"
      ? "Seconds are a run's own plus those its cohort shares (data, teacher), as if it had run alone; they hold for the machine of the records."
      : "Each image seen costs three forward passes of the student (one forward, two for the gradient) and one of the teacher where a loss asks it; losses themselves are not counted.")
    + " A point opens its records.";
}

function spot(frame, one, taken, pair) {
  const [x, y] = [frame.x(one.x), frame.y(one.y)];
  const { colour, dashed } = look(one.cell.method);
  const tall = Math.abs(frame.y(one.y - one.spread) - y);
  const text = pair ? one.cell.label : "";
  const label = text && free(taken, x, y, text.length * 7.3);
  const told = `${one.cell.label}, ${nameOf(one.cell)}: ${brief(one.y)} at ${brief(one.x)}`;
  const open = () => openCell(data.cells.indexOf(one.cell));
  return drawn("g", {
    class: `dot ${colour}`, role: "button", tabindex: 0, "aria-label": `${told}; its records`, "aria-haspopup": "dialog",
    onclick: open,
    onkeydown: (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      open();
    },
  },
  drawn("title", {}, told),
  drawn("line", { class: "stroke spread", x1: x, x2: x, y1: y - tall, y2: y + tall }),
  drawn("circle", { class: dashed ? "stroke hollow" : "stroke fill", cx: x, cy: y, r: 4.5, fill: "var(--paper)", "stroke-width": 1.6 }),
  label ? drawn("text", { class: "fill", ...label }, text) : null);
}

/* A place for a label beside a point that covers nothing yet; none when all are taken. */
function free(taken, x, y, width) {
  const sides = [[9, 4, "start"], [-9, 4, "end"], [0, -10, "middle"], [0, 18, "middle"], [9, -8, "start"],
    [9, 16, "start"], [-9, -8, "end"], [-9, 16, "end"]];
  for (const [right, down, anchor] of sides) {
    const left = x + right - width * { start: 0, middle: 0.5, end: 1 }[anchor];
    const one = { x: left, y: y + down - 10, width, height: 13 };
    const hit = taken.some((other) => one.x < other.x + other.width && other.x < one.x + one.width
      && one.y < other.y + other.height && other.y < one.y + one.height);
    if (!hit && left > 48 && one.y > 12) {
      taken.push(one);
      return { x: x + right, y: y + down, "text-anchor": anchor };
    }
  }
  return null;
}

function startCost() {
  byId("cost-pair").append(...pairs.map((one) => option(one.pair, nameOf(one))));
  if (pairs.length > 1) byId("cost-pair").append(option("", "all pairs"));
  byId("cost-pair").addEventListener("change", drawCost);
  byId("cost-value").addEventListener("change", drawCost);
  redraws.push(drawCost);
}
