// Who called whom: agents and tools in layers, from the run on the left.

const MOST = 60; // nodes that can be told apart
const BOX = { w: 176, h: 54, gapX: 64, gapY: 22 };

function graphOf() {
  const nodes = new Map([["run", { id: "run", kind: "run", name: "Run" }]]);
  const groups = { agent: D.head.groups.agents, tool: D.head.groups.tools };
  let left = 0;
  for (const kind of ["agent", "tool"]) {
    for (const row of groups[kind]) {
      if (!row[0] || !row[1] || row[0] === "(others)") continue;
      if (nodes.size > MOST) { left++; continue; }
      nodes.set(`${kind} ${row[0]}`, { id: `${kind} ${row[0]}`, kind, name: row[0], row });
    }
  }
  const edges = D.head.edges.map(([from, kind, to, calls, failed]) => ({ from: from ? `agent ${from}` : "run", to: `${kind} ${to}`, calls, failed }))
    .filter((edge) => nodes.has(edge.from) && nodes.has(edge.to));
  return { nodes, edges, left };
}

// Layers by the longest way from the run; calls back up are drawn but do not count.
function layered({ nodes, edges }) {
  const out = new Map([...nodes.keys()].map((id) => [id, []]));
  for (const edge of edges) if (edge.from !== edge.to) out.get(edge.from).push(edge);
  const state = new Map(), order = [];
  const visit = (id) => {
    state.set(id, 1);
    for (const edge of [...out.get(id)].reverse()) {
      if (state.get(edge.to) === 1) edge.back = true;
      else if (!state.has(edge.to)) visit(edge.to);
    }
    state.set(id, 2);
    order.unshift(id);
  };
  visit("run");
  for (const id of nodes.keys()) if (!state.has(id)) visit(id);
  const layer = new Map(order.map((id) => [id, id === "run" ? 0 : 1]));
  for (const id of order) for (const edge of out.get(id)) if (!edge.back) layer.set(edge.to, Math.max(layer.get(edge.to), layer.get(id) + 1));
  const layers = [];
  for (const id of order) (layers[layer.get(id)] ||= []).push({ id, node: nodes.get(id), h: BOX.h });
  for (const edge of edges) lead(edge, layer, layers);
  const dense = [...layers].map((one) => one || []);
  let best = dense.map((one) => [...one]), least = crossings(best, edges);
  for (let round = 0; round < 12 && least > 0; round++) {
    sortLayers(dense, edges, round % 2 === 1);
    const now = crossings(dense, edges);
    if (now < least) { least = now; best = dense.map((one) => [...one]); }
  }
  return best;
}

// A long edge keeps a place in every layer it crosses, so that boxes stay clear of it.
function lead(edge, layer, layers) {
  edge.way = [edge.from];
  if (!edge.back && edge.from !== edge.to) {
    for (let at = layer.get(edge.from) + 1; at < layer.get(edge.to); at++) {
      const id = `${edge.from}>${edge.to}@${at}`;
      layers[at].push({ id, h: 10 });
      edge.way.push(id);
    }
  }
  edge.way.push(edge.to);
}

// How many pairs of edges between neighbouring layers cross.
function crossings(layers, edges) {
  const place = new Map(layers.flatMap((one, layer) => one.map((item, k) => [item.id, [layer, k]])));
  const steps = layers.map(() => []);
  for (const { way, back, from, to } of edges) {
    if (back || from === to) continue;
    for (let k = 1; k < way.length; k++) steps[place.get(way[k - 1])[0]].push([place.get(way[k - 1])[1], place.get(way[k])[1]]);
  }
  let many = 0;
  for (const all of steps) for (const [a, b] of all) for (const [c, d] of all) if (a < c && b > d) many++;
  return many;
}

function sortLayers(layers, edges, upwards) {
  const near = new Map();
  for (const { way, back } of edges) {
    if (back) continue;
    for (let k = 1; k < way.length; k++) {
      const [from, to] = upwards ? [way[k], way[k - 1]] : [way[k - 1], way[k]];
      if (!near.has(to)) near.set(to, []);
      near.get(to).push(from);
    }
  }
  const place = new Map(layers.flatMap((one) => one.map((item, k) => [item.id, k / Math.max(1, one.length - 1)])));
  const weight = (item) => {
    const found = near.get(item.id);
    return found ? found.reduce((sum, id) => sum + place.get(id), 0) / found.length : place.get(item.id);
  };
  for (const one of upwards ? [...layers].reverse() : layers) {
    const weights = new Map(one.map((item) => [item, weight(item)]));
    one.sort((a, b) => weights.get(a) - weights.get(b));
    one.forEach((item, k) => place.set(item.id, k / Math.max(1, one.length - 1)));
  }
}

function placed(layers) {
  const tall = layers.map((one) => one.reduce((sum, item) => sum + item.h + BOX.gapY, -BOX.gapY));
  const height = Math.max(0, ...tall) + 24, at = new Map();
  layers.forEach((one, k) => {
    let y = narrow.matches ? 12 : (height - tall[k]) / 2;
    for (const item of one) {
      at.set(item.id, { x: 12 + k * (BOX.w + BOX.gapX), y, h: item.h, node: item.node });
      y += item.h + BOX.gapY;
    }
  });
  return { at, width: 24 + layers.length * (BOX.w + BOX.gapX) - BOX.gapX, height };
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, found] of Object.entries(attributes)) made.setAttribute(name, found);
  made.append(...children);
  return made;
}

function edgePath(edge, at) {
  const [from, to] = [at.get(edge.from), at.get(edge.to)];
  if (edge.from === edge.to) {
    const x = from.x + BOX.w - 34, y = from.y;
    return `M${x},${y} c-6,-22 34,-22 24,0`;
  }
  if (edge.back) {
    const y = Math.max(from.y + from.h, to.y + to.h) + 12;
    return `M${from.x + BOX.w / 2},${from.y + from.h} C${from.x + BOX.w / 2},${y + 14} ${to.x + BOX.w / 2},${y + 14} ${to.x + BOX.w / 2},${to.y + to.h}`;
  }
  let path = "", x = 0, y = 0;
  edge.way.forEach((id, k) => {
    const here = at.get(id), middle = here.y + here.h / 2;
    if (k === 0) path = `M${here.x + BOX.w},${middle}`;
    else path += ` C${x + BOX.gapX / 2},${y} ${here.x - BOX.gapX / 2},${middle} ${here.x},${middle}`;
    if (k > 0 && k < edge.way.length - 1) path += ` H${here.x + BOX.w}`;
    x = here.x + BOX.w;
    y = middle;
  });
  return path;
}

function box({ x, y, node }) {
  if (node.kind === "run") {
    return svg("g", { class: "node run" }, svg("rect", { x, y, width: BOX.w, height: BOX.h, rx: 10 }),
      svgText(x + BOX.w / 2, y + 32, "Run", { class: "title", "text-anchor": "middle" }));
  }
  const [name, calls, failed, unfinished, p50] = node.row, cost = node.row[11];
  const second = [plural(calls, "call"), p50 === null ? null : duration(p50), cost > 0 ? money(cost) : null].filter(Boolean).join(" \u00b7 ");
  const bad = failed ? `${count(failed)} failed` : unfinished ? `${count(unfinished)} unfinished` : "";
  const label = `${node.kind} ${line(name)}: ${second}${bad ? `, ${bad}` : ""}`;
  const group = svg("g", { class: `node ${node.kind}${bad ? " bad" : ""}`, role: "button", tabindex: "0", "aria-label": label },
    svg("title", {}, label),
    svg("rect", { x, y, width: BOX.w, height: BOX.h, rx: 10 }),
    svg("rect", { class: `stripe k${node.kind === "agent" ? 1 : 3}`, x, y: y + 12, width: 4, height: BOX.h - 24, rx: 2 }),
    svgText(x + 14, y + 22, short(line(name), bad ? 15 : 20), { class: "title" }),
    svgText(x + 14, y + 41, short(second, 28), { class: "sub" }));
  if (bad) group.append(svgText(x + BOX.w - 10, y + 22, `\u2715 ${failed || unfinished}`, { class: "count", "text-anchor": "end" }));
  const go = () => showOwner(node.kind, name);
  group.addEventListener("click", go);
  group.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(); }
  });
  return group;
}

function svgText(x, y, text, attributes) {
  return svg("text", { x, y, ...attributes }, text);
}

function drawGraph() {
  const graph = graphOf();
  if (graph.nodes.size < 2) return [el("p", { class: "blank" }, "No span names an agent or a tool, so there is nothing to draw. tracer.agent(name) and tracer.tool(name) name them.")];
  const { at, width, height } = placed(layered(graph));
  const lines = graph.edges.map((edge) => {
    const weight = 1.25 + Math.min(4, Math.log10(edge.calls) * 1.5);
    const said = `${edge.from.replace(/^\w+ /, "")} called ${edge.to.replace(/^\w+ /, "")} ${plural(edge.calls, "time")}${edge.failed ? `, ${count(edge.failed)} failed` : ""}`;
    return svg("path", { class: edge.failed ? "edge bad" : "edge", d: edgePath(edge, at), "stroke-width": weight, "marker-end": edge.failed ? "url(#tip-bad)" : "url(#tip)" }, svg("title", {}, line(said)));
  });
  const labels = graph.edges.filter((edge) => edge.calls > 1 && !edge.back && edge.from !== edge.to).map((edge) => {
    const to = at.get(edge.to);
    return svgText(to.x - 14, to.y + to.h / 2 - 6, `\u00d7${count(edge.calls)}`, { class: "times", "text-anchor": "end" });
  });
  const tip = (id) => svg("marker", { id, class: id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto" }, svg("path", { d: "M0,0.5 L8,4 L0,7.5 z" }));
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Who called whom" },
    svg("defs", {}, tip("tip"), tip("tip-bad")), ...lines, ...labels, ...[...at.values()].filter((item) => item.node).map(box));
  return [el("div", { class: "graph", tabindex: "0", role: "region", "aria-label": "Graph of agents, scrolls" }, drawing),
    graph.left ? el("p", { class: "note" }, `The graph shows ${MOST} agents and tools; ${count(graph.left)} more are in the tables.`) : null, calledList(graph)];
}

function calledList({ edges }) {
  const rows = edges.slice(0, 200).map((edge) => el("tr", {}, ...[edge.from, edge.to].map((id) => el("td", {}, bdi(id.replace(/^(agent|tool) /, "").replace(/^run$/, "Run")))),
    el("td", { class: "num" }, count(edge.calls)), el("td", { class: edge.failed ? "num bad" : "num" }, count(edge.failed))));
  return el("details", { class: "called", open: narrow.matches }, el("summary", {}, "Who called whom, as a table"),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Who called whom, scrolls" }, el("table", {}, el("thead", {}, el("tr", {}, ...["Caller", "Called"].map((name) => el("th", { scope: "col" }, name)), ...["Calls", "Failed"].map((name) => el("th", { scope: "col", class: "num" }, name)))),
      el("tbody", {}, ...rows))));
}

function showOwner(kind, name) {
  const wanted = kind === "agent" ? (i) => ownerName(i) === name && (D.parent[i] < 0 || ownerName(D.parent[i]) !== name)
    : kind === "model" ? (i) => modelName(i) === name || spanName(i) === name : (i) => toolName(i) === name || spanName(i) === name;
  S.hit = new Uint8Array(D.n);
  S.hits = 0;
  let first = -1;
  for (let i = 0; i < D.n; i++) {
    if (!wanted(i)) continue;
    S.hit[i] = 1;
    S.hits++;
    if (first < 0 || (D.flags[i] & FAILED && !(D.flags[first] & FAILED))) first = i;
  }
  $("search").value = "";
  tell("tab", "spans");
  setShow("match");
  tell("search", `${kind} ${name}`);
  if (first >= 0) select(first, { open: true });
}
