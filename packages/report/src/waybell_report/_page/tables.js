// Calls, failures, latency, tokens and cost, by agent, model and tool.

const COLUMNS = [["", 0], ["Calls", 1], ["Failed", 2], ["Unfinished", 3], ["p50", 4], ["p90", 5], ["p99", 6], ["Longest", 7], ["In sum", 8], ["Tokens in", 9], ["Tokens out", 10], ["Cost", 11]];

function cell(row, column) {
  const found = row[column];
  if (column >= 4 && column <= 8) return duration(found);
  if (column === 11) return found === null ? "\u2013" : found === 0 ? "$0" : money(found);
  return found === null ? "\u2013" : count(found);
}

function statTable(kind, title, rows, hint) {
  if (!rows.length) return el("section", { class: "stats" }, el("h2", {}, title), el("p", { class: "blank" }, hint));
  const body = el("tbody");
  let by = -1, down = true;
  const fill = () => {
    const order = [...rows];
    if (by >= 0) {
      const key = (row) => (by === 0 ? row[0] : row[by] === null ? -1 : row[by]);
      order.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (down ? -1 : 1));
    }
    body.replaceChildren(...order.map((row) => el("tr", {},
      el("th", { scope: "row" }, row[1] && row[0] !== "(others)" ? el("button", { type: "button", class: "link", onclick: () => showOwner(kind, row[0]) }, bdi(row[0])) : bdi(row[0] || "(no agent)")),
      ...COLUMNS.slice(1).map(([name, column]) => el("td", { class: (column === 2 || column === 3) && row[column] ? "num bad" : row[column] ? "num" : "num none", "data-name": name }, cell(row, column))))));
  };
  const heads = COLUMNS.map(([name, column]) => {
    const said = column ? name : title.replace(/s$/, "");
    const button = el("button", { type: "button" }, said);
    const head = el("th", { scope: "col", class: column ? "num" : "", "aria-sort": "none" }, button);
    button.addEventListener("click", () => {
      down = by === column ? !down : column !== 0;
      by = column;
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      fill();
    });
    return head;
  });
  fill();
  return el("section", { class: "stats" }, el("h2", {}, title),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}, scrolls` }, el("table", {}, el("thead", {}, el("tr", {}, ...heads)), body)));
}

function startTables() {
  const { agents, models, tools } = D.head.groups;
  const named = agents.filter((row) => row[0] || row[9] !== null || row[11] !== null);
  $("agents").replaceChildren(...[el("h2", {}, "Who called whom"), ...drawGraph()].filter(Boolean));
  $("costs").replaceChildren(
    statTable("agent", "Agents", named, "No span names an agent. tracer.agent(name) does."),
    statTable("model", "Models", models, "No span is a call of a model. tracer.llm(model, provider) makes one."),
    statTable("tool", "Tools", tools, "No span is a call of a tool. tracer.tool(name) makes one."),
    el("p", { class: "note" }, "Tokens and cost are counted once, where they are recorded deepest; an agent's are its own calls', not those of the agents it called. p50, p90 and p99: what this share of the calls did not exceed. \u2013 is unknown."));
}
