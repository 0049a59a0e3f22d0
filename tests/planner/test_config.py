import json
from pathlib import Path

import pytest

from planner.config import Config, load, load_profile
from planner.errors import UserError
from policies.config import PolicySettings
from policies.profile import builtin, builtin_names

NEEDED = """
metrics: {url: "http://prometheus:9090", model: llama-3-8b}
workload:
  namespace: serving
  prefill: {kind: Deployment, name: llama-prefill}
  decode: {kind: Deployment, name: llama-decode}
"""
ROOT = Path(__file__).parents[2]


def write(folder: Path, text: str, name: str = "planner.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_what_is_not_given_has_its_default_and_only_advises(tmp_path: Path) -> None:
    config = load(write(tmp_path, NEEDED))
    assert config.mode == "advise"
    assert config.policy == PolicySettings()


def test_an_empty_file_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics is missing\n.*workload is missing"):
        load(write(tmp_path, "# nothing yet\n"))


def test_what_is_given_is_read(tmp_path: Path) -> None:
    text = """
mode: act
tick_seconds: 15
policy:
  slo: {ttft_seconds: 1.5, itl_seconds: 3e-2}
  prefill:
    max_replicas: 8
  gpu_budget: 24
"""
    config = load(write(tmp_path, text + NEEDED))
    assert (config.mode, config.tick_seconds) == ("act", 15.0)
    assert config.policy.slo.itl_seconds == 0.03
    assert config.policy.prefill.max_replicas == 8
    assert config.policy.gpu_budget == 24


def test_known_events_are_read_with_their_offsets(tmp_path: Path) -> None:
    text = """
policy:
  forecast:
    events:
      - {start: 2026-11-27T08:00:00+01:00, end: "2026-11-27T20:00:00Z", multiplier: 3}
"""
    (event,) = load(write(tmp_path, text + NEEDED)).policy.forecast.events
    assert event.start.isoformat() == "2026-11-27T08:00:00+01:00"
    assert (event.end - event.start).total_seconds() == 13 * 3600
    assert (event.multiplier, event.floor_requests_per_second) == (3.0, 0.0)


MISTAKES = [
    pytest.param(
        "policy:\n  forecast:\n    events:\n"
        "      - {start: 2026-11-27T08:00:00Z, end: 2026-11-26T08:00:00Z, multiplier: 3}\n",
        "line 4: policy.forecast.events.0: an event must end after it starts",
        id="event-backwards",
    ),
    pytest.param(
        "policy:\n  forecast:\n    events:\n      - start: 2026-11-27T08:00:00Z\n"
        "        end: 2026-11-28T08:00:00\n        multiplier: 3\n",
        "line 5: policy.forecast.events.0.end",
        id="event-without-an-offset",
    ),
    pytest.param(
        "policy: {forecast: {models: [profet]}}\n",
        "line 1: policy.forecast.models: there is no forecaster 'profet'; there are last_value",
        id="no-such-model",
    ),
    pytest.param(
        "tick_second: 10\n",
        "line 1: unknown key tick_second; did you mean tick_seconds?",
        id="typo",
    ),
    pytest.param(
        "policy:\n  ttft_seconds: 2\n",
        "line 2: unknown key policy.ttft_seconds; did you mean policy.slo.ttft_seconds?",
        id="key-in-the-wrong-section",
    ),
    pytest.param(
        "api:\n  colour: red\n",
        "line 2: unknown key api.colour; known here: host, port",
        id="key-like-no-other",
    ),
    pytest.param(
        "mode: act\npolicy:\n  slo:\n    ttft_seconds: 2s\n",
        'line 4: policy.slo.ttft_seconds is "2s"; it must be seconds as a number, e.g. 2.0',
        id="a-unit-in-the-value",
    ),
    pytest.param(
        "tick_seconds: '10'\n",
        'line 1: tick_seconds is "10"; it must be seconds as a number, e.g. 2.0',
        id="a-number-as-text",
    ),
    pytest.param(
        "tick_seconds: yes\n",
        "line 1: tick_seconds is true; it must be seconds as a number, e.g. 2.0",
        id="a-truth-value-for-a-number",
    ),
    pytest.param(
        "policy:\n  decode: {max_replicas: 2.5}\n",
        "line 2: policy.decode.max_replicas is 2.5; it must be a whole number of replicas",
        id="half-a-replica",
    ),
    pytest.param(
        "tick_seconds: 0\n",
        "line 1: tick_seconds is 0; it must be greater than or equal to 0.1",
        id="zero",
    ),
    pytest.param(
        "tick_seconds: .inf\n",
        "line 1: tick_seconds is Infinity; it must be a finite number",
        id="a-tick-that-never-ends",
    ),
    pytest.param(
        "mode: acting\n", "mode is \"acting\"; it must be 'advise' or 'act'", id="not-a-choice"
    ),
    pytest.param(
        "policy:\n  prefill: {fallback_replicas: 5, max_replicas: 2}\n",
        "line 2: policy.prefill: fallback_replicas 5 is above max_replicas 2",
        id="a fallback that could never be",
    ),
    pytest.param(
        "policy:\n  decode: {startup_seconds: .inf}\n",
        "line 2: policy.decode.startup_seconds is Infinity; it must be a finite number",
        id="infinite",
    ),
    pytest.param(
        "policy:\n  decode: {max_replicas: 1000000000}\n",
        "policy.decode.max_replicas is 1000000000; it must be less than or equal to 10000",
        id="more pairs than can be judged",
    ),
    pytest.param(
        "policy:\n  prefill: {min_replicas: 5, max_replicas: 2}\n",
        "line 2: policy.prefill: min_replicas 5 is above max_replicas 2",
        id="bounds-crossed",
    ),
    pytest.param(
        "policy: fast\n",
        'line 1: policy is "fast"; it must be a section with keys of its own',
        id="text-for-a-section",
    ),
]
BROKEN = [
    pytest.param(
        "- mode\n", 'line 1: the file is ["mode"]; it must be a section', id="a-list-for-a-file"
    ),
    pytest.param(
        "mode: act\nmode: advise\n",
        "line 2: mode is already given in line 1; keep one of them",
        id="the-same-key-twice",
    ),
    pytest.param("a: [1, 2\nb: 3\n", "line 2: not valid YAML: ", id="broken-yaml"),
    pytest.param("mode: 'act\n", "not valid YAML: ", id="a-quote-not-closed"),
    pytest.param("? [mode]\n: act\n", "not valid YAML: ", id="a-list-for-a-key"),
    pytest.param("mode: a\x07t\n", "not valid YAML: special characters", id="a-control-character"),
    pytest.param("policy: &a {slo: *a}\n", "or for themselves", id="an-anchor-in-itself"),
    pytest.param(
        "a: &a [1, 1]\n"
        + "".join(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
            for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "its aliases (*name) stand for more than 10,000 values",
        id="aliases-of-aliases",
    ),
    pytest.param(
        "a: &a {x: 1}\n"
        + "".join(
            f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n"
            for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "its aliases (*name) stand for more than 10,000 values",
        id="merges-of-merges",
    ),
    pytest.param("x: 1 # " + "y" * 1_100_000, "is larger than 1,048,576 bytes", id="a-huge-file"),
    pytest.param(
        "tick_seconds: " + "9" * 5000, "line 1: not valid YAML: '999", id="a-number-too-long"
    ),
    pytest.param(
        "mode: act\na: 2026-13-45",
        "line 2: not valid YAML: '2026-13-45' is no timestamp",
        id="no-such-date",
    ),
    pytest.param("a: !!bool maybe", "line 1: not valid YAML: 'maybe' is no bool", id="no-bool"),
    pytest.param("a: !!int 0x_", "line 1: not valid YAML: '0x_' is no int", id="no-hex"),
    pytest.param("a: " + "[" * 3000 + "]" * 3000, "nested too deeply", id="a-tower-of-brackets"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_a_mistake_is_told_with_line_and_remedy(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text + NEEDED)
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "said"), BROKEN)
def test_a_file_that_is_not_a_section_is_told_where(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        pytest.param("name: llama-decode", "nam: x", "unknown key workload.decode.nam", id="typo"),
        pytest.param("name: llama-decode", "nam: x", "workload.decode.name is missing", id="lack"),
        pytest.param(
            "kind: Deployment",
            "kind: deploy",
            'workload.prefill.kind is "deploy"; it must be one of',
            id="unknown-kind",
        ),
        pytest.param("kind: Deployment, ", "", "workload.prefill.kind is missing", id="no-kind"),
    ],
)
def test_a_mistake_inside_a_pool_is_named_without_the_kind(
    tmp_path: Path, was: str, now: str, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        load(write(tmp_path, NEEDED.replace(was, now)))
    assert said in str(caught.value)
    assert "Deployment.na" not in str(caught.value)


def test_an_anchor_may_be_merged_and_a_key_of_it_given_anew(tmp_path: Path) -> None:
    one = "prefill: {kind: Deployment, name: llama-prefill}"
    other = "decode: {kind: Deployment, name: llama-decode}"
    text = NEEDED.replace(one, one.replace("{", "&pool {")).replace(
        other, "decode: {<<: *pool, name: llama-decode}"
    )
    assert load(write(tmp_path, text)) == load(write(tmp_path, NEEDED, "plain.yaml"))


@pytest.mark.parametrize(
    "same",
    [
        pytest.param("{kind: Deployment, name: llama-prefill}", id="the-same"),
        pytest.param(
            "{kind: Deployment, name: llama-prefill, namespace: serving}",
            id="in-the-same-namespace",
        ),
    ],
)
def test_two_roles_cannot_share_a_count(tmp_path: Path, same: str) -> None:
    text = NEEDED.replace("{kind: Deployment, name: llama-decode}", same)
    with pytest.raises(UserError, match="prefill and decode are the same pool, Deployment llama-"):
        load(write(tmp_path, text))


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    text = NEEDED.replace("http://", "http://me:hunter2@")
    with pytest.raises(UserError, match=r"metrics\.url: .*password_file") as caught:
        load(write(tmp_path, text))
    assert "hunter2" not in str(caught.value)


def test_a_password_in_the_address_of_the_cluster_is_refused_too(tmp_path: Path) -> None:
    text = NEEDED + '  kubernetes: {api_server: "https://me:hunter2@api:6443/"}\n'
    with pytest.raises(UserError, match=r"api_server: .*kubeconfig") as caught:
        load(write(tmp_path, text))
    assert "hunter2" not in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(write(tmp_path, "mod: act\ntick_seconds: soon\n" + NEEDED))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param("absent", None, "No such file", id="absent"),
        pytest.param("folder", "", "Is a directory", id="a-folder"),
        pytest.param("bytes", b"\xff\xfe\xff", "cannot read", id="not-text"),
    ],
)
def test_an_unreadable_file_is_named(
    tmp_path: Path, name: str, content: bytes | str | None, said: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "":
        path.mkdir()
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", builtin_names())
def test_a_profile_is_found_by_its_name(name: str) -> None:
    assert load_profile(name) == builtin(name)


def test_a_profile_path_is_seen_from_the_configuration_file(tmp_path: Path) -> None:
    mine = builtin(builtin_names()[0])
    write(tmp_path, mine.model_dump_json(indent=2).replace("  ", "\t"), "mine.json")
    assert load_profile("mine.json", beside=tmp_path) == mine


def test_an_unknown_profile_names_the_ones_there_are() -> None:
    with pytest.raises(UserError, match=builtin_names()[0]):
        load_profile("llama-9")


def test_a_mistake_in_a_profile_names_its_line(tmp_path: Path) -> None:
    text = builtin(builtin_names()[0]).model_dump_json(indent=2)
    path = write(tmp_path, text.replace('"base_seconds"', '"base_second"', 1), "mine.json")
    with pytest.raises(UserError) as caught:
        load_profile(str(path))
    assert "unknown key prefill.base_second; did you mean base_seconds?" in str(caught.value)
    assert "prefill.base_seconds is missing" in str(caught.value)
    assert f"{path}, line " in str(caught.value)


def test_a_window_too_short_for_a_rate_of_scrapes_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "planner.yaml"
    file.write_text(
        "tick_seconds: 40\n"
        "metrics: {source: scrape, model: m, scrape: {pages: [{url: 'http://pod/metrics'}]}}\n"
        "workload: {namespace: llm, prefill: {kind: Deployment, name: p}, "
        "decode: {kind: Deployment, name: d}}\n"
    )
    with pytest.raises(UserError, match="two ticks of tick_seconds, which are 40 each"):
        load(file)


def test_the_committed_schema_is_the_current_one() -> None:
    committed = json.loads((ROOT / "docs" / "config.schema.json").read_text())
    assert committed == Config.model_json_schema(), "run: planner schema > docs/config.schema.json"


ABSURD = [
    ("tick_seconds: 86400", "tick_seconds is 86400; it must be less than or equal to 600"),
    ("tick_seconds: 1e-6", "tick_seconds is 1e-06; it must be greater than or equal to 0.1"),
    ("deadline_seconds: 1e9", "deadline_seconds is 1000000000.0; it must be less than or equal"),
    ("policy: {guards: {rise_hold_seconds: 1e9}}", "it must be less than or equal to 86400"),
    ("policy: {guards: {stale_after_seconds: 1e9}}", "it must be less than or equal to 3600"),
    ("policy: {forecast: {step_seconds: 1e6}}", "it must be less than or equal to 3600"),
    ("policy: {forecast: {refit_seconds: 1e-3}}", "it must be greater than or equal to 1"),
    ("policy: {drain_seconds: 1e12}", "it must be less than or equal to 2592000"),
    ("policy: {input_length_cv: 1e6}", "it must be less than or equal to 100"),
]


@pytest.mark.parametrize(("text", "said"), ABSURD)
def test_an_absurd_setting_is_refused_with_what_is_right(tmp_path: Path, text: str, said: str):
    with pytest.raises(UserError) as caught:
        load(write(tmp_path, f"{text}\n{NEEDED}"))
    assert said in str(caught.value)
