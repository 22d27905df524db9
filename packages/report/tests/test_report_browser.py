"""The page in a real browser: every control, by mouse and by keyboard."""

import re

import pytest

from waybell_report import report


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@pytest.fixture
def failed(write, otlp):
    """The report of a run whose search tool fails it."""
    log = [
        otlp.decision(1, "route", at=15, span=f"{2:016x}", to="search", why="a port"),
        otlp.decision(2, "note", at=500, text="of no span"),
        otlp.decision(3, "deliver", at=700, span=f"{4:016x}", given={"q": "port"}, outcome="error"),
    ]  # fmt: skip
    return report(write(otlp.failed_run(), "".join(log)))


def row(page, name):
    return page.locator("#tree [role=row]:visible", has_text=name).first


async def labels(page):
    rows = await page.locator("#tree [role=row]:visible").all()
    found = [
        (int(await r.get_attribute("aria-rowindex")), await r.locator(".label").inner_text())
        for r in rows
    ]  # fmt: skip
    return [label for _, label in sorted(found)]


async def window(page):
    """Where the window of time lies in the run, in percent."""
    style = await page.locator("#brush").get_attribute("style")
    parts = dict(part.strip().split(": ") for part in style.strip("; ").split(";"))
    return float(parts["left"][:-1]), float(parts["width"][:-1])


async def test_the_first_sight_says_who_failed_with_what_and_what_it_cost(
    visit, failed
):
    page = (await visit(failed)).page
    assert await page.locator("h1").inner_text() == "✕\nFailed in planner"
    assert "TimeoutError: no answer" in await page.locator("#why").inner_text()
    facts = await page.locator("#facts").inner_text()
    assert "$0.00145" in facts
    assert "1.00 s" in facts
    failures = page.locator(".failures li")
    assert await failures.count() == 3
    assert "search (planner)" in await failures.first.inner_text()
    assert "search (planner)" in await page.locator(".longest li").first.inner_text()
    panel = await page.locator("#panel").inner_text()
    assert 'File "desk.py", line 7, in search' in panel
    assert '"query": "port"' in panel
    assert "$0.00145, 1,280 tokens in all" in panel
    assert await row(page, "search").get_attribute("aria-selected") == "true"


async def test_a_span_shows_what_it_was_given_and_returned(visit, failed):
    page = (await visit(failed)).page
    await row(page, "chat small-1").click()
    panel = await page.locator("#panel").inner_text()
    assert "Which port?" in panel
    assert "Let me search." in panel
    assert "1,200 in, 80 out" in panel
    assert "$0.00145" in panel
    assert "first token" in panel
    assert "gen_ai.usage.input_tokens" in panel


async def test_a_result_below_its_quorum_is_a_warning_not_a_tick(visit, write, otlp):
    lack = {"type": "IncompleteError", "message": "1 of 2 answers"}
    log = otlp.decision(
        1, "broadcast", at=5, span=f"{1:016x}", outcome="incomplete", error=lack
    )
    spans = [otlp.span(1, name="broadcast")]
    page = (await visit(report(write(spans, log)))).page
    assert await page.locator("h1").inner_text() == "!\nFinished; 1 span incomplete"
    assert "1 of 2 answers" in await page.locator("#why").inner_text()
    assert "! incomplete" in await row(page, "broadcast").inner_text()
    await row(page, "broadcast").click()
    panel = await page.locator("#panel").inner_text()
    assert "! Incomplete" in panel
    assert "IncompleteError: 1 of 2 answers" in panel
    await page.locator("[role=tab]", has_text="Decisions").click()
    record = page.locator("#records [role=option]").first
    assert "incomplete" in (await record.get_attribute("class")).split()


async def test_decisions_stand_in_the_span_they_were_made_in(visit, failed):
    page = (await visit(failed)).page
    await row(page, "planner").click()
    await page.locator("#panel details summary", has_text="route").first.wait_for()
    assert "a port" in await page.locator("#panel").inner_text()
    assert await row(page, "planner").locator(".made").count() == 1
    await page.locator("#ticks .loose").click()
    assert "of no span" in await page.locator("#panel").inner_text()


async def test_tabs_open_by_mouse_by_arrows_and_by_number(visit, failed):
    page = (await visit(failed)).page
    await page.click("#tab-agents")
    assert await page.locator("#agents").is_visible()
    await page.keyboard.press("ArrowRight")
    assert await page.locator("#costs").is_visible()
    assert await page.evaluate("document.activeElement.id") == "tab-costs"
    await page.keyboard.press("End")
    assert await page.locator("#log").is_visible()
    await page.keyboard.press("Home")
    await page.keyboard.press("ArrowLeft")
    assert await page.locator("#log").is_visible()
    await page.keyboard.press("1")
    assert await page.locator("#spans").is_visible()
    assert await page.locator("[role=tabpanel]:visible").count() == 1


async def test_search_finds_names_texts_errors_and_ids(visit, failed):
    page = (await visit(failed)).page
    found = page.locator("#found")
    for words, said in (
        ("clock", "1 match"), ("no answer", "3 matches"), ("which PORT", "1 match"),
        ("a" * 32, "5 matches"), (f"{5:016x}", "1 match"), ("planner", "4 matches"),
        ('"query"', "1 match"), ("a port", "1 match"), ("zebra", "no match"),
    ):  # fmt: skip
        await page.fill("#search", words)
        await page.locator("#found", has_text=said).wait_for()
        assert await found.inner_text() == said
    assert await page.locator("#after").is_disabled()
    await page.fill("#search", "no answer")
    await page.locator("#found", has_text="3 matches").wait_for()
    await page.press("#search", "Enter")
    first = await page.locator("#panel-title").inner_text()
    await page.click("#after")
    second = await page.locator("#panel-title").inner_text()
    await page.click("#before")
    assert await page.locator("#panel-title").inner_text() == first != second
    await page.press("#search", "Escape")
    assert await page.input_value("#search") == ""
    await page.locator("#tree").focus()
    await page.keyboard.press("/")
    assert await page.evaluate("document.activeElement.id") == "search"


async def test_one_kind_of_span_can_be_shown_alone(visit, failed):
    page = (await visit(failed)).page
    assert await labels(page) == ["desk", "planner", "chat small-1", "search", "clock"]
    await page.select_option("#show", "failed")
    assert await labels(page) == ["desk", "planner", "search"]
    await page.select_option("#show", "path")
    assert await labels(page) == ["desk", "planner", "chat small-1", "search"]
    await page.fill("#search", "clock")
    await page.locator("#found", has_text="1 match").wait_for()
    await page.select_option("#show", "match")
    assert await labels(page) == ["desk", "planner", "clock"]
    await page.select_option("#show", "all")
    assert len(await labels(page)) == 5


async def test_branches_fold_and_unfold(visit, failed):
    page = (await visit(failed)).page
    await page.click("#close")
    assert await labels(page) == ["desk"]
    assert "+4" in await row(page, "desk").inner_text()
    await page.click("#open")
    assert len(await labels(page)) == 5
    await row(page, "planner").locator(".twist").click()
    assert await labels(page) == ["desk", "planner"]
    assert await row(page, "planner").get_attribute("aria-expanded") == "false"
    await page.keyboard.press("e")
    assert len(await labels(page)) == 5
    await page.keyboard.press("x")
    assert await labels(page) == ["desk"]


async def test_the_tree_is_walked_by_keys_alone(visit, failed):
    page = (await visit(failed)).page
    tree = page.locator("#tree")
    await tree.focus()

    async def active():
        return await page.locator(
            f"#{await tree.get_attribute('aria-activedescendant')} .label"
        ).inner_text()

    for key, name in (
        ("Home", "desk"), ("ArrowDown", "planner"), ("ArrowRight", "chat small-1"),
        ("End", "clock"), ("ArrowUp", "search"), ("ArrowLeft", "planner"),
        ("PageDown", "clock"), ("PageUp", "desk"), ("n", "desk"), ("f", "planner"), ("F", "desk"),
    ):  # fmt: skip
        await page.keyboard.press(key)
        assert await active() == name, key
    await page.keyboard.press("ArrowLeft")
    assert await labels(page) == ["desk"]
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press(" ")
    assert await labels(page) == ["desk"]
    await page.keyboard.press(" ")
    await page.keyboard.press("Escape")
    assert await page.locator("#panel").is_hidden()
    await page.keyboard.press("Enter")
    assert await page.locator("#panel").is_visible()
    await tree.focus()
    outline = await page.evaluate(
        "getComputedStyle(document.querySelector('#tree .selected')).outlineStyle"
    )
    assert outline == "solid"


async def test_time_is_zoomed_and_moved_by_buttons_and_keys(visit, failed):
    page = (await visit(failed)).page
    assert await window(page) == (0, 100)
    await page.click("#in")
    assert await window(page) == (25, 50)
    await page.click("#right")
    assert await window(page) == (37.5, 50)
    await page.click("#left")
    await page.click("#out")
    assert await window(page) == (0, 100)
    await page.locator("#tree").focus()
    for keys, expected in ((["+", "="], (37.5, 25)), (["]"], (43.75, 25)), (["["], (37.5, 25)), (["-"], (25, 50)), (["0"], (0, 100))):  # fmt: skip
        for key in keys:
            await page.keyboard.press(key)
        assert await window(page) == expected, keys
    await page.keyboard.press("z")  # the search, from 330 to 980 ms of 1 s
    left, width = await window(page)
    assert (round(left, 1), round(width, 1)) == (22.0, 78.0)
    await page.click("#fit")
    assert await window(page) == (0, 100)


async def test_time_is_zoomed_and_moved_by_the_mouse(visit, failed):
    page = (await visit(failed)).page
    strip = await page.locator("#overview").bounding_box()
    y = strip["y"] + 10

    async def drag(start, end, top=y, box=strip):
        await page.mouse.move(box["x"] + start * box["width"], top)
        await page.mouse.down()
        await page.mouse.move(box["x"] + end * box["width"], top, steps=4)
        await page.mouse.up()

    await drag(0.25, 0.75)
    left, width = await window(page)
    assert (round(left), round(width)) == (25, 50)
    bars = await row(page, "search").locator(".lane").bounding_box()
    await drag(0.5, 0.75, bars["y"] + 8, bars)  # a quarter of the window back
    left, width = await window(page)
    assert (12 < left < 14, round(width)) == (True, 50)
    await page.mouse.click(
        strip["x"] + 0.75 * strip["width"], y
    )  # the window moves there
    assert round((await window(page))[0]) == 50
    await page.mouse.wheel(0, -300)
    assert (await window(page))[1] < 49
    await page.click("#fit")
    await page.mouse.move(bars["x"] + 50, bars["y"] + 8)
    await page.keyboard.down("Control")
    await page.mouse.wheel(0, -300)
    await page.keyboard.up("Control")
    await page.wait_for_function(
        "parseFloat(document.getElementById('brush').style.width) < 99"
    )
    before = await window(page)
    await page.keyboard.down("Shift")
    await page.mouse.wheel(0, 300)
    await page.keyboard.up("Shift")
    await page.wait_for_function(
        f"parseFloat(document.getElementById('brush').style.left) > {before[0]}"
    )
    await row(page, "clock").dblclick()
    assert (await window(page))[1] < 1


async def test_the_critical_path_can_be_switched_off(visit, failed):
    page = (await visit(failed)).page
    waits = page.locator("#tree .wait:visible")
    assert await waits.count() > 3
    await page.click("#path")
    assert await page.locator("#path").get_attribute("aria-pressed") == "false"
    assert await waits.count() == 0
    await page.keyboard.press("c")
    assert await waits.count() > 3


async def test_the_details_lead_on_and_close(visit, failed):
    page = (await visit(failed)).page
    await page.locator("#panel .crumbs button", has_text="planner").click()
    assert await page.locator("#panel-title").inner_text() == "invoke_agent planner"
    await row(page, "clock").click()
    await page.click("#panel >> text=Zoom to it")
    assert (await window(page))[1] < 1
    await page.click("#panel .copy >> nth=0")
    await page.locator("#panel .copy", has_text="ed").first.wait_for()
    await page.click("#shut")
    assert await page.locator("#panel").is_hidden()
    await page.locator(".failures button").nth(1).click()
    assert await page.locator("#panel-title").inner_text() == "desk"
    await page.locator(".longest button").nth(1).click()
    assert await page.locator("#panel-title").inner_text() == "chat small-1"
    await page.click("#goto")
    assert await page.locator("#panel-title").inner_text() == "execute_tool search"
    await page.keyboard.press("Escape")
    assert await page.locator("#panel").is_hidden()


async def test_the_graph_shows_who_called_whom_and_leads_to_the_spans(visit, failed):
    page = (await visit(failed)).page
    await page.click("#tab-agents")
    nodes = page.locator(".graph .node")
    assert await nodes.count() == 4  # the run, the planner, two tools
    search = page.get_by_role("button", name="tool search: 1 call")
    assert "1 failed" in await search.get_attribute("aria-label")
    assert await page.locator(".graph .edge").count() == 3
    assert await page.locator(".graph .edge.bad").count() == 2
    await page.click("summary >> text=Who called whom")
    assert await page.locator(".called tbody tr").count() == 3
    await search.focus()
    await page.keyboard.press("Enter")
    assert await page.locator("#panel-title").inner_text() == "execute_tool search"
    assert await labels(page) == ["desk", "planner", "search"]
    await page.click("#tab-agents")
    await page.get_by_role("button", name="agent planner").click()
    assert await labels(page) == ["desk", "planner"]


async def test_tables_give_cost_and_latency_and_can_be_sorted(visit, failed):
    page = (await visit(failed)).page
    await page.click("#tab-costs")
    model = page.locator("#costs tr", has_text="small-1")
    assert (await model.inner_text()).split("\t") == [
        "small-1", "1", "0", "0", "300 ms", "300 ms", "300 ms", "300 ms", "300 ms", "1,200", "80", "$0.00145",
    ]  # fmt: skip
    tools = page.locator("#costs section").nth(2)
    heads = tools.locator("thead th")
    await heads.first.locator("button").click()
    assert await tools.locator("tbody th").all_inner_texts() == ["clock", "search"]
    assert await heads.first.get_attribute("aria-sort") == "ascending"
    await heads.nth(8).locator("button").click()
    assert await tools.locator("tbody th").all_inner_texts() == ["search", "clock"]
    await heads.nth(8).locator("button").click()
    assert await tools.locator("tbody th").all_inner_texts() == ["clock", "search"]
    await tools.locator("tbody button").first.click()
    assert await page.locator("#panel-title").inner_text() == "execute_tool clock"


async def test_decisions_are_listed_searched_and_lead_to_their_span(visit, failed):
    page = (await visit(failed)).page
    await page.click("#tab-log")
    records = page.locator("#records [role=option]:visible")
    assert await records.count() == 3
    await page.fill("#grep", "a port")
    await page.locator("#kept", has_text="1 of 3").wait_for()
    await page.fill("#grep", "")
    await page.locator("#kept", has_text=re.compile("^$")).wait_for(state="attached")
    await page.select_option("#which", label="note")
    assert await records.count() == 1
    await page.select_option("#which", "")
    await page.locator("#records").focus()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    assert await page.locator("#panel-title").inner_text() == "route"
    await page.keyboard.press("ArrowDown")
    assert await page.locator("#panel-title").inner_text() == "note"
    await page.keyboard.press("End")
    await page.keyboard.press("Home")
    await page.click("#panel >> text=Its span")
    assert await page.locator("#spans").is_visible()
    assert await page.locator("#panel-title").inner_text() == "invoke_agent planner"


async def test_the_theme_and_the_list_of_keys_open_from_the_top(visit, failed):
    page = (await visit(failed)).page
    colour = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(colour)
    await page.click("#theme")
    assert await page.evaluate(colour) == light
    await page.click("#theme")
    assert await page.locator("#theme").inner_text() == "Theme: dark"
    assert await page.evaluate(colour) != light
    await page.click("#theme")
    await page.click("#help")
    assert await page.locator("#keys").is_visible()
    await page.click("#keys >> text=Close")
    await page.keyboard.press("?")
    assert await page.locator("#keys kbd").count() > 15
    await page.uncheck("#single")
    await page.keyboard.press("Escape")
    assert await page.locator("#keys").is_hidden()
    await page.keyboard.press("2")
    assert await page.locator("#agents").is_hidden()
