// Nine charts of the same ticks. A chart is data: its traces, its unit, how its newest value reads.

const milliseconds = (seconds) => (seconds === null ? null : seconds * 1000);
const p95 = (name) => (tick) => tick.observation[name].p95_seconds;
const waiting = (role) => (tick) => tick.observation.waiting_requests[role];
const ready = (role) => (tick) => tick.pools[role].ready_replicas ?? null;
const target = (role) => (tick) => tick.decision.target?.[role] ?? null;
const ratio = ({ decision: { target: size } }) => (size?.decode ? size.prefill / size.decode : null);
const efficient = ({ decision: { prospect } }) => prospect?.efficient_ratio ?? null;
const written = (digits, unit) => (value) => `${value.toFixed(digits)} ${unit}`;
const objective = (y) => ({ name: "SLO", colour: "bad", dash: "dash", limit: true, y });

// What was forecast is drawn at the time it was forecast for, so it meets there what then came, and
// reaches beyond now.
const forecastOf = (load) => (tick) => tick.decision.forecasts.find((one) => one.load === load) ?? null;
const part = (load, name) => (tick) => forecastOf(load)(tick)?.[name] ?? null;
const fan = (load, tint) => [
  { name: "seen", colour: tint, y: part(load, "seen") },
  { name: "expected", colour: "quiet", dash: "dot", ahead: part(load, "lead_seconds"), y: part(load, "centre") },
  { name: "sized for", colour: tint, dash: "dash", fill: "tonexty", ahead: part(load, "lead_seconds"), y: part(load, "upper") },
];

/** The mode of a forecast and its models in words: "ensemble: ets 60 %, sarimax 40 %". */
function inWords(load) {
  return (tick) => {
    const told = forecastOf(load)(tick);
    if (!told) return "no forecast";
    const models = Object.entries(told.weights).sort(([, a], [, b]) => b - a).map(
      ([name, share]) => name.replaceAll("_", " ") + (share < 0.995 ? ` ${(share * 100).toFixed(0)} %` : ""),
    );
    return [told.mode.replaceAll("_", " "), models.join(", ")].filter(Boolean).join(": ");
  };
}

// An objective may grow with the prompt; the mean prompt stands for all.
const ttftObjective = (tick, slo) =>
  slo.ttft_seconds + slo.ttft_seconds_per_input_token * (tick.observation.input_tokens ?? 0);

const CHARTS = [
  {
    title: "Offered rate", unit: "requests/s", newest: written(1, "/s"),
    traces: [{ name: "arrivals", colour: "demand", fill: "tozeroy", y: (tick) => tick.observation.requests_per_second }],
  },
  {
    title: "Replicas", unit: "replicas", whole: true,
    keys: [{ name: "prefill", colour: "prefill" }, { name: "decode", colour: "decode" }, { name: "ready", colour: "quiet", dash: "dot" }],
    traces: [
      { name: "prefill target", colour: "prefill", steps: true, y: target("prefill") },
      { name: "decode target", colour: "decode", steps: true, y: target("decode") },
      { name: "prefill ready", colour: "prefill", steps: true, dash: "dot", y: ready("prefill") },
      { name: "decode ready", colour: "decode", steps: true, dash: "dot", y: ready("decode") },
    ],
  },
  {
    title: "TTFT p95", unit: "seconds", newest: written(2, "s"),
    traces: [{ name: "TTFT p95", colour: "prefill", y: p95("ttft") }, objective(ttftObjective)],
  },
  {
    title: "ITL p95", unit: "milliseconds", newest: written(1, "ms"),
    traces: [
      { name: "ITL p95", colour: "decode", y: (tick) => milliseconds(p95("itl")(tick)) },
      objective((_, slo) => milliseconds(slo.itl_seconds)),
    ],
  },
  {
    title: "Waiting", unit: "requests",
    traces: [
      { name: "prefill queue", colour: "prefill", y: waiting("prefill") },
      { name: "decode queue", colour: "decode", y: waiting("decode") },
      { name: "KV transfer", colour: "third", y: (tick) => tick.observation.kv_transfer_backlog_requests },
    ],
  },
  {
    title: "P:D ratio", unit: "prefill per decode", newest: written(2, ": 1"),
    keys: [{ name: "target", colour: "third" }, { name: "efficient", colour: "quiet", dash: "dot" }],
    traces: [
      { name: "P:D", colour: "third", steps: true, y: ratio },
      { name: "efficient", colour: "quiet", dash: "dot", y: efficient },
    ],
  },
  {
    title: "Prefill load", unit: "busy replicas", words: inWords("prefill_erlangs"),
    traces: fan("prefill_erlangs", "prefill"),
  },
  {
    title: "Decode load", unit: "output tokens/s", words: inWords("decode_tokens_per_second"),
    traces: fan("decode_tokens_per_second", "decode"),
  },
  {
    title: "KV reads", unit: "context tokens/s", words: inWords("kv_token_steps_per_second"),
    traces: fan("kv_token_steps_per_second", "third"),
  },
];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function key({ name, colour: tint, dash }) {
  const chip = element("span", `key ${dash ?? ""}`, name);
  chip.style.setProperty("--tint", `var(--${tint})`);
  return chip;
}

/** A figure with its caption, which is the legend too, and a place for the plot. */
function frame(chart) {
  const figure = element("figure", "chart");
  const caption = document.createElement("figcaption");
  const newest = element("output", "newest");
  const empty = element("p", "empty quiet", "no data yet");
  const plot = element("div", "plot");
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${chart.title} over time, in ${chart.unit}`);
  caption.append(element("b", "", chart.title));
  const named = chart.keys ?? chart.traces.filter(({ name }) => name !== chart.title);
  if (chart.traces.length > 1) caption.append(...named.map(key));
  caption.append(newest);
  figure.append(caption, empty, plot);
  document.getElementById("charts").append(figure);
  return { chart, newest, empty, plot };
}

const frames = CHARTS.map(frame);

function trace({ name, colour: tint, steps, dash, fill, ahead, y }, ticks, time, slo) {
  return {
    name, x: ticks.map((tick) => time(tick, ahead?.(tick) ?? 0)), y: ticks.map((tick) => y(tick, slo)), mode: "lines", connectgaps: false,
    line: { color: colour(tint), width: dash ? 1.4 : 2, dash, shape: steps ? "hv" : "linear" },
    fill: fill ?? "none", fillcolor: fill ? `${colour(tint)}22` : undefined,
  };
}

// A simulation counts its own hours from zero; beyond a day it counts days too.
const elapsedFormat = (ticks) => (ticks.at(-1).decision.decided_at_seconds > 86400 ? "day %-d %H:%M" : "%H:%M");

/** From tick to tick of whole numbers, so that no two of them read the same: 1, 2, 5, 10, ... */
function wholeStep(traces) {
  const most = traces.flatMap(({ y }) => y).reduce((highest, value) => Math.max(highest, value), 1);
  const tens = 10 ** Math.max(0, Math.floor(Math.log10(most / 5)));
  return [1, 2, 5, 10].map((step) => step * tens).find((step) => most / step <= 5);
}

function layout(chart, timeFormat, traces) {
  const axis = { gridcolor: colour("line"), linecolor: colour("line"), zeroline: false, automargin: true };
  return {
    autosize: true, showlegend: false, margin: { l: 48, r: 10, t: 6, b: 26 },
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { family: "system-ui, sans-serif", size: 11, color: colour("quiet") },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("text") } },
    xaxis: { ...axis, type: "date", tickformat: timeFormat, hoverformat: "%H:%M:%S", nticks: 6 },
    yaxis: {
      ...axis, title: { text: chart.unit, standoff: 8 }, rangemode: "tozero", nticks: 5,
      ...(chart.whole ? { tickformat: "d", dtick: wholeStep(traces) } : {}), fixedrange: true,
    },
    uirevision: "kept", // a zoom survives the next poll
  };
}

/** Zooming one chart zooms all: they share their time. */
function zoomAll(event) {
  const change = "xaxis.autorange" in event
    ? { "xaxis.autorange": true }
    : { "xaxis.range[0]": event["xaxis.range[0]"], "xaxis.range[1]": event["xaxis.range[1]"] };
  if (!change["xaxis.autorange"] && !change["xaxis.range[0]"]) return;
  for (const { plot } of frames) {
    if (plot !== this && plot.data) window.Plotly.update(plot, {}, change);
  }
}

function showNewest({ chart, newest }, ticks) {
  if (chart.words) newest.textContent = chart.words(ticks.at(-1));
  const value = chart.traces[0].y(ticks.at(-1));
  if (chart.newest) newest.textContent = value === null ? "unknown" : chart.newest(value);
}

/** Draw all charts: `elapsed` counts time from zero (a simulation), otherwise it is local time. */
export function draw(ticks, slo, elapsed) {
  const shift = elapsed ? 0 : new Date().getTimezoneOffset() * 60;
  const time = (tick, ahead) => new Date((tick.decision.decided_at_seconds + ahead - shift) * 1000).toISOString();
  for (const each of frames) {
    const { chart, empty, plot } = each;
    const known = chart.traces.some(({ y, limit }) => !limit && ticks.some((tick) => y(tick, slo) !== null));
    empty.hidden = known;
    plot.hidden = !known;
    if (!known) continue;
    const fresh = !plot.data;
    const traces = chart.traces.map((line) => trace(line, ticks, time, slo));
    const format = elapsed ? elapsedFormat(ticks) : undefined;
    window.Plotly.react(plot, traces, layout(chart, format, traces), { displayModeBar: false, responsive: true });
    if (fresh) plot.on("plotly_relayout", zoomAll.bind(plot));
    showNewest(each, ticks);
  }
}
