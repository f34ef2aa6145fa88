let setOff = null;

/* Mean, least and most over the runs of a cell, epoch by epoch, where every run has a value. */
function course(cell, value) {
  const runs = runsOf(cell).map((run) => run.curves).filter((one) => one?.[value]);
  if (!runs.length) return [];
  const held = runs.map((one) => new Map(one.epoch.map((epoch, at) => [epoch, one[value][at]])));
  return runs[0].epoch.flatMap((epoch) => {
    const values = held.map((one) => one.get(epoch)).filter((one) => one !== null && one !== undefined);
    if (values.length < held.length) return [];
    return [{ epoch, mean: mean(values), low: Math.min(...values), high: Math.max(...values) }];
  });
}

function drawCurves() {
  const pair = byId("curve-pair").value;
  const value = byId("curve-value").value;
  const late = byId("curve-epochs").value === "late";
  const lines = cellsOf(pair).map((cell) => ({ cell, points: course(cell, value) }))
    .map(({ cell, points }) => ({ cell, points: late ? points.filter((one) => 2 * one.epoch >= points.at(-1).epoch) : points }))
    .filter((one) => one.points.length);
  const box = byId("curve-chart");
  legend(lines);
  if (!lines.length) {
    box.replaceChildren(element("p", { class: "hint" }, "No curve of this value among the methods shown."));
    byId("curve-caption").textContent = "";
    return;
  }
  const all = lines.flatMap((one) => one.points);
  const name = valueName(value);
  const where = nameOf(lines[0].cell);
  const frame = chart(box, all.map((one) => one.epoch), all.flatMap((one) => [one.low, one.high]),
    { x: "epoch", y: name, told: `${name} by epoch for ${where}: ${lines.length} methods` },
    box.clientWidth < 520 ? 94 : 100, HEIGHT);
  const heights = apart(lines.map((one) => frame.y(one.points.at(-1).mean)), 13, [frame.top, frame.bottom]);
  for (const [at, line] of lines.entries()) frame.svg.append(...curve(frame, line, heights[at]));
  byId("curve-caption").textContent =
    `${capital(name)}, ${where}: means over the seeds that finished.`
    + (value === "loss" ? " Each method's loss is its own sum of terms: heights do not compare." : "");
}

function curve(frame, line, height) {
  const { colour, dashed } = look(line.cell.method);
  const on = setOff === line.cell.method;
  const kind = `${colour} ${setOff && !on ? "faded" : ""} ${on ? "strong" : ""}`;
  const along = (key) => line.points.map((one) => [frame.x(one.epoch), frame.y(one[key])]);
  const band = on && drawn("path", {
    class: `${colour} fill band`, d: `${path([...along("high"), ...along("low").reverse()])}Z`,
  });
  return [
    band || null,
    ...marked(along("mean"), kind, dashed),
    drawn("line", { class: `line stroke ${kind} ${dashed ? "dashed" : ""}`, x1: frame.right + 4, x2: frame.right + 18, y1: height, y2: height }),
    drawn("text", { class: `fill ${kind}`, x: frame.right + 23, y: height + 4 }, line.cell.label),
  ].filter(Boolean);
}

function legend(lines) {
  const focused = document.activeElement?.dataset?.setOff;
  byId("curve-legend").replaceChildren(...lines.map(({ cell }) => {
    const { colour, dashed } = look(cell.method);
    return element("li", {}, element("button", {
      type: "button", class: `${colour} ${dashed ? "dashed" : ""}`, "data-set-off": cell.method,
      "aria-pressed": setOff === cell.method ? "true" : "false",
      onclick: () => {
        setOff = setOff === cell.method ? null : cell.method;
        drawCurves();
      },
    }, cell.label));
  }));
  const again = focused && [...byId("curve-legend").querySelectorAll("button")].find((one) => one.dataset.setOff === focused);
  if (again) again.focus();
}

function valueName(value) {
  if (value === "loss") return "training loss";
  if (value === "lr") return "learning rate";
  const metric = metrics.get(value);
  const short = metric.phrase.replace(/(, | of the )last epoch$/, "");
  return `${short} (${metric.unit})`;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

function startCurves() {
  const found = new Set(Object.values(data.records).flatMap((run) => Object.keys(run.curves ?? {})));
  const values = [...metrics.keys()].filter((one) => found.has(one));
  if (found.has("loss")) values.push("loss", "lr");
  byId("curve-value").append(...values.map((one) => option(one, capital(valueName(one)))));
  byId("curve-pair").append(...pairs.map((one) => option(one.pair, nameOf(one))));
  byId("curve-pair").addEventListener("change", drawCurves);
  byId("curve-epochs").addEventListener("change", drawCurves);
  byId("curve-value").addEventListener("change", drawCurves);
  if (!values.length) byId("curves").hidden = true;
  else redraws.push(drawCurves);
}
