// What the target is expected to do, and what one replica more or fewer of each role would change.

const ROLES = ["prefill", "decode"];
const WORDS = { ttft: "bound by TTFT", itl: "bound by ITL", kv_memory: "bound by KV memory", kv_link: "bound by the KV link", max_sequences: "bound by the engine's batch limit", minimum: "at its minimum", ratio: "bound by the ratio of the roles" };
const body = document.querySelector("#margins tbody");

const size = ({ prefill, decode }) => `${prefill}+${decode}`;
const percent = (fraction) => (fraction >= 0.99995 ? "100 %" : `${(fraction * 100).toFixed(fraction < 0.9995 ? 1 : 2)} %`);

function seconds(value) {
  if (value === null) return "unbounded";
  return value < 1 ? `${Number((value * 1000).toPrecision(3))} ms` : `${Number(value.toPrecision(3))} s`;
}

function row(name, gpus, expected, note = "") {
  const tr = document.createElement("tr");
  const falls = expected.carried_fraction < 1 ? `falls behind, ${percent(expected.carried_fraction)} served` : "";
  const texts = [name, gpus, seconds(expected.ttft_seconds), seconds(expected.itl_seconds), percent(expected.joint_attainment), [falls, note].filter(Boolean).join("; ")];
  tr.append(...texts.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
  return tr;
}

function besides(role, { replicas, margins, sufficient }) {
  const { gpus, more, fewer, binding } = margins[role];
  const beside = (step) => `${size({ ...replicas, [role]: replicas[role] + step })}: ${role} ${step > 0 ? "+1" : "−1"}`;
  const rows = [row(beside(1), `+${gpus}`, more)];
  const note = WORDS[binding] ?? (sufficient ? "would do" : "");
  if (fewer) rows.push(row(beside(-1), `−${gpus}`, fewer, note));
  return rows;
}

/** Show the prospect of the newest decision, at the objective's percentile; hide what is unknown. */
export function show(prospect, { attainment_fraction: share }) {
  document.getElementById("margins").hidden = !prospect;
  if (!prospect) return;
  for (const cell of document.querySelectorAll("#margins .percentile")) cell.textContent = ` p${Number((share * 100).toPrecision(6))}`;
  const own = size(prospect.replicas);
  const { prefill, decode } = prospect.needed_replicas;
  const called = prospect.efficient_ratio === null ? "" : `the demand calls for ${prefill.toFixed(1)}+${decode.toFixed(1)}`;
  body.replaceChildren(
    row(`${own} at the demand of now`, "", prospect.now),
    row(`${own} at the centre of the forecast`, "", prospect.likely),
    row(`${own} as planned for`, "", prospect.planned, called),
    ...ROLES.flatMap((role) => besides(role, prospect)),
  );
}
