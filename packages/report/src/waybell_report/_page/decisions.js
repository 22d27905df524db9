// Every decision, in order of time.

const LOG = { rows: [], list: null };

function startDecisions() {
  const box = $("log");
  if (!D.dn) {
    box.replaceChildren(el("p", { class: "blank" }, "No decision was recorded. DecisionLog(path).record(decision=...) records one; bus.use(log.around) records every delivery."));
    return;
  }
  const names = [...new Set(D.dname)].map((at) => [at, D.tables.kinds[at] || "(no name)"]).sort((a, b) => (a[1] < b[1] ? -1 : 1)).slice(0, 200);
  const pick = el("select", { id: "which", "aria-label": "Which decisions" }, el("option", { value: "" }, `all ${count(D.dn)} decisions`),
    ...names.map(([at, name]) => el("option", { value: at }, line(name))));
  const find = el("input", { id: "grep", type: "search", placeholder: "Search decisions", "aria-label": "Search decisions", autocomplete: "off", spellcheck: "false" });
  const many = el("span", { role: "status", id: "kept" });
  const list = el("div", { id: "records", role: "listbox", tabindex: "0", "aria-label": "Decisions" });
  box.replaceChildren(el("div", { class: "bar" }, find, pick, many), list);
  LOG.at = -1;
  LOG.list = new List(list, { make: makeRecord, fill: fillRecord, height: () => (narrow.matches ? 60 : 32) });
  const filter = () => {
    const words = find.value.trim().toLowerCase(), which = pick.value;
    LOG.rows = [];
    for (let k = 0; k < D.dn; k++) {
      if (which !== "" && D.dname[k] !== Number(which)) continue;
      if (words && !recordText(k).includes(words)) continue;
      LOG.rows.push(k);
    }
    LOG.at = -1;
    many.textContent = LOG.rows.length === D.dn ? "" : `${count(LOG.rows.length)} of ${count(D.dn)}`;
    drawLog();
  };
  let timer = 0;
  find.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(filter, D.dn > 5000 ? 250 : 0); });
  pick.addEventListener("change", filter);
  list.addEventListener("click", (event) => {
    const row = event.target.closest("[role=option]");
    if (row) chooseRecord(row.at, true);
  });
  list.addEventListener("keydown", recordKeys);
  on("details", filter);
  on("decision", drawLog);
  filter();
}

function recordKeys(event) {
  const last = LOG.rows.length - 1;
  const to = { ArrowDown: LOG.at + 1, ArrowUp: LOG.at - 1, Home: 0, End: last, PageDown: LOG.at + 10, PageUp: LOG.at - 10 }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    chooseRecord(Math.min(last, Math.max(0, to)), !$("panel").hidden);
  } else if (event.key === "Enter" && LOG.at >= 0) chooseRecord(LOG.at, true);
}

function chooseRecord(at, open) {
  if (at < 0 || at >= LOG.rows.length) return;
  LOG.at = at;
  LOG.list.into(at);
  if (open) tell("decision", LOG.rows[at]);
  drawLog();
}

function drawLog() {
  LOG.list.show(LOG.rows.length);
  const id = LOG.at >= 0 ? `record-${LOG.rows[LOG.at]}` : "";
  if (id && $(id)) $("records").setAttribute("aria-activedescendant", id);
  else $("records").removeAttribute("aria-activedescendant");
}

const recordText = (k) => `${decisionName(k)} ${D.dagent[k] >= 0 ? D.tables.owners[D.dagent[k]] : ""} ${L.ready ? decisionOf(k).map(([key, found]) => `${key} ${rawText(found)}`).join(" ") : ""}`.toLowerCase();

function makeRecord() {
  const row = el("div", { role: "option" });
  row.parts = ["at", "what", "who", "rest"].map((name) => el("span", { class: name }));
  row.append(...row.parts);
  return row;
}

const DULL = new Set(["id", "pid", "agent", "event", "root", "parent", "topic", "handler", "seconds", "of"]);

// Of an event's fields, its prompt.
function inShort(found) {
  const fields_ = asJson(rawText(found).slice(0, 20000));
  return fields_ && typeof fields_.prompt === "string" ? fields_.prompt : rawText(found);
}

function fillRecord(row, at) {
  const k = LOG.rows[at], record = L.ready ? decisionOf(k) : [], map = new Map(record);
  const failed = ["error", "failed"].includes(map.get("outcome"));
  row.id = `record-${k}`;
  row.className = [at === LOG.at && "selected", failed && "failed", map.get("outcome") === "incomplete" && "incomplete"].filter(Boolean).join(" ");
  row.setAttribute("aria-selected", at === LOG.at);
  row.setAttribute("aria-posinset", at + 1);
  row.setAttribute("aria-setsize", LOG.rows.length);
  const who = D.dagent[k] >= 0 ? D.tables.owners[D.dagent[k]] : map.get("topic") || "";
  const rest = record.filter(([key, found]) => !DULL.has(key) && found !== null)
    .sort(([a], [b]) => (b === "outcome") - (a === "outcome"))
    .map(([key, found]) => `${key} ${inShort(found).slice(0, 80)}`).join("  \u00b7  ");
  const [time, what, person, other] = row.parts;
  time.textContent = duration(D.dtime[k]);
  what.textContent = line(decisionName(k));
  person.textContent = line(rawText(who));
  other.textContent = line(rest).slice(0, 300);
}
