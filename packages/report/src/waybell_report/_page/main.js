// Starts the page: the verdict at once, the waterfall next, the details in the background.

const TABS = ["spans", "agents", "costs", "log"];
const ICONS = { failed: "\u2715", unfinished: "\u2026", incomplete: "!", handled: "\u2713", ok: "\u2713", empty: "\u2013" };

function headline(verdict) {
  const agent = bdi(verdict.agent || "", { class: "agent" });
  return {
    failed: ["Failed in ", agent],
    unfinished: ["Did not finish: ", agent, " was still running"],
    incomplete: [`Finished; ${plural(verdict.incomplete, "span")} incomplete`],
    handled: [`Finished; ${plural(verdict.failed, "span")} failed on the way`],
    ok: ["Finished; nothing failed"],
    empty: ["Nothing was recorded"],
  }[verdict.state];
}

function showVerdict(head) {
  const { verdict, usage } = head;
  document.body.dataset.state = verdict.state;
  $("run").replaceChildren("Waybell run ", bdi(head.title, { class: "strong" }));
  $("headline").replaceChildren(el("span", { class: "icon", "aria-hidden": "true" }, ICONS[verdict.state]), el("span", {}, ...headline(verdict)));
  const why = ["handled", "incomplete"].includes(verdict.state) ? [bdi(verdict.agent, { class: "strong" }), ": "] : [];
  if (verdict.error) why.push(el("bdi", {}, short(brief(verdict.error), 300)));
  if (verdict.state === "failed" && verdict.name !== verdict.agent) why.push(el("span", { class: "quiet" }, " in span ", bdi(verdict.name)));
  if (verdict.state === "unfinished") why.push("It was in span ", bdi(verdict.name, { class: "strong" }), `; ${plural(verdict.unfinished, "span")} never ended.`);
  if (verdict.state === "empty") why.push("The files hold no span and no decision yet. Run something with a Tracer, then make this page again.");
  $("why").replaceChildren(...why);
  if (verdict.at !== null) $("why").append(" ", el("button", { type: "button", id: "goto", class: "link", onclick: () => { tell("tab", "spans"); select(verdict.at, { open: true }); } }, "Show it"));
  const tokens = usage.input === null && usage.output === null ? null : (usage.input || 0) + (usage.output || 0);
  const facts = [["Took", head.spans || head.decisions ? duration(head.length) : "\u2013"], ["Cost", usage.cost === 0 ? "$0" : money(usage.cost)], ["Tokens", tokens === null ? "\u2013" : count(tokens)],
    ["Agents", count(head.agents)], ["Spans", count(head.spans)], ["Failed", count(verdict.failed)], ["Unfinished", count(verdict.unfinished)], ["Incomplete", count(verdict.incomplete)], ["Decisions", count(head.decisions)]]
    .filter(([name, found]) => (name !== "Unfinished" && name !== "Incomplete") || found !== "0");
  $("facts").replaceChildren(...facts.map(([name, found]) => el("div", { class: (name === "Failed" || name === "Unfinished") && found !== "0" ? "bad" : null }, el("dt", {}, name), el("dd", {}, found))));
  $("notes").hidden = !head.notes.length;
  $("notes").replaceChildren(el("ul", {}, ...head.notes.map((note) => el("li", {}, shown(note)))));
  const focusable = () => ($("facts").tabIndex = narrow.matches ? 0 : -1); // there they scroll
  narrow.addEventListener("change", focusable);
  focusable();
}

// What failed, and what the run waited for, before anything is looked for.
function showFirst() {
  const bad = [];
  for (let i = 0; i < D.n; i++) if (D.flags[i] & (FAILED | UNFINISHED)) bad.push(i);
  const root = (i) => (D.flags[i] & FAILED ? 0 : 1) * D.n + (D.bad[i] ? D.n * 2 : 0) + i; // where it began comes first
  bad.sort((a, b) => root(a) - root(b));
  const some = bad.slice(0, 100);
  const list = some.length ? el("section", { class: "failures" }, el("h2", {}, bad.length > some.length ? `Failed or unfinished: the first 100 of ${count(bad.length)}` : `Failed or unfinished (${count(bad.length)})`),
    el("ul", { tabindex: some.length > 3 ? "0" : null, "aria-label": some.length > 3 ? "Failed or unfinished, scrolls" : null }, ...some.map((i) => el("li", {}, el("button", { type: "button", onclick: () => select(i, { open: true }) },
      el("span", { class: D.flags[i] & FAILED ? "badge bad" : "badge open" }, D.flags[i] & FAILED ? "\u2715 failed" : "\u2026 unfinished"),
      el("bdi", { class: "strong" }, said(i)), el("span", { class: "why" }, el("bdi", {}, brief(errorText(i)).slice(0, 300))), el("span", { class: "at" }, duration(D.start[i]))))))) : null;
  $("first").replaceChildren(...[list, longest()].filter(Boolean));
}

function longest() {
  const groups = new Map();
  let sum = 0, spans = 0;
  for (let i = 0; i < D.n; i++) {
    if (!(D.waited[i] > 0)) continue;
    const group = groups.get(said(i)) || { text: said(i), many: 0, time: 0, at: i };
    group.many++;
    group.time += D.waited[i];
    if (D.waited[i] > D.waited[group.at]) group.at = i;
    groups.set(group.text, group);
    sum += D.waited[i];
    spans++;
  }
  if (!sum) return null;
  const order = [...groups.values()].sort((a, b) => b.time - a.time), top = order.slice(0, order.length > 4 ? 3 : 4);
  const rest = sum - top.reduce((total, group) => total + group.time, 0);
  const at = (time) => el("span", { class: "at" }, `${duration(time)} \u00b7 ${percent(time, sum)}`);
  const part = ({ text, many, time, at: place }) => {
    const meter = el("i", { class: "meter" });
    meter.style.width = `${(100 * time) / sum}%`;
    return el("li", {}, el("button", { type: "button", onclick: () => select(place, { open: true }) }, meter, bdi(text, { class: "strong" }),
      many > 1 ? el("span", { class: "quiet" }, `\u00d7${count(many)}`) : null, at(time)));
  };
  return el("section", { class: "longest" }, el("h2", {}, `Critical path: ${duration(sum)} in ${plural(spans, "span")}`),
    el("ul", {}, ...top.map(part), order.length > top.length ? el("li", { class: "rest" }, el("span", {}, "the others"), at(rest)) : null));
}

function showTab(name, focus) {
  for (const tab of TABS) {
    const on_ = tab === name, button = $(`tab-${tab}`);
    button.setAttribute("aria-selected", on_);
    button.tabIndex = on_ ? 0 : -1;
    $(tab).hidden = !on_;
    if (on_ && focus) button.focus();
  }
  if (name === "spans") { paintMap(); paintTicks(); redraw(); }
  if (name === "log" && LOG.list) drawLog();
}

function startTabs() {
  for (const tab of TABS) $(`tab-${tab}`).addEventListener("click", () => showTab(tab));
  $("tabs").addEventListener("keydown", (event) => {
    const at = TABS.findIndex((tab) => !$(tab).hidden);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: TABS.length - 1 }[event.key];
    if (to !== undefined) { event.preventDefault(); showTab(TABS[(to + TABS.length) % TABS.length], true); }
  });
  on("tab", (name) => showTab(name));
  if (D.dn) $("tab-log").append(el("span", { class: "many" }, count(D.dn)));
}

const THEMES = ["auto", "light", "dark"];

function startTheme() {
  let at = 0;
  $("theme").addEventListener("click", () => {
    at = (at + 1) % THEMES.length;
    document.documentElement.dataset.theme = THEMES[at];
    $("theme").textContent = `Theme: ${THEMES[at]}`;
    tell("theme");
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tell("theme"));
}

function startSearch() {
  const box = $("search");
  let timer = 0, last = "";
  const look = () => { clearTimeout(timer); last = box.value; search(box.value); };
  box.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, D.n > 5000 ? 250 : 60); });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); if (last !== box.value) look(); step(event.shiftKey ? -1 : 1); }
    if (event.key === "Escape" && box.value) { event.stopPropagation(); box.value = ""; look(); }
  });
  on("search", (words) => {
    $("found").textContent = words ? (S.hits ? plural(S.hits, "match", "es") : "no match") : "";
    $("before").disabled = $("after").disabled = !S.hits;
  });
  on("details", () => { if (box.value.trim()) look(); });
  $("before").addEventListener("click", () => step(-1));
  $("after").addEventListener("click", () => step(1));
}

const BUTTONS = {
  open: () => allOpen(true),
  close: () => allOpen(false),
  in: () => zoom(0.5),
  out: () => zoom(2),
  left: () => pan(-0.25),
  right: () => pan(0.25),
  fit: () => setView(0, D.length || 1),
  path: () => {
    S.dim = !S.dim;
    $("path").setAttribute("aria-pressed", S.dim);
    redraw();
  },
};

const KEYS = [
  ["/", "Search", () => $("search").focus()],
  ["n", "Next match", () => step(1)],
  ["N", "Previous match", () => step(-1)],
  ["f", "Next failed or unfinished span", () => step(1, (i) => D.flags[i] & (FAILED | UNFINISHED))],
  ["F", "Previous failed or unfinished span", () => step(-1, (i) => D.flags[i] & (FAILED | UNFINISHED))],
  ["+", "Zoom in", BUTTONS.in],
  ["-", "Zoom out", BUTTONS.out],
  ["[", "Earlier", BUTTONS.left],
  ["]", "Later", BUTTONS.right],
  ["z", "Zoom to the chosen span", () => S.selected >= 0 && zoomTo(S.selected)],
  ["0", "The whole run", BUTTONS.fit],
  ["c", "Critical path on and off", BUTTONS.path],
  ["e", "Expand all", BUTTONS.open],
  ["x", "Collapse all", BUTTONS.close],
  ["1 2 3 4", "Waterfall, agents, cost and latency, decisions", null],
  ["?", "These keys", () => $("keys").showModal()],
];
const IN_TREE = [["\u2191 \u2193 Page Home End", "Move"], ["\u2192 \u2190", "Open and close, or go in and out"], ["Enter", "Details"], ["Esc", "Close the details"],
  ["Ctrl + wheel, Shift + wheel", "Zoom, move in time"], ["Drag on the strip", "Choose a window of time"], ["Double click", "Zoom to a span"]];

function startKeys() {
  for (const [id, call] of Object.entries(BUTTONS)) $(id).addEventListener("click", call);
  $("show").addEventListener("change", () => setShow($("show").value));
  $("help").addEventListener("click", () => $("keys").showModal());
  const rows = [...KEYS, ...IN_TREE].map(([key, what]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)));
  $("keys").replaceChildren(el("h2", { id: "keys-title" }, "Keys"), el("dl", { class: "keys" }, ...rows),
    el("div", { class: "foot" }, el("label", {}, el("input", { type: "checkbox", id: "single", checked: true }), " Keys of one letter work"),
      el("button", { type: "button", autofocus: true, onclick: () => $("keys").close() }, "Close")));
  const calls = new Map(KEYS.filter(([, , call]) => call).map(([key, , call]) => [key, call]));
  calls.set("=", BUTTONS.in);
  TABS.forEach((tab, k) => calls.set(String(k + 1), () => showTab(tab, true)));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
    if (event.key === "Escape" && !$("panel").hidden) { closePanel(); return; }
    if (event.target.closest("input, select, textarea") || !$("single").checked) return;
    const call = calls.get(event.key);
    if (!call) return;
    event.preventDefault();
    call();
  });
}

function trouble(error) {
  $("trouble").hidden = false;
  $("trouble").textContent = `This page could not be drawn: ${error && error.message ? error.message : error}. ` +
    "It needs a browser of 2024 or newer, and the whole file.";
}

const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
const parsedPage = () => new Promise((done) => {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", done, { once: true });
  else done();
});

async function start() {
  const head = parsed(bytesOf("data-head"));
  D.verdict = head.verdict;
  showVerdict(head);
  startTheme();
  await parsedPage();
  await loadCore();
  startState();
  startTimeline();
  startWaterfall();
  startPanel();
  startTabs();
  startSearch();
  startKeys();
  showFirst();
  const at = D.verdict.at;
  if (at !== null) {
    S.selected = at;
    S.row = rowOf(at);
    const root = rootOf(at);
    if (D.len[root] < D.length / 50) zoomTo(root); // one of many runs in the file
    tree.middle(S.row);
    redraw();
  }
  $("bar").hidden = !D.n;
  if (!D.n) $("tree").replaceChildren(el("p", { class: "blank" }, "No span was recorded. Tracer(path) writes them to a file, and bus.use(tracer.around) makes one of every delivery."));
  performance.mark("waybell-waterfall");
  await painted();
  document.body.dataset.drawn = "waterfall";
  startTables();
  startDecisions();
  await loadDetail();
  tell("details");
  if (at !== null && matchMedia("(min-width: 1100px)").matches && $("panel").hidden) tell("select", at, { open: true, into: false });
  performance.mark("waybell-all");
  document.body.dataset.drawn = "all";
}

start().catch(trouble);
