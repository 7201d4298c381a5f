// What the console adds to its pages: local times, copy buttons, swaps without reload, live rows and charts.
// Every page and every action also works without it.
"use strict";

const REFRESH = 5000; // milliseconds between two refreshes of the region `live`
const UNATTENDED = 15 * 60000; // milliseconds without input after which pages stop to refresh, so that a session can end
const MAX_ROWS = 200;
const root = document.documentElement;

// Times ---------------------------------------------------------------------------------------------------------------

const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
const calendar = new Intl.DateTimeFormat(undefined, {month: "short", day: "numeric"});
const year = new Intl.DateTimeFormat(undefined, {year: "numeric", month: "short", day: "numeric"});

const hour = new Intl.DateTimeFormat(undefined, {month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23"});

function localTime(moment) {
  const today = new Date();
  if (moment.toDateString() === today.toDateString()) return clock.format(moment);
  const day = (moment.getFullYear() === today.getFullYear() ? calendar : year).format(moment);
  return `${day}, ${clock.format(moment)}`;
}

function showLocalTimes(part) {
  for (const element of part.querySelectorAll("time[datetime]:not([data-local])")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    element.textContent = element.dataset.form === "hour" ? hour.format(moment) : localTime(moment);
    element.dataset.local = "";
  }
}

// Copy buttons --------------------------------------------------------------------------------------------------------

async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea"); // without https the clipboard has no other way
  field.value = text;
  field.className = "hidden";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

document.addEventListener("click", async event => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await copyText(button.dataset.copy);
    announce("Copied");
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1500);
  } catch {
    announce("The browser does not allow copying");
  }
});

function announce(text, time = 2500) {
  let region = document.getElementById("announcement");
  if (!region) {
    region = Object.assign(document.createElement("p"), {id: "announcement", className: "toast"});
    region.setAttribute("role", "status");
    document.body.append(region);
  }
  region.textContent = text;
  clearTimeout(announce.timer);
  if (time) announce.timer = setTimeout(() => { region.textContent = ""; }, time);
}

// Refresh -------------------------------------------------------------------------------------------------------------

let lastInput = Date.now();
let isPausedByRest = false;

function noteInput() {
  lastInput = Date.now();
  if (isPausedByRest) announce("");
  isPausedByRest = false;
}

for (const kind of ["pointermove", "pointerdown", "keydown", "wheel", "focusin"]) {
  addEventListener(kind, noteInput, {passive: true});
}

/** Return whether someone looks at the page: it is visible, and there was input lately. */
function isAttended() {
  if (document.hidden) return false;
  if (Date.now() - lastInput < UNATTENDED) return true;
  if (!isPausedByRest) announce("Paused after 15 minutes without input; move the pointer to go on", 0);
  isPausedByRest = true;
  return false;
}

function mayRefresh() {
  const live = document.getElementById("live");
  if (!live || !isAttended() || live.contains(document.activeElement)) return false;
  const selection = document.getSelection();
  return selection.isCollapsed || !live.contains(selection.anchorNode);
}

setInterval(() => {
  if (mayRefresh()) document.body.dispatchEvent(new Event("refresh"));
}, REFRESH);

// Live rows -----------------------------------------------------------------------------------------------------------

function watchCalls(control) {
  const text = control.querySelector("[data-live-text]");
  const pause = control.querySelector("[data-live-pause]");
  const table = document.getElementById("rows");
  const body = table.querySelector("tbody");
  const waiting = document.createElement("tbody");
  let isPaused = false;
  let lost = 0;

  function show(state, words) {
    control.dataset.state = state;
    const left_out = lost ? `, ${lost} left out` : "";
    if (text.textContent !== words + left_out) text.textContent = words + left_out;
  }

  function prepend(rows, target) {
    target.prepend(...rows);
    while (target.rows.length > MAX_ROWS) target.lastElementChild.remove();
  }

  const events = new EventSource(control.dataset.live);
  events.addEventListener("open", () => show(isPaused ? "paused" : "live", isPaused ? "paused" : "live"));
  events.addEventListener("error", () => show("broken", "connection lost, trying again"));
  events.addEventListener("lost", event => { lost += Number(event.data); });
  events.addEventListener("calls", event => {
    const parsed = document.createElement("template");
    parsed.innerHTML = `<table><tbody>${event.data}</tbody></table>`; // the server escapes all values
    const rows = [...parsed.content.querySelectorAll("tr")];
    for (const row of rows) row.classList.add("new");
    showLocalTimes(parsed.content);
    prepend(rows, isPaused ? waiting : body);
    if (isPaused) return show("paused", `paused, ${waiting.rows.length} new`);
    table.hidden = false;
    document.querySelector("#results-empty")?.remove();
    show("live", "live");
  });
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    if (!isPaused) prepend([...waiting.rows], body);
    show(isPaused ? "paused" : "live", isPaused ? "paused" : "live");
  });
  window.addEventListener("pagehide", () => events.close());
}

// Charts --------------------------------------------------------------------------------------------------------------

const CHARTS = {
  rate: {unit: " /s", series: [["Calls", "rate", "--part-upstream"]], fill: true},
  latency: {unit: " ms", series: [["p50", "p50", "--part-delivery"], ["p95", "p95", "--part-upstream"], ["p99", "p99", "--part-token"]]},
  errors: {unit: "", series: [["upstream", "errors.upstream", "--bad-fill"], ["identity", "errors.identity", "--part-token"],
    ["gateway", "errors.gateway", "--part-upstream"], ["caller", "errors.caller", "--part-queue"]]},
  in_flight: {unit: "", series: [["Open calls", "in_flight", "--part-upstream"]], fill: true},
  places: {unit: "", series: [["Running", "running", "--part-upstream"], ["Waiting", "waiting", "--part-queue"]]},
};
const plots = new Map(); // by figure
const number = new Intl.NumberFormat(undefined, {maximumSignificantDigits: 3});

function colour(name) {
  return getComputedStyle(root).getPropertyValue(name).trim();
}

function values(document_, path) {
  return path.split(".").reduce((part, key) => part[key], document_);
}

/** Return times and values with a gap, null, where intervals without a sample were left out. */
function withGaps(series, kind) {
  const columns = CHARTS[kind].series.map(([, path]) => values(series, path));
  const times = [];
  const result = columns.map(() => []);
  series.times.forEach((time, index) => {
    if (index && time - series.times[index - 1] > 3.5 * series.step) {
      times.push(series.times[index - 1] + series.step);
      for (const column of result) column.push(null);
    }
    times.push(time);
    result.forEach((column, at) => column.push(columns[at][index]));
  });
  return [times, ...result];
}

function reading(figure, kind) {
  return plot => {
    const at = plot.cursor.idx;
    const shown = at == null ? [] : CHARTS[kind].series.map(([name], index) => {
      const value = plot.data[index + 1][at];
      return `${name} ${value == null ? "–" : number.format(value)}${CHARTS[kind].unit}`;
    });
    const text = at == null ? "" : `${localTime(new Date(plot.data[0][at] * 1000))}  ${shown.join("  ")}`;
    figure.querySelector("[data-reading]").textContent = text;
  };
}

function drawChart(figure, series) {
  const kind = figure.dataset.chart;
  const data = withGaps(series, kind);
  const holder = figure.querySelector(".plot");
  const width = figure.clientWidth - 32;
  const known = plots.get(figure);
  if (known) {
    known.setSize({width, height: 168});
    known.setData(data);
    return;
  }
  const line = colour("--line");
  const font = "11px system-ui, sans-serif";
  const axis = {stroke: colour("--muted"), font, grid: {stroke: line, width: 1}, ticks: {show: false}};
  plots.set(figure, new uPlot({
    width, height: 168, padding: [8, 4, 0, 0],
    legend: {show: false},
    cursor: {drag: {x: false, y: false}, points: {size: 6}},
    hooks: {setCursor: [reading(figure, kind)]},
    scales: {y: {range: (plot, low, high) => [0, Math.max(high * 1.1, kind === "latency" ? 0.1 : 1)]}},
    axes: [{...axis, space: 64, size: 22, values: [
      [3600, "{HH}:{mm}", null, null, null, null, null, null, 1], [60, "{HH}:{mm}", null, null, null, null, null, null, 1],
      [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]]},
      {...axis, size: 48, space: 28, values: (plot, ticks) => ticks.map(tick => number.format(tick))}],
    series: [{}, ...CHARTS[kind].series.map(([label, , name]) => ({
      label, stroke: colour(name), width: 1.5, points: {show: false}, spanGaps: kind === "latency",
      fill: CHARTS[kind].fill ? `color-mix(in srgb, ${colour(name)} 12%, transparent)` : undefined,
    }))],
  }, data, holder));
}

async function drawCharts() {
  const figures = [...document.querySelectorAll("figure[data-chart]")];
  for (const source of new Set(figures.map(figure => figure.dataset.source))) {
    try {
      const response = await fetch(source);
      if (!response.ok) continue;
      const series = await response.json();
      if (series.times.length) for (const figure of figures) if (figure.dataset.source === source) drawChart(figure, series);
    } catch { /* the next refresh tries again */ }
  }
}

function forgetCharts() {
  for (const [figure, plot] of plots) {
    plot.destroy();
    figure.querySelector(".plot").replaceChildren();
  }
  plots.clear();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forgetCharts(); drawCharts(); });
let resizing;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(drawCharts, 150); });
setInterval(() => { if (isAttended()) drawCharts(); }, REFRESH);

// Start ---------------------------------------------------------------------------------------------------------------

document.body.addEventListener("htmx:afterSwap", event => {
  showLocalTimes(document);
  if (event.detail.target.id === "main") { // the answer to an action
    plots.clear();
    drawCharts();
    document.querySelector(".outcome")?.scrollIntoView({block: "nearest"});
  }
});
document.body.addEventListener("htmx:responseError", () => announce("The gateway did not accept this; reload the page"));
document.body.addEventListener("htmx:sendError", () => announce("The gateway does not answer"));

root.classList.add("has-script");
const pages = document.querySelector(".nav"); // on a narrow screen it scrolls
const present = pages?.querySelector("[aria-current]");
if (present) pages.scrollLeft = present.offsetLeft - pages.offsetLeft - 16;
showLocalTimes(document);
for (const table of document.querySelectorAll("details.chart-table")) table.open = false;
for (const control of document.querySelectorAll("[data-live]")) watchCalls(control);
drawCharts();
