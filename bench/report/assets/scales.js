const HEIGHT = 340;
const SMALL = 190;

/* Round numbers that span low to high. */
function ticks(low, high, count, least = 0) {
  const raw = Math.max((high - low) / count || 1, least);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = (least ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10]).map((factor) => factor * power).find((one) => one >= raw);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at += 1) {
    found.push(Number((at * step).toPrecision(12)));
  }
  return found;
}

/* The texts of ticks: one unit for all, and as many digits as tell them apart. */
function tickText(values) {
  const step = Math.abs((values[1] ?? 1) - (values[0] ?? 0)) || 1;
  const most = Math.max(...values.map(Math.abs));
  const [size, unit] = UNITS.find(([one]) => most >= 10 * one && step >= one / 100) ?? [1, ""];
  const digits = Math.max(0, -Math.floor(Math.log10((step / size) * 1.0001)));
  const exact = Number((step / size).toFixed(digits)) === step / size ? digits : digits + 1;
  return values.map((value) => (value ? `${(value / size).toFixed(Math.min(exact, 6))}${unit && ` ${unit}`}` : "0"));
}

/* An empty chart with axes: where it is drawn, and where numbers lie in it. */
function chart(box, xs, ys, titles, right, height) {
  const width = Math.max(260, box.clientWidth);
  const margin = { left: 52, right, top: 24, bottom: 40 };
  const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
  const [low, high] = padded(ys, 0.06);
  const [first, last] = padded(xs, titles.inset ?? 0);
  const x = (value) => margin.left + ((value - first) / (last - first)) * inner.width;
  const y = (value) => margin.top + (1 - (value - low) / (high - low)) * inner.height;
  const axis = drawn("g", { class: "axis" });
  const [across, up] = [ticks(first, last, Math.max(3, Math.floor(inner.width / 90)), titles.x === "epoch" ? 1 : 0), ticks(low, high, 5)];
  const [underneath, beside] = [across, up].map(tickText);
  for (const [at, value] of up.entries()) {
    axis.append(
      drawn("line", { class: "grid", x1: margin.left, x2: margin.left + inner.width, y1: y(value), y2: y(value) }),
      drawn("text", { x: margin.left - 8, y: y(value) + 4, "text-anchor": "end" }, beside[at]),
    );
  }
  for (const [at, value] of across.entries()) {
    axis.append(drawn("text", { x: x(value), y: height - 20, "text-anchor": "middle" }, underneath[at]));
  }
  axis.append(
    drawn("text", { class: "title", x: margin.left, y: 11 }, titles.y),
    drawn("text", { class: "title", x: margin.left + inner.width, y: height - 3, "text-anchor": "end" }, titles.x),
  );
  const svg = drawn("svg", {
    viewBox: `0 0 ${width} ${height}`, height, role: titles.role ?? "img", "aria-label": titles.told,
  }, axis);
  box.replaceChildren(svg);
  return { svg, x, y, right: margin.left + inner.width, top: margin.top, bottom: margin.top + inner.height };
}

function padded(values, share) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = (high - low || Math.abs(high) || 1) * share;
  return high - low || share ? [low - room, high + room] : [low - 0.5, high + 0.5];
}

/* Heights for labels that want to be at `wanted`: none closer than `gap`, none beyond `limits`. */
function apart(wanted, gap, limits) {
  const order = wanted.map((at, place) => ({ at, place })).sort((a, b) => a.at - b.at);
  let before = limits[0] - gap;
  for (const one of order) {
    one.at = Math.max(one.at, before + gap);
    before = one.at;
  }
  let after = limits[1] + gap;
  for (const one of order.toReversed()) {
    one.at = Math.min(one.at, after - gap);
    after = one.at;
  }
  const found = [];
  for (const one of order) found[one.place] = one.at;
  return found;
}

function path(points) {
  return points.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

/* A line, with its points marked while they are few. */
function marked(points, kind, dashed = false) {
  return [
    drawn("path", { class: `line stroke ${kind} ${dashed ? "dashed" : ""}`, d: path(points) }),
    ...(points.length > 15 ? [] : points.map(([x, y]) => drawn("circle", { class: `fill ${kind}`, cx: x, cy: y, r: 2.4 }))),
  ];
}
