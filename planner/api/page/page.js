// Polls the planner and hands what it says to the headline, the charts and the table.

import { draw } from "./charts.js";
import { show as showMargins } from "./margins.js";
import { show as showTable } from "./table.js";
import { suggest } from "./whatif.js";

const POLL_MILLISECONDS = 1000;
const KEPT_TICKS = 9000; // a day of ticks every ten seconds

const at = (id) => document.getElementById(id);
let ticks = [];
let state = null;
let shownAt = null;

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

/** Fetch the ticks that are new; start over when the planner did. */
async function refresh() {
  state = await ask("api/v1/state");
  const newest = state.last?.decision.decided_at_seconds ?? null;
  const seen = ticks.at(-1)?.decision.decided_at_seconds ?? null;
  if (newest === seen) return false;
  if (newest === null || (seen !== null && newest < seen)) ticks = [];
  const since = ticks.length ? `&since=${seen}` : "";
  const { decisions } = await ask(`api/v1/decisions?limit=${KEPT_TICKS}${since}`);
  ticks = ticks.concat(decisions).slice(-KEPT_TICKS);
  return true;
}

// Holds for want of knowledge: somebody should look.
const BLIND = ["metrics_unknown", "metrics_stale", "pool_unknown", "decision_failed"];
const two = (value) => String(Math.floor(value)).padStart(2, "0");

function clock(seconds) {
  if (state.mode !== "demo") return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
  return `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
}

function showPool(role, pool) {
  const size = at(role);
  if (!pool) return;
  size.textContent = pool.desired_replicas ?? "?";
  const note = document.createElement("small");
  if (pool.why) note.textContent = " unknown";
  else if (pool.ready_replicas < pool.desired_replicas) note.textContent = ` ${pool.ready_replicas} ready`;
  size.append(note);
}

const arrows = (sentence) => sentence.replaceAll("->", "→");

function showHeadline() {
  at("mode").hidden = false;
  at("mode").textContent = state.mode;
  at("mode").className = `badge ${state.mode}`;
  at("profile").textContent = state.profile;
  const advised = state.mode === "advise" && state.last && state.last.outcome !== "hold";
  at("explanation").textContent = (advised ? "advised, not done: " : "") + arrows(state.explanation);
  at("explanation").classList.toggle("failed", BLIND.includes(state.last?.decision.hold?.reason));
  const problems = state.last?.observation.problems.filter((one) => !state.explanation.includes(one)) ?? [];
  at("problems").hidden = problems.length === 0;
  at("problems").textContent = `metrics: ${problems.join("; ")}`;
  showPool("prefill", state.last?.pools.prefill);
  showPool("decode", state.last?.pools.decode);
  const router = state.last?.router;
  for (const part of document.querySelectorAll(".of-router")) part.hidden = !router;
  showPool("router", router?.pool);
  at("router-explanation").textContent = router ? arrows(router.explanation) : "";
  const { gpus_per_replica: told, gpu_budget: budget } = state.budget;
  const size = state.last?.decision.current;
  const gpus = (role) => size[role] * (state.last.pools[role].gpus_per_replica ?? told[role]);
  at("gpus").textContent = size ? gpus("prefill") + gpus("decode") : "–";
  const cap = state.last?.decision.cap;
  const most = cap?.gpus ?? budget;
  if (most !== null) {
    const note = document.createElement("small");
    note.textContent = ` of ${most}`;
    if (cap) note.title = cap.source;
    at("gpus").append(note);
  }
}

const percent = (fraction) => `${(fraction * 100).toFixed(1)} %`;
const SUMMARY = [
  ["requests", "Requests", (n) => n.toLocaleString("en")],
  ["joint_attainment", "SLO attainment", percent],
  ["ttft_attainment", "TTFT attainment", percent],
  ["itl_attainment", "ITL attainment", percent],
  ["gpu_hours", "GPU-hours", (hours) => hours.toFixed(1)],
  ["static_peak_gpu_hours", "Static peak, GPU-hours", (hours) => hours.toFixed(1)],
];

function showSummary() {
  const summary = state.summary ?? {};
  const entries = SUMMARY.filter(([name]) => typeof summary[name] === "number").map(
    ([name, title, write]) => [title, write(summary[name])],
  );
  if (summary.gpu_hours > 0 && summary.static_peak_gpu_hours > 0) {
    entries.push(["Saved", percent(1 - summary.gpu_hours / summary.static_peak_gpu_hours)]);
  }
  at("summary").hidden = entries.length === 0;
  at("summary").replaceChildren(...entries.map(([title, value]) => {
    const entry = document.createElement("div");
    entry.append(document.createElement("dt"), document.createElement("dd"));
    entry.firstChild.textContent = title;
    entry.lastChild.textContent = value;
    return entry;
  }));
}

function showPulse(error) {
  const pulse = at("pulse");
  pulse.className = error ? "quiet lost" : "quiet live";
  if (error) {
    const gone = state?.mode === "demo" ? "the demo has ended, or is not reachable" : "planner not reachable";
    pulse.textContent = shownAt ? `${gone}; shown as of ${shownAt}` : gone;
  } else {
    shownAt = new Date().toLocaleTimeString([], { hour12: false });
    const what = state.mode === "demo" ? "simulated time" : "last tick";
    pulse.textContent = state.last ? `${what} ${clock(state.last.decision.decided_at_seconds)}` : "waiting for the first tick";
  }
}

function redraw() {
  draw(ticks, state.slo, state.mode === "demo");
  showTable(ticks, clock);
}

async function poll() {
  if (document.hidden && shownAt) return setTimeout(poll, POLL_MILLISECONDS);
  const started = performance.now();
  try {
    const changed = await refresh();
    showHeadline();
    showSummary();
    showMargins(state.last?.decision.prospect, state.slo);
    if (state.last) suggest(state.last.observation);
    if (changed) redraw();
    showPulse(null);
  } catch (error) {
    showPulse(error);
  }
  // A long history takes long to draw; leave the browser twice as much time for its user.
  return setTimeout(poll, Math.max(POLL_MILLISECONDS, 2 * (performance.now() - started)));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state && redraw());
poll();
