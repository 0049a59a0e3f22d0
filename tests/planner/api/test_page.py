"""The live page in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from planner.api.app import make_app
from planner.explain import explain, explain_router
from planner.journal import Journal, Record
from policies.config import PolicySettings
from policies.types import GpuCap, PerRole, Role, Unavailable

pytestmark = [pytest.mark.program("chromium"), pytest.mark.timeout(120), pytest.mark.slow]

SLO = PolicySettings().slo

# Nothing but the page itself may use the network.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console says is wrong."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    page = browser.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.close()


def shown(record: Record) -> str:
    """The sentence as the page writes it, with real arrows."""
    return explain(record.decision, SLO, record.pools).replace("->", "\N{RIGHTWARDS ARROW}")


def drawn_lines(page: Page) -> dict[str, int]:
    """How many lines each chart shows, by its caption."""
    lines = "g.trace:has(path.js-line)"
    figures = page.locator("figure.chart").all()
    return {each.locator("b").inner_text(): each.locator(lines).count() for each in figures}


def test_it_shows_the_decision_and_draws_every_chart(server, lived, page, complaints):
    page.goto(server)
    sentence = shown(lived.journal.last)
    expect(page.locator("#explanation")).to_have_text(sentence)
    expect(page.locator("#mode")).to_have_text("demo")
    size = lived.journal.last.decision.current
    expect(page.locator("#prefill")).to_have_text(str(size.prefill))
    expect(page.locator("#gpus")).to_have_text(f"{size.prefill + size.decode} of 16")
    page.wait_for_selector("figure.chart path.js-line")
    assert drawn_lines(page) == {
        "Offered rate": 1,
        "Replicas": 4,
        "TTFT p95": 2,
        "ITL p95": 2,
        "Waiting": 3,
        "P:D ratio": 2,
        "Prefill load": 3,
        "Decode load": 3,
        "KV reads": 3,
    }
    told = lived.journal.last.decision.forecasts[0]
    caption = page.locator("figure.chart", has_text="Prefill load").locator("output")
    model = next(iter(told.weights)).replace("_", " ")
    expect(caption).to_have_text(re.compile(f"^{told.mode.replace('_', ' ')}: .*{model}"))
    assert complaints == []


def test_it_shows_what_one_replica_more_or_fewer_would_change(server, lived, page, complaints):
    page.goto(server)
    rows = page.locator("#margins tbody tr")
    prospect = lived.journal.last.decision.prospect
    prefill, decode = prospect.replicas
    fewer = [1 for margin in prospect.margins if margin.fewer]
    expect(rows).to_have_count(3 + 2 + len(fewer))
    expect(rows.nth(2)).to_contain_text(f"{prefill}+{decode} as planned for")
    expect(rows.nth(2)).to_contain_text(f"{prospect.planned.ttft_seconds * 1000:.3g} ms")
    expect(rows.nth(3)).to_contain_text(f"{prefill + 1}+{decode}: prefill +1")
    expect(page.locator("#margins thead")).to_contain_text("TTFT p99")
    assert complaints == []


def test_the_table_joins_holds_and_names_failures(server, page, complaints):
    page.goto(server)
    rows = page.locator("#decisions tr")
    expect(rows.first).to_contain_text(re.compile(r"hold .\d+"))
    text = page.locator("#decisions").inner_text()
    assert "127.0.0.1:9090 refused the connection" in text
    assert "403 Forbidden" in text
    assert rows.count() < 80
    assert complaints == []


def test_advice_is_told_as_advice_and_only_once(view, records, page, serve, complaints):
    """Nobody follows it here, so each tick gives the same again."""
    view = replace(view, mode="advise", journal=Journal())
    (first, *_) = (one for one in records if one.decision.changes)
    for minutes in range(3):
        decision = replace(first.decision, decided_at_seconds=minutes * 60.0)
        view.journal.append(replace(first, decision=decision, applied=False, failures=()))
    with serve(make_app(view)) as address:
        page.goto(address)
        expect(page.locator("#explanation")).to_have_text(re.compile("^advised, not done: scale "))
        expect(page.locator("#decisions tr")).to_have_count(1)
        expect(page.locator("#decisions tr")).to_contain_text(re.compile("advised: scale .* .3"))
    assert complaints == []


def test_gpus_are_counted_as_the_cluster_shows_them(view, records, page, serve):
    """The profile says one for a replica of either role."""
    pools = records[0].pools
    pools = pools.but(Role.DECODE, replace(pools.decode, gpus_per_replica=8))
    view.journal.append(replace(records[0], pools=pools))
    size = records[0].decision.current
    with serve(make_app(view)) as address:
        page.goto(address)
        expect(page.locator("#gpus")).to_have_text(f"{size.prefill + 8 * size.decode} of 16")


def test_gpus_are_shown_out_of_what_the_cluster_grants(view, records, page, serve):
    cap = GpuCap(7, "KAI queue team-a: limit")
    view.journal.append(replace(records[0], decision=replace(records[0].decision, cap=cap)))
    with serve(make_app(view)) as address:
        page.goto(address)
        expect(page.locator("#gpus")).to_contain_text(" of 7")
        expect(page.locator("#gpus small")).to_have_attribute("title", cap.source)


def test_what_is_wrong_with_the_metrics_is_told_beside_another_reason(view, records, page, serve):
    blind = next(one for one in records if isinstance(one.pools.decode, Unavailable))
    doubt = "prefill pods take far fewer tokens than requests bring"
    seen = replace(blind.observation, problems=(doubt,))
    view.journal.append(replace(blind, observation=seen))
    with serve(make_app(view)) as address:
        page.goto(address)
        expect(page.locator("#explanation")).to_contain_text("a pool cannot be read")
        expect(page.locator("#problems")).to_have_text(f"metrics: {doubt}")
        view.journal.append(records[205])  # these are its reason
        expect(page.locator("#explanation")).to_contain_text("the metrics are unknown")
        expect(page.locator("#problems")).to_be_hidden()


def test_the_front_end_has_its_size_and_its_sentence(view, records, page, serve):
    refused = replace(records[0].router, applied=True, failure="409 Conflict")
    view.journal.append(replace(records[0], router=refused))
    with serve(make_app(view)) as address:
        page.goto(address)
        expect(page.locator("#router")).to_have_text("1")
        sentence = explain_router(refused.decision)
        expect(page.locator("#router-explanation")).to_have_text(sentence)
        expect(page.locator("#decisions")).to_contain_text("router not written: 409 Conflict")
        view.journal.append(replace(records[1], router=None))
        expect(page.locator("#router")).to_be_hidden()
        expect(page.locator("#router-explanation")).to_be_hidden()


@pytest.mark.parametrize("most", [2, 7, 31])
def test_no_two_ticks_of_the_replicas_read_the_same(view, records, page, serve, most):
    decision = replace(records[0].decision, target=PerRole(most, 1))
    view.journal.append(replace(records[0], decision=decision))
    later = replace(decision, decided_at_seconds=60.0)
    view.journal.append(replace(records[0], decision=later))
    with serve(make_app(view)) as address:
        page.goto(address)
        replicas = page.locator("figure.chart", has_text="Replicas")
        replicas.locator("g.ytick").first.wait_for()
        ticks = replicas.locator("g.ytick").all_text_contents()
    assert len(set(ticks)) == len(ticks) > 1


def test_the_summary_of_a_demo_says_what_was_saved(server, page):
    page.goto(server)
    summary = page.locator("#summary")
    expect(summary).to_contain_text("51,234")
    expect(summary).to_contain_text("42.0 %")


def test_the_form_asks_for_a_size_and_shows_mistakes(server, page, complaints):
    page.goto(server)
    form, answer = page.locator("#whatif"), page.locator("#whatif output")
    expect(form.locator("[name=input_tokens]")).to_have_value("900")  # as seen now
    form.locator("[name=requests_per_second]").fill("60")
    form.locator("button").click()
    expect(answer).to_contain_text("replicas on")
    assert complaints == []
    form.locator("[name=requests_per_second]").fill("1e9")
    form.locator("button").click()
    expect(answer).to_contain_text("requests_per_second: 1000000000; it should be less than")


def test_before_the_first_tick_it_says_so(view, page, complaints, serve):
    with serve(make_app(view)) as address:
        page.goto(address)
        waiting = "no decision yet: waiting for the first tick"
        expect(page.locator("#explanation")).to_have_text(waiting)
        expect(page.locator("figure.chart").first).to_contain_text("no data yet")
        expect(page.locator("#decisions")).to_have_text("no data yet")
    assert complaints == []


def test_new_ticks_appear_by_themselves_and_a_restart_starts_over(view, page, serve, records):
    view = replace(view, journal=Journal(limit=1))  # so that a restart forgets the past

    def show(index: int) -> None:
        view.journal.append(records[index])
        expect(page.locator("#explanation")).to_have_text(shown(records[index]))

    with serve(make_app(view)) as address:
        page.goto(address)
        show(100)
        show(205)
        expect(page.locator("#explanation")).to_have_class("failed")  # the metrics are unknown
        expect(page.locator("#margins")).to_be_hidden()
        expect(page.locator("#decisions tr")).to_have_count(2)
        show(0)
        expect(page.locator("#explanation")).not_to_have_class("failed")
        expect(page.locator("#decisions tr")).to_have_count(1)


def test_it_says_when_the_planner_is_gone_and_keeps_what_it_knew(lived, page, serve):
    with serve(make_app(lived)) as address:
        page.goto(address)
        expect(page.locator("#pulse")).to_contain_text("simulated time 05:59:00")
    expect(page.locator("#pulse")).to_contain_text(
        "the demo has ended, or is not reachable; shown as of"
    )
    expect(page.locator("#prefill")).to_have_text(str(lived.journal.last.decision.current.prefill))


def test_it_fits_a_phone_and_a_laptop_in_both_schemes(server, page, complaints):
    page.goto(server)
    page.wait_for_selector("figure.chart path.js-line")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (390, 1366):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
