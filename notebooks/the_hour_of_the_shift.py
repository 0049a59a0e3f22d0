# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The hour of the shift
#
# In the middle of the sample workload the traffic turns from long prompts with short answers to
# short prompts with long answers, so the *ratio* of prefill to decode replicas must change, not
# only their number. We put the planner in charge of a simulated fleet for the hour around that
# shift and look at what it did.

# %%
from policies.config import PolicySettings
from policies.engine import Engine
from policies.profile import builtin
from policies.types import Role
from replay.physics import Physics
from replay.scene import Scene
from replay.simulator import Static, Step
from replay.sizing import initial_pair, peak_pair
from replay.traces.sample import sample_trace
from replay.traces.shape import cut, scale_rate

profile, settings = builtin("llama-3-70b-h100-fp8-tp2"), PolicySettings()
trace = cut(scale_rate(sample_trace(seed=0), 8), 3600, 7200)
startup_seconds = settings.roles.map(lambda role: role.startup_seconds)
scene = Scene(
    trace=trace,
    physics=Physics.from_profile(profile, startup_seconds=startup_seconds),
    truth=profile,
    profile=profile,
    settings=settings,
    initial=initial_pair(trace, profile, settings),
)

# %% [markdown]
# The same `Engine` that the service runs decides here, every 30 seconds of simulated time.

# %%
steps: list[Step] = []
ours = scene.play(Engine(profile, settings), tick_seconds=30, on_step=steps.append)
static = scene.play(Static(peak_pair(trace, profile, settings)), tick_seconds=60)

for name, score in (("planner", ours), ("static, sized for the peak", static)):
    print(
        f"{name}: {score.joint_attainment:.1%} of {score.requests:,} requests met both "
        f"objectives, {score.gpu_hours:.1f} GPU-hours"
    )

# %% [markdown]
# Above, what arrived; below, the replicas that were ready for it.

# %%
import matplotlib.pyplot as plt

minutes = [step.observation.observed_at_seconds / 60 for step in steps]
figure, (demand, pools) = plt.subplots(2, sharex=True, figsize=(9, 5))
demand.plot(minutes, [step.observation.requests_per_second for step in steps])
demand.set_ylabel("requests/s")
for role in Role:
    pools.step(minutes, [step.pools[role].ready_replicas for step in steps], label=role)
pools.set_ylabel("ready replicas")
pools.set_xlabel("minutes")
pools.legend()
plt.show()
