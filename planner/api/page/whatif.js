// Ask for a size: the form's numbers go to the same endpoint that scripts use.

const form = document.getElementById("whatif");
const output = form.querySelector("output");

async function ask(event) {
  event.preventDefault();
  const filled = [...new FormData(form)].filter(([, text]) => text !== "");
  const question = Object.fromEntries(filled.map(([name, text]) => [name, Number(text)]));
  try {
    const answer = await fetch("api/v1/recommend", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(question),
      signal: AbortSignal.timeout(5000),
    });
    const said = await answer.json();
    output.className = answer.ok && said.feasible ? "" : "failed";
    output.textContent = answer.ok ? said.explanation : said.detail;
  } catch {
    output.className = "failed";
    output.textContent = "planner not reachable";
  }
}

form.addEventListener("submit", ask);

/** Start from the load seen now, until somebody typed a number of their own. */
export function suggest(observation) {
  const seen = {
    requests_per_second: observation.requests_per_second,
    input_tokens: observation.input_tokens,
    output_tokens: observation.output_tokens_mean,
  };
  for (const [name, value] of Object.entries(seen)) {
    const field = form.elements[name];
    if (field.value === "" && value !== null) field.value = value >= 100 ? Math.round(value) : value.toFixed(1);
  }
}
