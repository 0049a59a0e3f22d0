import pytest

from policies.demand import Shape, prefill_seconds, shape_of
from policies.lengths import Lengths
from policies.profile import builtin, builtin_names
from policies.types import Observation

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")


@pytest.mark.parametrize(
    ("tokens", "published_tokens_per_second"),
    [
        pytest.param(1000, 51_000, id="1k"),
        pytest.param(4000, 66_000, id="4k"),
        pytest.param(16_000, 54_000, id="16k"),
    ],
)
def test_the_built_in_profile_gives_the_published_prefill_throughput(
    tokens, published_tokens_per_second
):
    rate = tokens / prefill_seconds(PROFILE.prefill, tokens)
    assert rate == pytest.approx(published_tokens_per_second, rel=0.03)


def test_a_cached_prefix_leaves_only_the_new_tokens_and_their_attention_over_it():
    law = PROFILE.prefill
    half = prefill_seconds(law, 8000, prefix_hit_fraction=0.5)
    expected = (
        law.base_seconds
        + law.seconds_per_token * 4000
        + law.seconds_per_squared_token * (4000**2 + 2 * 4000 * 4000)
    )
    assert half == pytest.approx(expected)


def test_prefill_work_is_the_mean_of_the_law_and_not_the_law_of_the_mean():
    shape = Shape(
        prompt_tokens=Lengths((100.0, 30_000.0), (0.9, 0.1)),
        prefix_hit_fraction=0.0,
        output_tokens=Lengths((1.0,), (1.0,)),
    )
    work = shape.load_of(PROFILE, 1.0).prefill_erlangs
    assert work > 1.2 * prefill_seconds(PROFILE.prefill, shape.prompt_tokens.mean)


@pytest.mark.parametrize("hit", [0.0, 0.3, 1.0])
def test_mean_and_square_of_prefill_times_are_those_of_the_prompts_one_by_one(hit):
    law, prompts = PROFILE.prefill, Lengths.lognormal(3000.0, 1.5)
    shape = Shape(
        prompt_tokens=prompts, prefix_hit_fraction=hit, output_tokens=Lengths((1.0,), (1.0,))
    )
    seconds = [law.seconds(n * (1 - hit), n * hit) for n in prompts.tokens]
    weighed = list(zip(prompts.weights, seconds, strict=True))
    assert shape.prefill_seconds_mean(law) == pytest.approx(sum(w * s for w, s in weighed))
    assert shape.prefill_seconds_square(law) == pytest.approx(sum(w * s * s for w, s in weighed))


def test_what_is_not_seen_keeps_its_last_known_value():
    known = Shape(
        prompt_tokens=Lengths((10.0,), (1.0,)),
        prefix_hit_fraction=0.3,
        output_tokens=Lengths((7.0,), (1.0,)),
    )
    blank = Observation(observed_at_seconds=0, window_seconds=60)
    assert shape_of(blank, known) == known
    assert shape_of(blank, None) is None


def test_every_built_in_profile_loads_under_its_own_name():
    assert builtin_names()
    for name in builtin_names():
        assert builtin(name).name == name


def test_an_unknown_profile_names_the_ones_there_are():
    with pytest.raises(KeyError, match="llama-3-8b-h100-fp8-tp1"):
        builtin("llama-9")
