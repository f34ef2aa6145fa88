"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const metrics = new Map(data.metrics.map((one) => [one.name, one]));
const pairs = [...new Map(data.cells.map((cell) => [cell.pair, cell])).values()];
const methods = [...new Map(
  data.cells.filter((cell) => cell.role !== "teacher").map((cell) => [cell.method, cell]),
).values()];
const hiddenMethods = new Set();
const redraws = [];

const byId = (id) => document.getElementById(id);
const cellsOf = (pair) => data.cells.filter(
  (cell) => cell.role !== "teacher" && (!pair || cell.pair === pair) && !hiddenMethods.has(cell.method),
);
const nameOf = (cell) => `${cell.teacher} → ${cell.student}`;
const runsOf = (cell) => cell.runs.map((id) => data.records[id]).filter((run) => run.status === "done");
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function spread(values) {
  if (values.length < 2) return 0;
  const centre = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1));
}

/* The value of a metric of a record; undefined where it has none. */
function valueOf(run, metric) {
  const held = run.metrics ?? {};
  return metric === "oracle" ? held.oracle?.top1 : held.last?.[metric];
}

/* An element of HTML; text only ever becomes a text node. */
function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/* An element of SVG. */
function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/* Colour and dash of a method: the same everywhere on the page. */
function look(method) {
  const place = methods.findIndex((one) => one.method === method);
  return { colour: `k${place % 8}`, dashed: Math.floor(place / 8) % 2 === 1 };
}

const UNITS = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

/* 1234567 as "1.23 M"; 0.00012 as it is. */
function brief(value) {
  for (const [size, unit] of UNITS) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))} ${unit}`;
  }
  return String(Number(value.toPrecision(4)));
}

function option(value, text) {
  return element("option", { value }, text);
}

function redraw() {
  for (const one of redraws) one();
}
