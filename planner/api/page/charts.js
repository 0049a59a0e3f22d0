// Six charts of the same ticks. A chart is data: its traces, its unit, and its objective line.

const percentile = (name) => (tick) => tick.observation[name].p95_seconds;
const milliseconds = (value) => (value === null ? null : value * 1000);
const ready = (role) => (tick) => tick.pools[role].ready_replicas ?? null;
const target = (role) => (tick) => tick.decision.target?.[role] ?? null;
const ratio = (tick) => {
  const size = tick.decision.target;
  return size && size.decode ? size.prefill / size.decode : null;
};

const objective = (y) => ({ name: "SLO", colour: "bad", dash: "dash", objective: true, y });
// An objective may grow with the prompt; the mean prompt stands for all.
const ttftObjective = (tick, slo) =>
  slo.ttft_seconds + slo.ttft_seconds_per_input_token * (tick.observation.input_tokens ?? 0);

const CHARTS = [
  {
    title: "Offered rate", unit: "requests/s",
    traces: [{ name: "arrivals", colour: "demand", fill: true, y: (tick) => tick.observation.requests_per_second }],
  },
  {
    title: "Replicas", unit: "replicas", whole: true,
    traces: [
      { name: "prefill target", colour: "prefill", steps: true, y: target("prefill") },
      { name: "prefill ready", colour: "prefill", steps: true, dash: "dot", y: ready("prefill") },
      { name: "decode target", colour: "decode", steps: true, y: target("decode") },
      { name: "decode ready", colour: "decode", steps: true, dash: "dot", y: ready("decode") },
    ],
  },
  {
    title: "TTFT p95", unit: "s",
    traces: [{ name: "TTFT p95", colour: "prefill", y: percentile("ttft") }, objective(ttftObjective)],
  },
  {
    title: "ITL p95", unit: "ms",
    traces: [{ name: "ITL p95", colour: "decode", y: (tick) => milliseconds(percentile("itl")(tick)) }, objective((_, slo) => slo.itl_seconds * 1000)],
  },
  {
    title: "Waiting", unit: "requests",
    traces: [
      { name: "prefill queue", colour: "prefill", y: (tick) => tick.observation.waiting_requests.prefill },
      { name: "decode queue", colour: "decode", y: (tick) => tick.observation.waiting_requests.decode },
      { name: "KV transfer", colour: "third", y: (tick) => tick.observation.kv_transfer_backlog_requests },
    ],
  },
  {
    title: "P:D ratio", unit: "prefill per decode",
    traces: [{ name: "P:D", colour: "third", steps: true, y: ratio }],
  },
];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function trace({ name, colour: tint, steps, dash, fill, y }, ticks, times, slo) {
  return {
    name, x: times, y: ticks.map((tick) => y(tick, slo)), mode: "lines", connectgaps: false,
    line: { color: colour(tint), width: dash ? 1.5 : 2, dash, shape: steps ? "hv" : "linear" },
    opacity: dash ? 0.75 : 1,
    fill: fill ? "tozeroy" : "none", fillcolor: fill ? `${colour(tint)}22` : undefined,
  };
}

function layout(chart, elapsed) {
  const axis = { gridcolor: colour("line"), zeroline: false, linecolor: colour("line"), automargin: true };
  return {
    height: undefined, autosize: true, showlegend: chart.traces.length > 1,
    margin: { l: 44, r: 12, t: 8, b: 28 },
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { family: "system-ui, sans-serif", size: 11, color: colour("quiet") },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 } },
    hovermode: "x unified", hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line") },
    xaxis: { ...axis, type: "date", tickformat: elapsed ? "%H:%M" : undefined, hoverformat: "%H:%M:%S", nticks: 6 },
    yaxis: { ...axis, rangemode: "tozero", title: { text: chart.unit, standoff: 6 }, nticks: 5, tickformat: chart.whole ? "d" : undefined },
    uirevision: "kept", // a zoom survives the next poll
  };
}

const hasData = (chart, ticks) => chart.traces.some(({ y, objective: line }) => !line && ticks.some((tick) => y(tick) !== null));

function frame(chart) {
  const figure = document.createElement("figure");
  figure.className = "chart";
  figure.innerHTML = `<figcaption><b>${chart.title}</b> <span>${chart.unit}</span></figcaption>
    <p class="quiet empty">no data yet</p><div class="plot" role="img" aria-label="${chart.title} over time, ${chart.unit}"></div>`;
  document.getElementById("charts").append(figure);
  return { chart, empty: figure.querySelector(".empty"), plot: figure.querySelector(".plot") };
}

const frames = CHARTS.map(frame);

/** Draw all charts: `elapsed` counts time from zero (a simulation), otherwise it is local time. */
export function draw(ticks, slo, elapsed) {
  const shift = elapsed ? 0 : new Date().getTimezoneOffset() * 60;
  const times = ticks.map((tick) => new Date((tick.decision.decided_at_seconds - shift) * 1000).toISOString());
  for (const { chart, empty, plot } of frames) {
    const known = hasData(chart, ticks);
    empty.hidden = known;
    plot.hidden = !known;
    if (!known) continue;
    const traces = chart.traces.map((each) => trace(each, ticks, times, slo));
    window.Plotly.react(plot, traces, layout(chart, elapsed), { displayModeBar: false, responsive: true });
  }
}
