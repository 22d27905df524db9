// What the page is about: columns by span, parents first; details by span, on demand.

const FAILED = 1, UNFINISHED = 2, ORPHAN = 4, CIRCLE = 8, SKEWED = 16, TIMELESS = 32, CRITICAL = 64, INCOMPLETE = 128;
const KINDS = ["Other", "Agent", "Model", "Tool", "Topic", "Flow"];
const LETTERS = ["\u00b7", "A", "M", "T", "B", "F"];
const D = { n: 0, head: null };
const L = { ready: false, rows: [], head: null };

function bytesOf(id) {
  const text = atob($(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  $(id).remove();
  return bytes;
}

async function unpacked(id) {
  const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const parsed = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

function numbers(bytes, many) {
  const out = new Float64Array(many === undefined ? bytes.length : many);
  let at = 0;
  for (let i = 0; i < bytes.length; at++) {
    let byte = bytes[i++], value = byte & 127, weight = 128;
    while (byte > 127) {
      byte = bytes[i++];
      value += (byte & 127) * weight;
      weight *= 128;
    }
    out[at] = value;
  }
  return many === undefined ? out.subarray(0, at) : out;
}

const unzigzag = (values) => values.map((z) => (z % 2 ? -(z + 1) / 2 : z / 2));

// Where each of `n` owners' items begin in a list that is grouped by owner.
function offsets(counts) {
  const out = new Int32Array(counts.length + 1);
  for (let i = 0; i < counts.length; i++) out[i + 1] = out[i] + counts[i];
  return out;
}

function groupBy(owners, n) {
  const begin = new Int32Array(n + 1), list = new Int32Array(owners.length);
  for (const owner of owners) if (owner >= 0) begin[owner + 1]++;
  for (let i = 0; i < n; i++) begin[i + 1] += begin[i];
  const next = begin.slice();
  owners.forEach((owner, i) => { if (owner >= 0) list[next[owner]++] = i; });
  return { begin, list };
}

const inGroup = (groups, i) => groups.list.subarray(groups.begin[i], groups.begin[i + 1]);

async function loadCore() {
  const bytes = await unpacked("data-core");
  const size = new DataView(bytes.buffer).getUint32(0, true);
  const head = parsed(bytes.subarray(4, 4 + size));
  const n = head.spans;
  let at = 4 + size;
  const raw = {};
  for (const [name, length] of head.columns) {
    const part = bytes.subarray(at, at + length);
    raw[name] = name === "id" ? part : numbers(part);
    at += length;
  }
  Object.assign(D, { head, n, first: head.first, length: head.length, tables: head.tables });
  const columns = [["depth", Int32Array], ["kind", Uint8Array], ["flags", Uint8Array], ["name", Int32Array],
    ["owner", Int32Array], ["model", Int32Array], ["tool", Int32Array], ["error", Int32Array]];
  for (const [name, type] of columns) D[name] = type.from(raw[name]);
  D.len = raw.length.slice();
  plant(unzigzag(raw.start));
  rollUp(raw);
  D.markAt = offsets(raw.marks);
  D.mark = unzigzag(raw.mark);
  D.ids = head.ids || raw.id;
  findPath();
  readDecisions(raw);
}

// Parents, ends of subtrees and moments, from depths and distances to the parent.
function plant(start) {
  const { n, depth } = D;
  D.parent = new Int32Array(n).fill(-1);
  D.end = new Int32Array(n).fill(n);
  D.start = start;
  D.place = new Int32Array(n);
  D.siblings = new Int32Array(n);
  const stack = [];
  const below = new Int32Array(n + 1);
  for (let i = 0; i < n; i++) {
    while (stack.length > depth[i]) D.end[stack.pop()] = i;
    const up = stack.length ? stack[stack.length - 1] : -1;
    D.parent[i] = up;
    if (up >= 0) start[i] += start[up];
    D.place[i] = ++below[up + 1];
    stack.push(i);
  }
  for (let i = 0; i < n; i++) D.siblings[i] = below[D.parent[i] + 1];
  D.children = below.subarray(1);
}

// Tokens and cost of each span and all below it; null where nobody said.
function rollUp(raw) {
  const { n, parent } = D;
  D.bad = new Int32Array(n);
  D.own = { input: raw.input, output: raw.output, cost: raw.cost };
  for (const name of ["input", "output", "cost"]) {
    const own = raw[name], sum = new Float64Array(n).fill(-1);
    for (let i = n - 1; i >= 0; i--) {
      if (own[i] > 0) sum[i] = Math.max(0, sum[i]) + own[i] - 1;
      const up = parent[i];
      if (up >= 0 && sum[i] >= 0) sum[up] = Math.max(0, sum[up]) + sum[i];
    }
    D[name] = sum;
  }
  for (let i = n - 1; i >= 0; i--) {
    if (parent[i] >= 0) D.bad[parent[i]] += D.bad[i] + (D.flags[i] & (FAILED | UNFINISHED) ? 1 : 0);
  }
}

const known = (n) => (n < 0 ? null : n);

// The critical path: what the end of each root waited for, from its end backwards.
function findPath() {
  const spans = [], from = [], length = [];
  const ended = (i) => D.start[i] + D.len[i];
  const add = (i, begin, end) => { spans.push(i); from.push(begin - D.start[i]); length.push(end - begin); };
  const ahead = [];
  for (let root = 0; root < D.n; root = D.end[root]) ahead.push([root, ended(root)]);
  while (ahead.length) {
    const [i, until] = ahead.pop();
    D.flags[i] |= CRITICAL;
    const below = [];
    for (let k = i + 1; k < D.end[i]; k = D.end[k]) below.push(k);
    below.sort((a, b) => ended(b) - ended(a));
    let now = until;
    for (const k of below) {
      const over = Math.min(ended(k), until);
      if (now <= D.start[i]) break;
      // One that ended after the next began has not held that up.
      if (over > now || D.start[k] >= over) continue;
      if (over < now) add(i, over, now);
      ahead.push([k, over]);
      now = Math.max(D.start[k], D.start[i]);
    }
    if (now > D.start[i]) add(i, D.start[i], now);
  }
  D.pathFrom = Float64Array.from(from);
  D.pathLen = Float64Array.from(length);
  D.waited = new Float64Array(D.n);
  spans.forEach((i, k) => { D.waited[i] += length[k]; });
  D.path = groupBy(Int32Array.from(spans), D.n);
}

function readDecisions(raw) {
  const time = unzigzag(raw.dtime);
  for (let i = 1; i < time.length; i++) time[i] += time[i - 1];
  const span = Int32Array.from(raw.dspan, (place) => place - 1);
  Object.assign(D, { dn: time.length, dtime: time, dspan: span, dname: raw.dname });
  D.dagent = Int32Array.from(raw.dagent, (place) => place - 1);
  D.dof = Int32Array.from(raw.dof, (place) => place - 1);
  D.decisions = groupBy(span, D.n);
  D.outcomes = groupBy(D.dof, D.dn);
}

async function loadDetail() {
  const lines = new TextDecoder().decode(await unpacked("data-detail")).split("\n");
  L.head = JSON.parse(lines.shift());
  L.rows = lines;
  L.ready = true;
}

const spanName = (i) => D.tables.names[D.name[i]] || "(no name)";
// What a row shows: the kind stands before it already.
const label = (i) => line(spanName(i).replace(/^(?:invoke_agent|execute_tool) (?=.)/, ""));
const ownerName = (i) => D.tables.owners[D.owner[i]];

function said(i) {
  const owner = ownerName(i), name = label(i);
  return owner && owner !== name ? `${name} (${owner})` : name;
}

const errorText = (i) => (D.error[i] ? D.tables.errors[D.error[i] - 1] : "");
const modelName = (i) => (D.model[i] ? D.tables.names[D.model[i] - 1] : "");
const toolName = (i) => (D.tool[i] ? D.tables.names[D.tool[i] - 1] : "");
const decisionName = (k) => D.tables.kinds[D.dname[k]] || "(no name)";

// One value: a scalar, {s, n} for a text that was cut, {j} for a list or mapping.
function value(found) {
  return found !== null && typeof found === "object" && "t" in found ? L.head.texts[found.t] : found;
}

function fields(packed) {
  if (!packed) return [];
  return L.head.shapes[packed[0]].map((key, i) => [key, value(packed[i + 1])]);
}

const COLUMN = { "gen_ai.usage.input_tokens": "input", "gen_ai.usage.output_tokens": "output", "waybell.cost.nano_usd": "cost" };

function detailOf(i) {
  const row = JSON.parse(L.rows[i]);
  return {
    attributes: fields(row.a).map(([key, found]) => [key, Array.isArray(found) ? D.own[COLUMN[key]][i] - 1 : found]),
    events: (row.e || []).map(([at, name, found]) => ({ at, name, attributes: fields(found) })),
    links: row.l || [],
    name: row.n || "",
    status: row.s || "",
    resource: row.r === undefined ? [] : L.head.texts[row.r],
    moreAttributes: row.am || 0,
    moreEvents: row.em || 0,
  };
}

const decisionOf = (k) => fields(JSON.parse(L.rows[D.n + k]).a);

function spanId(i) {
  if (Array.isArray(D.ids)) return D.ids[i];
  return Array.from(D.ids.subarray(8 * i, 8 * i + 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Which span has this id, if it is one.
function withId(words) {
  if (Array.isArray(D.ids)) return D.ids.indexOf(words);
  if (!/^[0-9a-f]{16}$/.test(words)) return -1;
  const wanted = words.match(/../g).map((byte) => parseInt(byte, 16));
  for (let i = 0; i < D.n; i++) if (wanted.every((byte, k) => D.ids[8 * i + k] === byte)) return i;
  return -1;
}

function rootOf(i) {
  while (D.parent[i] >= 0) i = D.parent[i];
  return i;
}

function traceId(i) {
  const root = rootOf(i);
  if (!L.roots) {
    L.roots = new Map();
    for (let k = 0; k < D.n; k = D.end[k]) L.roots.set(k, L.roots.size);
  }
  return L.head.trace[L.head.traces[L.roots.get(root)]];
}

// Which spans hold `words`: by name, agent, model, tool, error, by all details, and by
// the decisions made in them.
function matches(words) {
  const hit = new Uint8Array(D.n);
  let wanted = words.trim().toLowerCase();
  if (!wanted) return hit;
  // Of a digest the page may hold the first digits only.
  if (/^[0-9a-f]{32,128}$/.test(wanted) && L.ready && !L.head.trace.includes(wanted) && D.n > 20000) wanted = `${wanted.slice(0, 16)}\u2026`;
  const has = (list) => list.map((text) => text.toLowerCase().includes(wanted));
  const names = has(D.tables.names), owners = has(D.tables.owners), errors = has(D.tables.errors);
  for (let i = 0; i < D.n; i++) {
    if (names[D.name[i]] || owners[D.owner[i]] || (D.model[i] && names[D.model[i] - 1]) ||
      (D.tool[i] && names[D.tool[i] - 1]) || (D.error[i] && errors[D.error[i] - 1])) hit[i] = 1;
  }
  if (withId(wanted) >= 0) hit[withId(wanted)] = 1;
  if (!L.ready) return hit;
  L.head.trace.forEach((id, k) => { if (id === wanted) markTrace(k, hit); });
  const inside = finder(wanted);
  for (let i = 0; i < D.n; i++) if (!hit[i] && inside(i)) hit[i] = 1;
  for (let k = 0; k < D.dn; k++) if (D.dspan[k] >= 0 && !hit[D.dspan[k]] && inside(D.n + k)) hit[D.dspan[k]] = 1;
  return hit;
}

// Tells whether the details of a line hold `wanted`. A line is JSON: what was found in it
// may be a number of a table, not a value, so it is looked at again.
function finder(wanted) {
  const flat = (text) => (typeof text === "string" ? text : JSON.stringify(text)).toLowerCase();
  L.flat = L.flat || L.head.texts.map(flat);
  const texts = L.flat.map((text) => text.includes(wanted)), byText = texts.some(Boolean);
  const escaped = JSON.stringify(wanted).slice(1, -1);
  const has = (found) => typeof found !== "object" && String(found).toLowerCase().includes(wanted);
  const pairs = (list) => list.some(([, found]) => has(found));
  return (at) => {
    const row = L.rows[at];
    if (byText) for (const [, t] of row.matchAll(/"t":(\d+)/g)) if (texts[t]) return true;
    if (!row.toLowerCase().includes(escaped)) return false;
    if (at >= D.n) return pairs(decisionOf(at - D.n));
    const { attributes, events, name, status } = detailOf(at);
    return has(name) || has(status) || pairs(attributes) || events.some((event) => has(event.name) || pairs(event.attributes));
  };
}

function markTrace(trace, hit) {
  let place = 0;
  for (let k = 0; k < D.n; k = D.end[k]) if (L.head.traces[place++] === trace) hit.fill(1, k, D.end[k]);
}
