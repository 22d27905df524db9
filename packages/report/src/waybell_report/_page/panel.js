// One span: how it ended, what it was given, what it returned, what it cost.

const GIVEN = ["gen_ai.system_instructions", "gen_ai.input.messages", "input.value", "gen_ai.prompt", "gen_ai.tool.call.arguments"];
const RETURNED = ["gen_ai.output.messages", "output.value", "gen_ai.completion", "gen_ai.tool.call.result"];

function section(title, ...content) {
  const found = content.flat().filter(Boolean);
  return found.length ? el("section", {}, el("h3", {}, title), ...found) : null;
}

const isCut = (found) => found !== null && typeof found === "object" && "n" in found;

function rawText(found) {
  if (found === null || found === undefined) return "none";
  if (typeof found !== "object") return String(found);
  return "j" in found && !("s" in found) ? found.j : found.s;
}

function asJson(text) {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // it was cut, or is no JSON after all
  }
}

// JSON over several lines, but what fits on one stays on one.
function laid(found, margin = "") {
  const flat = (JSON.stringify(found, null, 1) || "").replace(/\n */g, " ");
  if (found === null || typeof found !== "object" || flat.length + margin.length < 60 || margin.length > 80) return flat;
  const inner = `${margin}  `, list = Array.isArray(found);
  const parts = list ? found.map((one) => laid(one, inner)) : Object.entries(found).map(([key, one]) => `${JSON.stringify(key)}: ${laid(one, inner)}`);
  return `${list ? "[" : "{"}\n${parts.map((part) => inner + part).join(",\n")}\n${margin}${list ? "]" : "}"}`;
}

function pretty(text) {
  const found = text.length < 1e6 ? asJson(text) : undefined;
  return found === undefined ? text : laid(found);
}

const cutNote = (found) => el("p", { class: "note" }, `The first ${count(rawText(found).length)} of ${count(found.n)} characters.`);

// A text of the run, as long as it may be; it can be scrolled with the keyboard too.
function block(found, label, kind) {
  const text = shown(pretty(rawText(found)));
  const box = el("pre", { class: kind, tabindex: "0", role: "group", "aria-label": label, dir: "auto" }, text);
  return [box, isCut(found) && cutNote(found)];
}

// A conversation, if `found` is one in the form of the GenAI conventions.
function messages(found, label) {
  let list;
  try {
    list = JSON.parse(rawText(found));
  } catch {
    return null;
  }
  if (!Array.isArray(list) || !list.length || !list.every((m) => m && typeof m === "object" && (m.role || m.type))) return null;
  return list.flatMap((message) => {
    const parts = Array.isArray(message.parts) ? message.parts : [message];
    return parts.flatMap((part) => {
      const text = part && (part.content ?? part.text);
      const content = typeof text === "string" ? text : JSON.stringify(part, null, 2);
      return [el("p", { class: "role" }, line(message.role || part.type || "part")), ...block(content, label)];
    });
  });
}

const texts = (map, keys, label) => keys.filter((key) => map.has(key)).flatMap((key) =>
  messages(map.get(key), label) || block(map.get(key), label));

// Decisions that say what went in and came out: of the span, of its delivery, or by
// the pattern that asked it.
function told(i) {
  const tellsOf = (at, agent) => [...inGroup(D.decisions, at).subarray(0, 500)].filter((k) => {
    if (agent !== undefined && (D.dagent[k] < 0 || D.tables.owners[D.dagent[k]] !== agent)) return false;
    const keys = decisionOf(k).map(([key]) => key);
    return agent === undefined ? keys.includes("given") : keys.includes("prompt") || keys.includes("answer");
  });
  const own = tellsOf(i);
  if (own.length) return own[0];
  if (D.kind[i] !== 1) return -1;
  for (let k = i + 1; k < D.end[i]; k = D.end[k]) {
    if (D.kind[k] === 4 && tellsOf(k).length) return tellsOf(k)[0];
  }
  const up = D.parent[i];
  if (up < 0) return -1;
  if (D.kind[up] === 4 && D.children[up] === 1 && tellsOf(up).length) return tellsOf(up)[0];
  const after = tellsOf(up, ownerName(i)).filter((k) => D.dtime[k] >= D.start[i] + D.len[i] - 1e6);
  return after.length ? after[0] : -1;
}

// An event's fields: its prompt as it was read, then the others.
function spelled(found, label) {
  const fields_ = asJson(rawText(found));
  if (!fields_ || typeof fields_.prompt !== "string") return block(found, label);
  const { prompt, ...others } = fields_;
  const rest = Object.entries(others).filter(([, one]) => one !== null);
  return [...block(prompt, label), rest.length ? table(rest.map(([key, one]) => [key, typeof one === "string" ? one : { j: JSON.stringify(one) }])) : null];
}

function inAndOut(i, map) {
  const k = told(i), record = new Map(k >= 0 ? decisionOf(k) : []);
  const from = k < 0 || D.dspan[k] === i ? null : el("p", { class: "note" }, "As the decision ",
    el("button", { type: "button", class: "link", onclick: () => tell("decision", k) }, line(decisionName(k))), " tells.");
  const side = (keys, names, kept, label) => {
    const own = texts(map, keys, label);
    if (own.length) return own;
    const name = names.find((key) => record.has(key) && record.get(key) !== null);
    if (name) return [...spelled(record.get(name), label), from];
    return digest(map, kept);
  };
  return [
    section("Given", side(GIVEN, ["given", "prompt"], "prompt", "What it was given")),
    section("Returned", side(RETURNED, ["returned", "answer"], "reply", "What it returned")),
  ];
}

function digest(map, kept) {
  const length = map.get(`waybell.${kept}.length`);
  if (length === undefined) return [];
  return [el("p", {}, `${count(Number(length))} characters. The text was not kept; a Tracer with capture="text" keeps it.`),
    el("p", { class: "note" }, `SHA-256 ${line(rawText(map.get(`waybell.${kept}.sha256`)))}`)];
}

function table(rows) {
  const cells = rows.map(([key, found]) => {
    const text = rawText(found), long = typeof found === "object" && found !== null;
    const inside = long || text.length > 120 || text.includes("\n") ? block(found, key) : [el("span", { dir: "auto" }, shown(text))];
    return el("div", {}, el("dt", {}, bdi(key)), el("dd", {}, ...inside.filter(Boolean)));
  });
  return el("dl", { class: "table" }, ...cells);
}

function errorOf(i, detail) {
  if (!(D.flags[i] & (FAILED | INCOMPLETE))) return null;
  const thrown = detail.events.filter((event) => event.name === "exception").slice(-20).map((event) => new Map(event.attributes));
  const stacks = thrown.map((found) => found.get("exception.stacktrace")).filter(Boolean);
  return section(D.flags[i] & FAILED ? "Error" : "Missing", el("p", { class: "message", tabindex: "0", role: "group", "aria-label": "Error" }, shown(detail.status ? rawText(detail.status) : errorText(i))), isCut(detail.status) ? cutNote(detail.status) : null, stacks.flatMap((stack) => block(stack, "Stack", "stack")));
}

function spend(i) {
  const rows = [];
  const tokens = [known(D.input[i]), known(D.output[i])];
  if (tokens.some((n) => n !== null)) rows.push(["Tokens", `${tokens[0] === null ? "\u2013" : count(tokens[0])} in, ${tokens[1] === null ? "\u2013" : count(tokens[1])} out`]);
  if (D.cost[i] >= 0) rows.push(["Cost", D.cost[i] === 0 ? "$0, free" : money(D.cost[i])]);
  else if (rows.length) rows.push(["Cost", "unknown"]);
  if (!rows.length && ownerName(i)) {
    const agent = D.head.groups.agents.find((row) => row[0] === ownerName(i)), [input, output, cost] = agent ? agent.slice(9) : [];
    if (agent && (input !== null || output !== null || cost !== null)) rows.push(["Its agent used", `${money(cost)}, ${count((input || 0) + (output || 0))} tokens in all`]);
  }
  return rows;
}

function facts(i) {
  const flags = D.flags[i], rows = [];
  rows.push(["Took", flags & UNFINISHED ? `never ended; ${duration(D.len[i])} until the last sign of the run` : duration(D.len[i])]);
  rows.push(["Began", flags & TIMELESS ? "it has no start time; shown at its parent's" : `${duration(D.start[i])} into the run`]);
  if (ownerName(i)) rows.push(["Agent", line(ownerName(i))]);
  if (modelName(i)) rows.push(["Model", line(modelName(i))]);
  if (toolName(i)) rows.push(["Tool", line(toolName(i))]);
  rows.push(...spend(i));
  if (D.children[i]) rows.push(["Below it", plural(D.end[i] - i - 1, "span") + (D.bad[i] ? `, ${count(D.bad[i])} failed or unfinished` : "")]);
  if (D.waited[i] > 0) rows.push(["Critical path", `${duration(D.waited[i])}, ${percent(D.waited[i], D.length)} of the run, in itself`]);
  if (flags & SKEWED) rows.push(["Clock", "it lies partly outside its parent: work that went on after it, or two clocks that differ"]);
  if (flags & ORPHAN) rows.push(["Parent", "not in the page"]);
  if (flags & CIRCLE) rows.push(["Parent", "its parents form a circle, which is cut here"]);
  return rows;
}

function eventItem(event, i) {
  const open = event.attributes.length ? table(event.attributes) : null;
  return el("li", {}, el("p", {}, el("span", { class: "at" }, `+${duration(event.at)}`), " ", bdi(event.name, { class: "strong" })), open);
}

// What was decided first; ids and the like last.
const inOrder = (found) => [...found].sort(([a], [b]) => (PLUMBING.has(a) ? 1 : 0) - (PLUMBING.has(b) ? 1 : 0));
const PLUMBING = new Set(["id", "pid", "event", "root", "parent", "handler", "seconds", "usd"]);

function decisionItem(k) {
  const found = inOrder(decisionOf(k).filter(([key]) => key !== "id" && key !== "pid"));
  const after = [...inGroup(D.outcomes, k)].map((o) => table(decisionOf(o).filter(([key]) => !["id", "pid", "of"].includes(key))));
  return el("details", { open: decisionItem.one || null }, el("summary", {}, el("span", { class: "at" }, duration(D.dtime[k])), " ",
    bdi(decisionName(k), { class: "strong" }), D.dagent[k] >= 0 ? ` ${line(D.tables.owners[D.dagent[k]])}` : ""),
    table(found), ...after.flatMap((one) => [el("p", { class: "role" }, "outcome"), one]));
}

function crumbs(i) {
  const path = [];
  for (let up = D.parent[i]; up >= 0 && path.length < 8; up = D.parent[up]) path.unshift(up);
  if (!path.length) return null;
  const items = path.map((up) => el("li", {}, el("button", { type: "button", class: "link", onclick: () => select(up, { open: true }) }, el("bdi", {}, label(up)))));
  if (D.depth[i] > path.length) items.unshift(el("li", {}, `${count(D.depth[i] - path.length)} above`));
  return el("nav", { "aria-label": "Above it" }, el("ol", { class: "crumbs" }, ...items));
}

function idRow(name, id) {
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy ${name}` }, "Copy");
  const text = el("code", {}, shown(id));
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(id);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
  });
  return el("div", {}, el("dt", {}, name), el("dd", {}, text, " ", button));
}

function heading(mark, title, ...buttons) {
  const close = el("button", { type: "button", id: "shut", "aria-label": "Close the details", onclick: closePanel }, "\u2715");
  return el("div", { class: "head" }, mark, el("h2", { id: "panel-title", dir: "auto" }, shown(title)), el("div", { class: "group" }, ...buttons, close));
}

function spanPanel(i) {
  const detail = detailOf(i), map = new Map(detail.attributes);
  const zoomIn = el("button", { type: "button", onclick: () => { if (over.matches) closePanel(); tell("tab", "spans"); zoomTo(i); } }, "Zoom to it");
  const kind = el("span", { class: `kind k${D.kind[i]}`, title: KINDS[D.kind[i]] }, LETTERS[D.kind[i]]);
  const state = D.flags[i] & FAILED ? ["bad", "\u2715 Failed"] : D.flags[i] & UNFINISHED ? ["open", "\u2026 Unfinished"] : D.flags[i] & INCOMPLETE ? ["open", "! Incomplete"] : ["fine", "\u2713 Finished"];
  const events = detail.events.filter((event) => event.name !== "exception");
  const made = [...inGroup(D.decisions, i)];
  const rest = detail.attributes.filter(([key]) => ![...GIVEN, ...RETURNED].includes(key));
  decisionItem.one = made.length === 1;
  return [
    heading(kind, spanName(i), zoomIn),
    crumbs(i),
    el("p", { class: `state ${state[0]}` }, state[1]),
    table(facts(i)),
    detail.name ? section("Whole name", block(detail.name, "Whole name")) : null,
    errorOf(i, detail),
    ...inAndOut(i, map),
    section(`Decisions (${made.length})`, made.length ? made.slice(0, 100).map(decisionItem) : null,
      made.length > 100 ? el("p", { class: "note" }, `The first 100 of ${count(made.length)}.`) : null),
    section(`Events (${count(detail.events.length + detail.moreEvents)})`, events.length ? el("ol", { class: "events" }, ...events.map((event) => eventItem(event, i))) : null,
      detail.moreEvents ? el("p", { class: "note" }, `${count(detail.moreEvents)} more events are left out.`) : null),
    section("Attributes", rest.length ? table(rest) : null,
      detail.moreAttributes ? el("p", { class: "note" }, `${count(detail.moreAttributes)} more attributes are left out.`) : null),
    section("Ids", el("dl", { class: "table" }, idRow("Span id", spanId(i)), idRow("Trace id", traceId(i)),
      ...detail.links.map(([trace, span]) => idRow("Link", `${trace} ${span}`)),
      el("div", {}, el("dt", {}, "Start"), el("dd", {}, moment(D.start[i]))))),
    detail.resource.length ? section("Written by", table(detail.resource)) : null,
  ];
}

function decisionPanel(k) {
  const buttons = D.dspan[k] >= 0 ? [el("button", { type: "button", onclick: () => { tell("tab", "spans"); select(D.dspan[k], { open: true }); } }, "Its span")] : [];
  const found = inOrder(decisionOf(k));
  return [
    heading(el("span", { class: "kind made" }, "\u25c6"), decisionName(k), ...buttons),
    table([["Made", `${duration(D.dtime[k])} into the run`], ["At", moment(D.dtime[k])],
      ["Span", D.dspan[k] >= 0 ? line(spanName(D.dspan[k])) : "none in the page; it is placed by its time"]]),
    section("Record", table(found)),
    ...[...inGroup(D.outcomes, k)].map((o) => section("Outcome", table(decisionOf(o)))),
  ];
}

let returnTo = null;

// On a narrow page the details lie over everything, so nothing else can be reached.
const over = matchMedia("(max-width: 959px)");

function guard() {
  for (const id of ["top", "notes", "views", "spans", "agents", "costs", "log"]) $(id).inert = over.matches && !$("panel").hidden;
}

function showPanel(content, focus) {
  const panel = $("panel");
  if (panel.hidden) returnTo = document.activeElement;
  panel.replaceChildren(...content.filter(Boolean));
  panel.hidden = false;
  guard();
  document.body.classList.add("with-panel");
  panel.scrollTop = 0;
  for (const stack of panel.querySelectorAll(".stack")) stack.scrollTop = stack.scrollHeight; // its cause is last
  if (focus) panel.focus();
}

function closePanel() {
  $("panel").hidden = true;
  guard();
  document.body.classList.remove("with-panel");
  if (returnTo && returnTo.isConnected && returnTo !== document.body) returnTo.focus();
  else $("tree").focus();
}

function startPanel() {
  over.addEventListener("change", guard);
  const waiting = () => [heading(null, "Details"), el("p", {}, "The details are being unpacked.")];
  let wanted = null;
  const show = (make, focus) => {
    wanted = L.ready ? null : () => showPanel(make(), false);
    showPanel(L.ready ? make() : waiting(), focus);
  };
  on("select", (i, { open }) => {
    if (open || !$("panel").hidden) show(() => spanPanel(i), open && over.matches);
  });
  on("decision", (k) => { S.decision = k; show(() => decisionPanel(k), over.matches); });
  on("details", () => wanted && wanted());
}
