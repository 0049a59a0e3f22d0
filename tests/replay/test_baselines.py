"""What each rule asks for, in one situation at a time."""

from dataclasses import replace
from itertools import count

import pytest

from policies.config import PolicySettings, RoleSettings
from policies.demand import Shape
from policies.lengths import Lengths
from policies.memory import Memory
from policies.profile import builtin
from policies.types import HoldReason, Latency, Observation, PerRole, PoolState, Unavailable
from replay.baselines.concurrency_panic import ConcurrencyKnobs, Panicking
from replay.baselines.fixed_ratio import FixedRatio, RatioKnobs
from replay.baselines.hpa import Hpa, HpaKnobs
from replay.baselines.independent_load import IndependentLoad, LoadKnobs
from replay.baselines.independent_throughput import (
    IndependentThroughput,
    ThroughputKnobs,
    prompts_per_second,
)
from replay.baselines.queue_proportional import QueueKnobs, QueueProportional
from replay.baselines.ratio_range import RangeKnobs, RatioRange, into_range
from replay.baselines.registry import BOUND, CONTENDERS
from replay.baselines.replica import Replica
from replay.baselines.rule import Knobs, Ruled, within_limits
from replay.baselines.token_velocity import TokenVelocity
from replay.physics import Physics
from replay.requests import Requests
from replay.scene import Scene
from replay.traces import of_requests

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
SETTINGS = PolicySettings()
SHAPE = Shape(
    prompt_tokens=Lengths((1000.0,), (1.0,)),
    prefix_hit_fraction=0.0,
    output_tokens=Lengths((200.0,), (1.0,)),
)
REPLICA = Replica.under(PROFILE, SETTINGS.slo, SHAPE)


@pytest.fixture
def scene():
    steady = Requests.of([i / 100 for i in range(6000)], [1000.0] * 6000, [200.0] * 6000)
    return Scene(
        trace=of_requests("steady", steady),
        physics=Physics.from_profile(PROFILE, startup_seconds=PerRole(60.0, 60.0)),
        truth=PROFILE,
        profile=PROFILE,
        settings=SETTINGS,
        initial=PerRole(2, 2),
    )


def seen(rate, **changes):
    known = Observation(
        observed_at_seconds=100.0,
        window_seconds=60.0,
        requests_per_second=rate,
        input_tokens=SHAPE.prompt_tokens,
        output_tokens_mean=SHAPE.output_tokens_mean,
        waiting_requests=PerRole(0.0, 0.0),
        running_requests=PerRole(1.0, 1.0),
        kv_usage_fraction=0.1,
    )
    return replace(known, **changes)


def pools(prefill, decode, starting=0):
    return PerRole(prefill, decode).map(
        lambda size: PoolState(
            desired_replicas=size,
            ready_replicas=size - starting,
            starting_ages_seconds=(10.0,) * starting,
        )
    )


def rate_for(prefill_erlangs):
    return prefill_erlangs / REPLICA.prompt_seconds


class TestHpa:
    @pytest.mark.parametrize(
        ("erlangs", "waiting", "expected"),
        [
            pytest.param(2.8, 0.0, 4, id="on-target"),
            pytest.param(3.5, 0.0, 5, id="busier"),
            pytest.param(3.5, 1e6, 6, id="a-gauge-cannot-show-more-than-all-busy"),
        ],
    )
    def test_prefill_follows_its_gauge(self, scene, erlangs, waiting, expected):
        observation = seen(rate_for(erlangs), waiting_requests=PerRole(waiting, 0.0))
        sizes = Hpa(scene, HpaKnobs()).size(observation, pools(4, 4), 100.0)
        assert sizes.prefill == expected

    def test_decode_follows_the_batch_that_itl_allows(self, scene):
        full = float(4 * REPLICA.batch_within_slo)
        observation = seen(rate_for(2.8), running_requests=PerRole(1.0, full))
        assert Hpa(scene, HpaKnobs()).size(observation, pools(4, 4), 100.0).decode == 6

    def test_headroom_lowers_the_target(self, scene):
        sizes = Hpa(scene, HpaKnobs(headroom=2.0)).size(seen(rate_for(2.8)), pools(4, 4), 100.0)
        assert sizes.prefill == 8

    def test_an_unknown_gauge_holds(self, scene):
        observation = seen(None)
        assert Hpa(scene, HpaKnobs()).size(observation, pools(4, 4), 100.0) == PerRole(None, None)


class TestQueueProportional:
    @pytest.mark.parametrize(
        ("waiting", "expected"),
        [
            pytest.param(10.0, 2, id="on-target"),
            pytest.param(11.0, 2, id="within-tolerance"),
            pytest.param(19.0, 4, id="in-proportion"),
            pytest.param(0.0, 2, id="in-only-after-the-window"),
        ],
    )
    def test_queue(self, scene, waiting, expected):
        rule = QueueProportional(scene, QueueKnobs())
        observation = seen(50.0, waiting_requests=PerRole(waiting, None))
        assert rule.size(observation, pools(2, 2), 100.0) == PerRole(expected, None)


class TestConcurrencyPanic:
    """Target 10; a tick is 2 s, the windows are 60 s and 6 s."""

    def play(self, concurrencies, ready):
        pod = Panicking(ConcurrencyKnobs())
        ticks = zip(count(0, 2), concurrencies, strict=False)
        sizes = []
        for now, concurrency in ticks:
            pool = PoolState(desired_replicas=ready, ready_replicas=ready)
            sizes.append(pod.size(pool, concurrency, 10.0, float(now)))
        return sizes

    def test_steady_load_gets_what_it_needs(self):
        assert self.play([35.0] * 60, ready=4)[-1] == 4

    def test_a_doubling_within_six_seconds_panics(self):
        sizes = self.play([35.0] * 60 + [100.0] * 3, ready=4)
        assert sizes[-1] == 10

    def test_panic_never_shrinks_until_a_calm_minute_has_passed(self):
        sizes = self.play([35.0] * 60 + [100.0] * 3 + [10.0] * 60, ready=4)
        after = sizes[63:]
        assert min(after[:28]) == 10
        assert after[-1] == 2  # halved at most, of 4 ready

    def test_a_restart_does_not_scale_in(self):
        assert self.play([1.0], ready=8) == [8]
        assert self.play([1.0] * 40, ready=8)[-1] == 4


class TestIndependentThroughput:
    def size(self, scene, rate, found, rule=None):
        rule = rule or IndependentThroughput(scene, ThroughputKnobs())
        return rule.size(seen(rate), found, 180.0)

    def test_sizes_to_utilisation_one(self, scene):
        each = prompts_per_second(REPLICA, 8192)
        assert self.size(scene, 2.99 * each, pools(3, 3)).prefill == 3
        assert self.size(scene, 3.01 * each, pools(3, 3)).prefill == 4

    def test_moves_by_at_most_eight(self, scene):
        assert self.size(scene, 1e6, pools(2, 20)) == PerRole(10, 28)

    def test_while_anything_starts_nothing_grows(self, scene):
        assert self.size(scene, 1e6, pools(2, 2, starting=1)) == PerRole(2, 2)

    def test_while_anything_starts_a_reduction_must_be_wanted_twice(self, scene):
        rule = IndependentThroughput(scene, ThroughputKnobs())
        assert self.size(scene, 1.0, pools(6, 6, starting=1), rule) == PerRole(6, 6)
        assert self.size(scene, 1.0, pools(6, 6, starting=1), rule) == PerRole(1, 1)

    def test_a_batch_shares_the_base_time(self):
        law = PROFILE.prefill
        each = REPLICA.prompt_seconds - law.base_seconds
        assert prompts_per_second(REPLICA, 8192) == pytest.approx(8 / (law.base_seconds + 8 * each))


class TestIndependentLoad:
    @pytest.mark.parametrize(
        ("queue_seconds", "expected"),
        [
            pytest.param(2.5, 5, id="over-the-objective-adds-one"),
            pytest.param(1.7, 4, id="between-holds"),
            pytest.param(0.5, 3, id="well-below-removes-one"),
        ],
    )
    def test_prefill(self, scene, queue_seconds, expected):
        queued = queue_seconds * 4 / REPLICA.prompt_seconds
        observation = seen(50.0, waiting_requests=PerRole(queued, 0.0))
        sizes = IndependentLoad(scene, LoadKnobs()).size(observation, pools(4, 4), 5.0)
        assert sizes.prefill == expected

    @pytest.mark.parametrize(
        ("share", "expected"),
        [
            pytest.param(1.1, 5, id="over-the-objective-adds-one"),
            pytest.param(0.8, 4, id="between-holds"),
            pytest.param(0.3, 3, id="well-below-removes-one"),
        ],
    )
    def test_decode(self, scene, share, expected):
        running = share * 4 * REPLICA.batch_within_slo
        observation = seen(50.0, running_requests=PerRole(1.0, running))
        sizes = IndependentLoad(scene, LoadKnobs()).size(observation, pools(4, 4), 5.0)
        assert sizes.decode == expected

    def test_one_role_starting_freezes_both(self, scene):
        observation = seen(50.0, waiting_requests=PerRole(1e6, 1e6))
        rule = IndependentLoad(scene, LoadKnobs())
        assert rule.size(observation, pools(4, 4, starting=1), 5.0) == PerRole(4, 4)


class TestFixedRatio:
    @pytest.mark.parametrize(
        ("replicas_of_load", "itl_seconds", "expected"),
        [
            pytest.param(10.9, 0.02, PerRole(20, 10), id="inside-the-band"),
            pytest.param(11.5, 0.02, PerRole(24, 12), id="outside-the-band"),
            pytest.param(10.0, 0.07, PerRole(24, 12), id="latency-emergency"),
            pytest.param(4.0, 0.02, PerRole(8, 4), id="in"),
        ],
    )
    def test_size(self, scene, replicas_of_load, itl_seconds, expected):
        rule = FixedRatio(scene, RatioKnobs(prefill_per_decode=2.0))
        each = REPLICA.tokens_per_second_within_slo * 0.82
        rate = replicas_of_load * each / SHAPE.output_tokens_mean
        observation = seen(rate, itl=Latency(mean_seconds=itl_seconds))
        assert rule.size(observation, pools(20, 10), 100.0) == expected

    def test_the_ratio_is_the_peaks_own_by_default(self, scene):
        sizes = FixedRatio(scene, RatioKnobs()).size(seen(100.0), pools(2, 2), 100.0)
        assert sizes.prefill is not None


def test_token_velocity_divides_tokens_by_the_slower_of_prefill_and_network(scene):
    sizes = TokenVelocity(scene, Knobs()).size(seen(rate_for(3.5)), pools(1, 1), 100.0)
    assert sizes.prefill == 4
    slow = PROFILE.transfer.model_copy(update={"bytes_per_second": 1e8})
    narrow = replace(scene, profile=PROFILE.model_copy(update={"transfer": slow}))
    sizes = TokenVelocity(narrow, Knobs()).size(seen(10.0), pools(1, 1), 100.0)
    assert sizes.prefill == 7  # 10 * 1000 tokens/s * 65,536 B over 0.1 GB/s


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param(PerRole(4, 4), PerRole(4, 4), id="inside"),
        pytest.param(PerRole(1, 4), PerRole(2, 4), id="raises-prefill"),
        pytest.param(PerRole(9, 2), PerRole(9, 5), id="raises-decode"),
        pytest.param(PerRole(1, 3), PerRole(2, 3), id="integers-round-towards-more"),
        pytest.param(PerRole(4, 40), PerRole(10, 20), id="at-its-maximum-the-other-is-lowered"),
    ],
)
def test_ratio_range_projects(sizes, expected):
    assert into_range(sizes, 0.5, 2.0, PerRole(10, 64)) == expected


def test_ratio_range_doubles_at_once_in_panic(scene):
    rule = RatioRange(scene, RangeKnobs(target_fraction=0.3))
    sizes = rule.size(seen(rate_for(8.0)), pools(8, 8), 100.0)
    assert sizes.prefill == 27  # 8 * (1 / 0.3), beyond the 16 of 100% per period


@pytest.mark.parametrize(
    ("pair", "budget", "expected"),
    [
        pytest.param(PerRole(6, 12), 12, PerRole(4, 8), id="in-proportion"),
        pytest.param(PerRole(5, 9), 8, PerRole(2, 6), id="rest-to-decode"),
        pytest.param(PerRole(5, 9), 14, PerRole(5, 9), id="within"),
        pytest.param(PerRole(99, 0), None, PerRole(64, 1), id="bounds"),
        pytest.param(PerRole(1, 60), 8, PerRole(1, 7), id="never-below-the-minimum"),
    ],
)
def test_limits(pair, budget, expected):
    assert within_limits(pair, PROFILE, SETTINGS.model_copy(update={"gpu_budget": budget})) == (
        expected
    )


class Asks:
    def __init__(self, sizes):
        self.sizes = sizes

    def size(self, seen, pools, now_seconds):
        return self.sizes


def ruled(sizes, settings=SETTINGS):
    return Ruled(Asks(sizes), PROFILE, settings)


def test_a_rule_that_does_not_know_holds_its_role():
    decision, _ = ruled(PerRole(None, 5)).decide(seen(1.0), pools(3, 3), Memory(), 0.0)
    assert decision.target == PerRole(3, 5)


def test_a_decision_for_the_same_size_changes_nothing():
    decision, _ = ruled(PerRole(3, 3)).decide(seen(1.0), pools(3, 3), Memory(), 0.0)
    assert not decision.changes


def test_a_pool_that_cannot_be_read_is_a_hold():
    found = PerRole(Unavailable("gone"), pools(3, 3).decode)
    decision, _ = ruled(PerRole(9, 9)).decide(seen(1.0), found, Memory(), 0.0)
    assert decision.hold is not None
    assert decision.hold.reason is HoldReason.POOL_UNKNOWN


def test_lengths_last_seen_stand_in_for_a_silent_minute(scene):
    policy = Ruled(TokenVelocity(scene, Knobs()), PROFILE, SETTINGS)
    _, memory = policy.decide(seen(rate_for(3.5)), pools(4, 4), Memory(), 0.0)
    silent = seen(0.0, input_tokens=None, output_tokens_mean=None)
    decision, _ = policy.decide(silent, pools(4, 4), memory, 10.0)
    assert decision.target == PerRole(1, 1)


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != BOUND])
@pytest.mark.parametrize(
    "observation",
    [
        pytest.param(seen(100.0), id="busy"),
        pytest.param(seen(0.0, input_tokens=None, output_tokens_mean=None), id="silent"),
        pytest.param(
            Observation(observed_at_seconds=100.0, window_seconds=60.0), id="nothing-known"
        ),
    ],
)
def test_every_contender_keeps_the_limits(scene, name, observation):
    roles = {"min_replicas": 2, "max_replicas": 5}
    settings = SETTINGS.model_copy(
        update={"prefill": RoleSettings(**roles), "decode": RoleSettings(**roles)}
    )
    contender = CONTENDERS[name]
    policy = contender.make(replace(scene, settings=settings), contender.knobs())
    decision, _ = policy.decide(observation, pools(3, 3), Memory(), 100.0)
    assert decision.target is not None
    assert all(2 <= size <= 5 for size in decision.target)
