// The waterfall: a row for each span, a bar where it was.

const narrow = matchMedia("(max-width: 719px)");
let tree;

function makeRow() {
  const row = el("div", { role: "row" });
  row.twist = el("span", { class: "twist", "aria-hidden": "true" });
  row.kind = el("span", { class: "kind" });
  row.label = el("bdi", { class: "label" });
  row.more = el("span", { class: "more" });
  row.cell = el("div", { role: "gridcell", class: "name" }, row.twist, row.kind, row.label, row.more);
  row.price = el("div", { role: "gridcell", class: "price time" });
  row.time = el("div", { role: "gridcell", class: "time" });
  row.lane = el("div", { role: "gridcell", class: "lane" });
  row.append(row.cell, row.price, row.time, row.lane);
  return row;
}

const share = (at) => (100 * (at - S.from)) / (S.to - S.from);

function place(item, from, to) {
  const left = Math.max(-2, share(from)), right = Math.min(102, share(to));
  if (right < -1 || left > 101) return false;
  item.style.left = `${left}%`;
  item.style.width = `${Math.max(0, right - left)}%`;
  return true;
}

function fillRow(row, place_) {
  const i = S.rows[place_], flags = D.flags[i], open = !D.children[i] || !S.shut[i] || S.show !== "all";
  row.id = `row-${i}`;
  row.span = i;
  const level = D.depth[i];
  row.setAttribute("aria-level", level + 1);
  row.setAttribute("aria-rowindex", place_ + 1);
  row.setAttribute("aria-posinset", D.place[i]);
  row.setAttribute("aria-setsize", D.siblings[i]);
  row.setAttribute("aria-selected", i === S.selected);
  if (D.children[i]) row.setAttribute("aria-expanded", open);
  else row.removeAttribute("aria-expanded");
  row.className = [flags & FAILED && "failed", flags & UNFINISHED && "unfinished", flags & CRITICAL && "critical",
    S.hit[i] && "hit", i === S.selected && "selected"].filter(Boolean).join(" ");
  const deep = narrow.matches ? 6 : 16;
  row.cell.style.paddingInlineStart = `${Math.min(level, deep) * (narrow.matches ? 10 : 14) + 6}px`;
  row.twist.textContent = D.children[i] ? (open ? "\u25be" : "\u25b8") : "";
  row.kind.className = `kind k${D.kind[i]}`;
  row.kind.textContent = LETTERS[D.kind[i]];
  row.kind.title = KINDS[D.kind[i]];
  row.label.textContent = label(i);
  row.label.title = line(spanName(i));
  row.more.replaceChildren(...badges(i, open, level > deep ? level : 0));
  row.price.textContent = D.cost[i] > 0 ? money(D.cost[i]) : "";
  row.time.textContent = flags & UNFINISHED ? "no end" : duration(D.len[i]);
  row.lane.replaceChildren(...bars(i));
  row.setAttribute("aria-label", spoken(i));
}

function badges(i, open, level) {
  const found = [], flags = D.flags[i];
  if (flags & FAILED) found.push(el("span", { class: "badge bad", title: "Failed" }, "\u2715"));
  if (flags & UNFINISHED) found.push(el("span", { class: "badge open" }, "\u2026 unfinished"));
  if (flags & INCOMPLETE) found.push(el("span", { class: "badge open" }, "! incomplete"));
  if (flags & ORPHAN) found.push(el("span", { class: "badge", title: "Its parent is not in the page" }, "no parent"));
  if (flags & CIRCLE) found.push(el("span", { class: "badge", title: "Its parents form a circle" }, "circle"));
  if (level) found.push(el("span", { class: "badge" }, narrow.matches ? `L${level + 1}` : `level ${level + 1}`));
  if (!open) {
    found.push(el("span", { class: "badge count" }, `+${count(D.end[i] - i - 1)}`));
    if (D.bad[i]) found.push(el("span", { class: "badge bad" }, `\u2715 ${count(D.bad[i])}`));
  }
  return found;
}

function bars(i) {
  const found = [], from = D.start[i], to = from + D.len[i];
  const bar = el("i", { class: `bar k${D.kind[i]}` });
  if (place(bar, from, to)) found.push(bar);
  let last = Infinity; // parts that would lie on each other are drawn once
  for (const k of inGroup(D.path, i)) {
    const begin = share(from + D.pathFrom[k]), end = share(from + D.pathFrom[k] + D.pathLen[k]);
    if (Math.abs(begin - last) < 0.15 && end - begin < 0.15) continue;
    const part = el("i", { class: "wait" });
    if (!place(part, from + D.pathFrom[k], from + D.pathFrom[k] + D.pathLen[k])) continue;
    last = begin;
    found.push(part);
  }
  for (let k = D.markAt[i]; k < D.markAt[i + 1]; k++) addMark(found, "mark", from + D.mark[k]);
  const made = inGroup(D.decisions, i);
  for (let k = 0; k < made.length && k < 64; k++) addMark(found, "made", D.dtime[made[k]]);
  return found;
}

function addMark(found, kind, at) {
  const x = share(at);
  if (x < 0 || x > 100) return;
  const mark = el("i", { class: kind });
  mark.style.left = `${x}%`;
  found.push(mark);
}

function spoken(i) {
  const flags = D.flags[i], made = inGroup(D.decisions, i).length, marks = D.markAt[i + 1] - D.markAt[i];
  return [`${KINDS[D.kind[i]]} ${line(spanName(i))}`, flags & FAILED && `failed: ${brief(errorText(i)).slice(0, 120)}`,
    flags & INCOMPLETE && "incomplete", flags & UNFINISHED ? "never ended" : duration(D.len[i]), `at ${duration(D.start[i])}`,
    flags & CRITICAL && "on the critical path", made && plural(made, "decision"), marks && plural(marks, "event"),
    D.cost[i] > 0 && money(D.cost[i])].filter(Boolean).join(", ");
}

function redraw() {
  const box = $("tree");
  if (S.rows.length) box.setAttribute("aria-rowcount", S.rows.length);
  else box.removeAttribute("aria-rowcount");
  box.classList.toggle("dim", S.dim);
  tree.show(S.rows.length);
  const id = S.selected >= 0 && S.rows[S.row] === S.selected ? `row-${S.selected}` : "";
  if (id && $(id)) box.setAttribute("aria-activedescendant", id);
  else box.removeAttribute("aria-activedescendant");
  box.classList.toggle("empty", D.n > 0 && !S.rows.length);
  box.setAttribute("role", S.rows.length ? "treegrid" : "group"); // a grid must have rows
}

function moveTo(row) {
  const to = Math.min(S.rows.length - 1, Math.max(0, row));
  if (to >= 0) select(S.rows[to]);
}

const inSight = () => Math.max(1, Math.floor($("tree").clientHeight / tree.height()) - 1);

const TREE_KEYS = {
  ArrowDown: () => moveTo(S.selected < 0 ? 0 : S.row + 1),
  ArrowUp: () => moveTo(S.row - 1),
  PageDown: () => moveTo(S.row + inSight()),
  PageUp: () => moveTo(S.row - inSight()),
  Home: () => moveTo(0),
  End: () => moveTo(S.rows.length - 1),
  Enter: () => S.selected >= 0 && select(S.selected, { open: true }),
  " ": () => S.selected >= 0 && toggle(S.selected),
  ArrowRight: () => {
    const i = S.selected;
    if (i < 0 || !D.children[i]) return;
    if (S.shut[i] && S.show === "all") toggle(i, true);
    else moveTo(S.row + 1);
  },
  ArrowLeft: () => {
    const i = S.selected;
    if (i < 0) return;
    if (D.children[i] && !S.shut[i] && S.show === "all") toggle(i, false);
    else if (D.parent[i] >= 0) select(D.parent[i]);
  },
};

function startWaterfall() {
  const box = $("tree");
  tree = new List(box, { make: makeRow, fill: fillRow, height: () => (narrow.matches ? 46 : 28) });
  on("rows", redraw);
  on("view", redraw);
  on("search", redraw);
  on("select", (i, { into }) => { if (into) tree.into(S.row); redraw(); });
  $("chart").classList.toggle("priced", D.cost.some((cost) => cost > 0));
  narrow.addEventListener("change", redraw);
  box.addEventListener("click", (event) => {
    const row = event.target.closest("[role=row]");
    if (!row || box.dragged) return;
    if (event.target.closest(".twist") && D.children[row.span]) { S.selected = row.span; toggle(row.span); }
    else select(row.span, { open: true, into: false });
  });
  box.addEventListener("dblclick", (event) => {
    const row = event.target.closest("[role=row]");
    if (row) zoomTo(row.span);
  });
  box.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !TREE_KEYS[event.key]) return;
    event.preventDefault();
    TREE_KEYS[event.key]();
  });
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return;
    event.preventDefault();
    wheel(event, $("ticks"));
  }, { passive: false });
  let from = 0, length = 0;
  dragging(box, {
    begin: (event) => {
      from = S.from;
      length = S.to - S.from;
      return event.target.closest(".lane") && length < D.length && event.pointerType !== "touch";
    },
    move: (dx) => { box.dragged = true; setView(from - (dx / $("ticks").clientWidth) * length, from + length - (dx / $("ticks").clientWidth) * length); },
    over: () => setTimeout(() => { box.dragged = false; }),
  });
  redraw();
}
