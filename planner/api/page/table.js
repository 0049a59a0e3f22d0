// The recent decisions, newest first; a run of holds for one reason, or of one advice, is one row.

const ROWS = 60;
const WORDS = { scale_out: "scale out", scale_in: "scale in", rebalance: "rebalance", hold: "hold" };

/** Join what follows each other and says the same: holds, and advice that is not taken yet. */
export function collapse(ticks) {
  const rows = [];
  for (const tick of ticks) {
    const last = rows.at(-1);
    if (last && !last.tick.applied && !tick.applied && key(last.tick) === key(tick)) {
      last.count += 1;
      last.tick = tick;
    } else {
      rows.push({ tick, count: 1, since: tick.decision.decided_at_seconds });
    }
  }
  return rows;
}

const key = ({ outcome, decision: { hold, current, target } }) => JSON.stringify([outcome, hold?.reason, current, target]);
const size = (pair) => (pair ? `${pair.prefill}+${pair.decode}` : "unknown");

function cell(text, className = "") {
  const td = document.createElement("td");
  td.textContent = text;
  td.className = className;
  return td;
}

function row({ tick, count, since }, clock) {
  const tr = document.createElement("tr");
  const { current, target, decided_at_seconds: at } = tick.decision;
  const held = tick.outcome === "hold";
  const did = `${held || tick.applied ? "" : "advised: "}${WORDS[tick.outcome]}`;
  const unwritten = [...tick.failures, ...(tick.router?.failure ? [{ role: "router", why: tick.router.failure }] : [])];
  const failed = unwritten.map(({ role, why }) => `${role} not written: ${why}`);
  tr.className = tick.outcome;
  tr.append(
    cell(count > 1 ? `${clock(since)}–${clock(at)}` : clock(at)),
    cell(did + (count > 1 ? ` ×${count}` : ""), `tag ${tick.outcome}`),
    cell(held ? size(current) : `${size(current)} → ${size(target)}`),
    cell([tick.why, ...failed].join("; "), failed.length ? "failed" : ""),
  );
  return tr;
}

/** Show the newest decisions; `clock` writes a time of day or of a simulation. */
export function show(ticks, clock) {
  const rows = collapse(ticks).slice(-ROWS).reverse();
  if (rows.length) {
    document.getElementById("decisions").replaceChildren(...rows.map((each) => row(each, clock)));
  }
}
