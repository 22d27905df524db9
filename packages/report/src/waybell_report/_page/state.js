// What is looked at: the rows that are open, the window of time, the chosen span.

const S = { shut: null, rows: new Int32Array(0), at: null, from: 0, to: 1, at0: 0, selected: -1, row: 0,
  show: "all", hit: null, hits: 0, dim: true, decision: -1 };
const listeners = {};
const on = (name, call) => (listeners[name] ||= []).push(call);
const tell = (name, ...what) => (listeners[name] || []).forEach((call) => call(...what));

const MANY = 400; // spans from which only what matters is open at first
const SEVERAL = 200; // failed spans, and spans of the critical path, that are opened

function startState() {
  S.shut = new Uint8Array(D.n);
  S.hit = new Uint8Array(D.n);
  S.to = D.length || 1;
  if (D.n > MANY) {
    S.shut.fill(1);
    let failed = 0, waited = 0;
    for (let i = 0; i < D.n; i++) {
      if (D.flags[i] & (FAILED | UNFINISHED) && !D.bad[i] && failed++ < SEVERAL) reveal(i);
      if (D.flags[i] & CRITICAL && D.waited[i] > D.length / 500 && waited++ < SEVERAL) reveal(i);
    }
    if (D.verdict.at !== null) reveal(D.verdict.at);
  }
  listRows();
}

function reveal(i) {
  for (let up = D.parent[i]; up >= 0 && S.shut[up]; up = D.parent[up]) S.shut[up] = 0;
}

const PICKS = {
  failed: (i) => D.flags[i] & (FAILED | UNFINISHED),
  path: (i) => D.flags[i] & CRITICAL,
  match: (i) => S.hit[i],
};

// The rows to show; with a choice, what was chosen and all that is above it.
function listRows() {
  const rows = new Int32Array(D.n);
  let many = 0;
  const pick = PICKS[S.show];
  let keep = null;
  if (pick) {
    keep = new Uint8Array(D.n);
    for (let i = D.n - 1; i >= 0; i--) {
      if (pick(i)) keep[i] = 1;
      if (keep[i] && D.parent[i] >= 0) keep[D.parent[i]] = 1;
    }
  }
  for (let i = 0; i < D.n; ) {
    if (keep && !keep[i]) { i = D.end[i]; continue; }
    rows[many++] = i;
    i = S.shut[i] && !pick ? D.end[i] : i + 1;
  }
  S.rows = rows.subarray(0, many);
  S.row = Math.max(0, rowOf(S.selected));
  tell("rows");
}

// The place of a span among the rows, or of the one above it that hides it.
function rowOf(i) {
  let low = 0, high = S.rows.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (S.rows[middle] === i) return middle;
    if (S.rows[middle] < i) low = middle + 1;
    else high = middle - 1;
  }
  return high;
}

function toggle(i, open = S.shut[i] === 1) {
  if (!D.children[i] || S.show !== "all") return;
  S.shut[i] = open ? 0 : 1;
  if (!open && S.selected > i && S.selected < D.end[i]) S.selected = i;
  listRows();
}

function allOpen(open) {
  S.shut.fill(open ? 0 : 1);
  if (!open && S.selected >= 0) S.selected = rootOf(S.selected);
  listRows();
}

function select(i, { open = false, into = true } = {}) {
  if (i < 0 || i >= D.n) return;
  S.selected = i;
  if (S.rows[rowOf(i)] !== i) {
    if (S.show !== "all") setShow("all");
    reveal(i);
    listRows();
  }
  S.row = rowOf(i);
  S.decision = -1;
  tell("select", i, { open, into });
}

function setShow(what) {
  S.show = what;
  $("show").value = what;
  listRows();
}

function setView(from, to) {
  const least = Math.max(10, D.length * 1e-12), whole = D.length || 1;
  const length = Math.min(whole, Math.max(least, to - from));
  S.from = Math.min(Math.max(0, from), whole - length);
  S.to = S.from + length;
  tell("view");
}

// Zoom by `factor` so that the moment at `share` of the window stays where it is.
function zoom(factor, share = 0.5) {
  const length = S.to - S.from, at = S.from + share * length;
  setView(at - share * length * factor, at + (1 - share) * length * factor);
}

const pan = (share) => setView(S.from + share * (S.to - S.from), S.to + share * (S.to - S.from));

function zoomTo(i) {
  const length = Math.max(D.len[i], D.length * 1e-9, 100);
  setView(D.start[i] - 0.1 * length, D.start[i] + 1.1 * length);
}

function search(words) {
  S.hit = matches(words);
  S.hits = 0;
  for (const hit of S.hit) S.hits += hit;
  if (S.show === "match") {
    if (words.trim()) listRows();
    else setShow("all");
  }
  tell("search", words.trim());
}

// The next or previous match; around at the end.
function step(by, wanted = (i) => S.hit[i]) {
  for (let k = 1; k <= D.n; k++) {
    const i = (((S.selected < 0 && by > 0 ? -1 : Math.max(0, S.selected)) + by * k) % D.n + D.n) % D.n;
    if (wanted(i)) return select(i);
  }
}
