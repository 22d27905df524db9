"""The page under hostile input, on a phone, with many spans, and to assistive technology."""

import base64
import re

import pytest

from waybell_report import Report, report


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
# What a screen reader would say of each control, and which controls have no name.
NAMELESS = """[...document.querySelectorAll('button, input, select, [role=button], [role=tab]')]
  .filter((e) => !e.closest('[hidden], dialog:not([open]), [aria-hidden=true]'))
  .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)"""
# Luminance contrast of every text in sight against what lies behind it.
CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 255) return c; } return [255, 255, 255, 255]; };
  const poor = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.matches(':disabled, .kind, option') || e.closest('svg, noscript')) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${e.className} ${e.textContent.slice(0, 30)}`);
  }
  return poor;
})()"""


@pytest.fixture
def failed(write, otlp):
    """The report of a run whose search tool fails it."""
    log = otlp.decision(1, "route", at=15, span=f"{2:016x}", to="search", why="a port")
    return report(write(otlp.failed_run(), log))


@pytest.fixture
def hostile(write, otlp):
    """The report of a run that holds everything strangers may write."""
    evil = "<img src=x onerror=window.pwned=1>"
    log = otlp.decision(
        1,
        evil,
        at=5,
        span=f"{2:016x}",
        agent=evil,
        given={evil: evil},
        returned="\u202e",
    )
    return report(
        write(otlp.hostile_run(), log + "garbage\n" + log[:30] + "\n"), title=evil
    )


async def test_hostile_text_is_shown_as_text(visit, hostile):
    page = (await visit(hostile)).page
    for tab in ("agents", "costs", "log", "spans"):
        await page.click(f"#tab-{tab}")
        text = await page.locator(f"#{tab}").inner_text()
        assert "<img src=x onerror" in text
        assert (
            await page.locator("img, iframe, object, a[href^=javascript]").count() == 0
        )
    assert await page.evaluate("document.scripts.length") == 1  # ours
    assert await page.evaluate("window.pwned") is None
    assert "<img src=x" in await page.title()


async def test_marks_that_turn_text_around_are_shown_and_isolated(visit, hostile):
    page = (await visit(hostile)).page
    name = page.locator("#tree .label", has_text="invoice")
    assert await name.inner_text() == "invoice⟦202E⟧fdp.exe ⟦0007⟧⟦200B⟧ end"
    assert await name.evaluate("(e) => getComputedStyle(e).unicodeBidi") == "isolate"
    assert "\u202e" not in await page.evaluate("document.documentElement.outerHTML")
    assert "\u202e" not in await page.title()


async def test_a_megabyte_of_text_is_cut_and_says_so(visit, write, otlp):
    made = report(write([otlp.span(1, name="chat", big="x" * 1_000_000)]))
    assert made.notes == ("Long texts that are cut: 1. Each says its length.",)
    page = (await visit(made)).page
    await page.locator("#tree [role=row]").first.click()
    panel = await page.locator("#panel").inner_text()
    assert "The first 65,536 of 1,000,000 characters." in panel
    assert "Long texts that are cut" in await page.locator("#notes").inner_text()


async def test_broken_trees_are_drawn_and_marked(visit, hostile):
    page = (await visit(hostile)).page
    text = await page.locator("#tree").inner_text()
    assert text.count("circle") >= 2
    assert "no parent" in text
    for name, said in (
        ("invoice", "partly outside its parent"), ("orphan", "not in the page"),
        ("its own parent", "form a circle"),
    ):  # fmt: skip
        await page.locator("#tree [role=row]", has_text=name).first.click()
        assert said in await page.locator("#panel").inner_text()


async def test_an_unfinished_run_says_where_it_stopped(visit, write, otlp):
    spans = otlp.failed_run()
    page = (await visit(report(write([spans[2]], starts=spans)))).page
    assert (
        "Did not finish: planner was still running"
        in await page.locator("h1").inner_text()
    )
    assert "4 spans never ended" in await page.locator("#why").inner_text()
    row = page.locator("#tree [role=row]", has_text="search")
    assert "unfinished" in await row.inner_text()
    assert "no end" in await row.inner_text()
    assert "never ended" in await row.get_attribute("aria-label")
    assert (
        "never ended; 10.0 ms until the last sign"
        in await page.locator("#panel").inner_text()
    )


async def test_an_empty_run_says_what_to_do(visit, write):
    page = (await visit(report(write()))).page
    assert "Nothing was recorded" in await page.locator("h1").inner_text()
    for tab, hint in (("spans", "Tracer(path)"), ("agents", "tracer.agent(name)"), ("costs", "tracer.llm"), ("log", "DecisionLog(path)")):  # fmt: skip
        await page.click(f"#tab-{tab}")
        assert hint in await page.locator(f"#{tab}").inner_text()
    await page.click("#tab-spans")
    for key in ("f", "n", "+", "z", "ArrowDown", "Enter", "e"):
        await page.keyboard.press(key)


async def test_deep_and_wide_trees_need_few_elements(visit, write, otlp):
    deep = [
        otlp.span(i, i - 1 or None, name=f"level {i}", ms=9000 - i)
        for i in range(1, 5001)
    ]
    wide = [
        otlp.span(i, 1, name=f"child {i}", at=i / 10, ms=3) for i in range(6000, 16000)
    ]
    page = (await visit(report(write(deep + wide)))).page
    tree = page.locator("#tree")
    await page.keyboard.press("e")
    assert await tree.get_attribute("aria-rowcount") == "15000"
    await tree.focus()
    await page.keyboard.press("End")
    last = await tree.get_attribute("aria-activedescendant")
    assert await page.locator(f"#{last} .label").inner_text() == "child 15999"
    assert await page.locator(f"#{last}").get_attribute("aria-setsize") == "10001"
    await page.fill("#search", "level 5000")
    await page.press("#search", "Enter")
    chosen = page.locator("#tree .selected")
    assert await chosen.get_attribute("aria-level") == "5000"
    assert "level 5000" in await chosen.inner_text()
    assert await page.locator("#tree [role=row]").count() < 120
    await chosen.click()
    assert "4,991 above" in await page.locator(".crumbs").inner_text()


async def test_a_path_of_ten_thousand_steps_is_drawn_with_few_elements(
    visit, write, otlp
):
    steps = [otlp.span(i, 1, name="step", at=2 * i, ms=1) for i in range(2, 10_000)]
    page = (
        await visit(report(write([otlp.span(1, name="root", ms=20_000), *steps])))
    ).page
    root = page.locator("#tree [role=row]").first
    assert 100 < await root.locator(".wait").count() < 800
    assert (
        "Critical path: 20.0 s in 9,999 spans"
        in await page.locator("#first").inner_text()
    )


async def test_many_spans_open_on_what_failed(visit, write, otlp):
    page = (await visit(report(write(otlp.big_run(8_000))))).page
    chosen = page.locator("#tree .selected")
    assert "failed" in await chosen.get_attribute("class")
    assert (
        await chosen.locator(".bar").evaluate(
            "(bar) => bar.getBoundingClientRect().width"
        )
        > 3
    )
    assert int(await page.locator("#tree").get_attribute("aria-rowcount")) < 4_000
    await page.locator("#tree").evaluate(
        "(tree) => { tree.scrollTop = tree.scrollHeight; }"
    )
    rows = page.locator("#tree [role=row]:visible")
    await page.locator(
        f"#tree [aria-rowindex='{await page.locator('#tree').get_attribute('aria-rowcount')}']"
    ).wait_for()
    assert await rows.count() < 120


@pytest.mark.parametrize("tab", ["spans", "agents", "costs", "log"])
async def test_a_phone_shows_everything_without_scrolling_sideways(visit, failed, tab):
    page = (await visit(failed, size=(360, 740), has_touch=True, is_mobile=True)).page
    await page.tap(f"#tab-{tab}")
    assert await page.evaluate("document.scrollingElement.scrollWidth") <= 360
    if tab == "spans":
        box = await page.locator("#tree").bounding_box()
        assert box["height"] > 150
        await page.locator("#tree [role=row]").nth(2).tap()
        panel = await page.locator("#panel").bounding_box()
        assert (panel["x"], panel["width"]) == (0, 360)
        assert await page.evaluate("document.activeElement.id") == "panel"
        assert await page.locator("#spans").evaluate("(e) => e.inert") is True
        await page.tap("#shut")
        assert await page.locator("#spans").evaluate("(e) => e.inert") is False
        assert await page.locator("#panel").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_texts_have_contrast_in_light_and_dark(visit, failed, scheme):
    page = (await visit(failed, color_scheme=scheme)).page
    for tab in ("log", "costs", "agents", "spans"):
        await page.click(f"#tab-{tab}")
        assert await page.evaluate(CONTRAST) == []


async def test_every_control_has_a_name_and_every_list_its_roles(visit, failed):
    page = (await visit(failed)).page
    for tab in ("agents", "costs", "log", "spans"):
        await page.click(f"#tab-{tab}")
        assert await page.evaluate(NAMELESS) == []
        assert (
            await page.locator(f"#{tab}").get_attribute("aria-labelledby")
            == f"tab-{tab}"
        )
    tree = await page.locator("#tree").aria_snapshot()
    assert 'treegrid "Spans"' in tree
    assert (
        'row "Tool execute_tool search, failed: TimeoutError: no answer, 650 ms' in tree
    )
    assert await page.locator("h1").count() == 1
    assert await page.evaluate("document.documentElement.lang") == "en"


async def test_focus_is_seen_wherever_tab_leads(visit, failed):
    page = (await visit(failed)).page
    seen = set()
    for _ in range(40):
        await page.keyboard.press("Tab")
        place = await page.evaluate(
            "(() => { const e = document.activeElement; return [e.id || (e === document.body ? 'BODY' : e.textContent), getComputedStyle(e).outlineStyle]; })()"
        )
        assert place[1] == "solid" or place[0] == "BODY", place
        seen.add(place[0])
    assert {
        "search",
        "show",
        "open",
        "path",
        "in",
        "fit",
        "tree",
        "shut",
        "theme",
    } <= seen


async def test_nothing_moves_for_who_asked_for_less_motion(visit, failed):
    page = (await visit(failed, reduced_motion="reduce")).page
    moving = "[...document.querySelectorAll('*')].filter((e) => getComputedStyle(e).transitionDuration !== '0s' || getComputedStyle(e).animationName !== 'none').length"
    assert await page.evaluate(moving) == 0


async def test_a_notebook_shows_the_page_in_a_frame_of_its_own(visit, failed, browser):
    page = await browser.new_page()
    await page.set_content(f"<h1>notebook</h1>{failed._repr_html_()}")
    frame = page.frame_locator("iframe")
    await frame.locator("body[data-drawn=all]").wait_for()
    assert "Failed in planner" in await frame.locator("h1").inner_text()
    await frame.locator("#tab-agents").click()
    assert await frame.locator(".graph .node").count() == 4
    await page.close()


async def test_the_policy_stops_what_is_not_the_page_itself(visit, failed):
    found = await visit(failed)
    tried = await found.page.evaluate(
        """async () => {
          const out = {};
          try { await fetch('https://example.org/'); out.fetch = 'went'; } catch { out.fetch = 'stopped'; }
          try { document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.pwned = 1' })); } catch {}
          out.script = window.pwned ? 'went' : 'stopped';
          document.body.setAttribute('style', 'opacity: 0.5');
          out.style = getComputedStyle(document.body).opacity === '1' ? 'stopped' : 'went';
          try { document.body.innerHTML = '<b>x</b>'; out.markup = 'went'; } catch { out.markup = 'stopped'; }
          return out;
        }"""
    )
    assert tried == dict.fromkeys(("fetch", "script", "style", "markup"), "stopped")
    await found.page.evaluate(
        "new Promise(requestAnimationFrame)"
    )  # what is reported, is
    assert [
        word
        for word in ("connect-src", "style-src", "require-trusted-types-for")
        if not any(word in t for t in found.trouble)
    ] == []
    assert found.requests == found.requests[:1]
    found.trouble.clear()  # they are what was tried


async def test_a_page_cut_short_says_so(visit, failed, tmp_path, browser):
    whole = failed.html
    data = re.search(r'id="data-core">([^<]+)', whole)[1]
    cut = base64.b64encode(base64.b64decode(data)[:-200]).decode()
    path = tmp_path / "cut.html"
    Report(whole.replace(data, cut), "", 0, 0, ()).save(path)
    page = await browser.new_page()
    await page.goto(path.as_uri())
    await page.locator("#trouble", has_text="could not be drawn").wait_for()
    await page.close()


async def test_without_scripts_the_verdict_is_still_told(
    visit, failed, tmp_path, browser
):
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(failed.save(tmp_path / "plain.html").as_uri())
    assert (
        "failed: planner: TimeoutError: no answer"
        in await page.locator("noscript").inner_text()
    )
    await context.close()


async def test_agents_that_call_each_other_and_many_of_them_fit_the_graph(
    visit, write, otlp
):
    spans = [
        otlp.span(1, name="a", ms=900, **otlp.agent("a")), otlp.span(2, 1, name="b", **otlp.agent("b")),
        otlp.span(3, 2, name="a", **otlp.agent("a")), otlp.span(4, 3, name="a", **otlp.agent("a")),
        *(otlp.span(i, i - 1, name="deep", ms=500 - i, **otlp.agent(f"deep {i}")) for i in range(5, 12)),
        otlp.span(12, 11, name="a", **otlp.agent("b")),
        *(otlp.span(i, 1, name="x", **otlp.agent(f"x{i}")) for i in range(20, 90)),
    ]  # fmt: skip
    page = (await visit(report(write(spans)))).page
    await page.click("#tab-agents")
    assert await page.locator(".graph .node").count() == 61
    assert "19 more are in the tables" in await page.locator("#agents").inner_text()
    paths = await page.locator(".graph .edge").evaluate_all(
        "(all) => all.map((e) => e.getAttribute('d'))"
    )
    assert len(paths) >= 60
    assert not [path for path in paths if "NaN" in path or "undefined" in path]
