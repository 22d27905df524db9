// The strip above the waterfall: the whole run, the window in it, the scale of time.

const lane = (i) => D.depth[i];

function paintMap() {
  const canvas = $("map"), box = $("overview");
  const width = box.clientWidth, height = box.clientHeight, dense = devicePixelRatio || 1;
  if (!width) return;
  canvas.width = width * dense;
  canvas.height = height * dense;
  const draw = canvas.getContext("2d");
  draw.scale(dense, dense);
  const colour = inks();
  const deep = Math.min(16, D.n ? deepest() + 1 : 1), tall = Math.max(1.5, (height - 8) / deep);
  const taken = new Float64Array(deep).fill(-1);
  for (let pass = 0; pass < 2; pass++) {
    taken.fill(-1);
    for (let i = 0; i < D.n; i++) {
      const bad = D.flags[i] & FAILED;
      if ((pass === 1) !== (bad !== 0)) continue;
      const y = lane(i) % deep, x = (D.start[i] / (D.length || 1)) * width;
      const right = Math.max(x + 1, ((D.start[i] + D.len[i]) / (D.length || 1)) * width);
      if (pass === 0 && right <= taken[y]) continue; // what would be painted over itself
      taken[y] = Math.max(taken[y], right);
      draw.fillStyle = bad ? colour.bad : colour.kinds[D.kind[i]];
      draw.fillRect(x, 4 + y * tall, Math.max(1, right - x), Math.max(1, tall - (tall > 3 ? 1 : 0)));
    }
  }
}

function deepest() {
  let most = 0;
  for (const depth of D.depth) if (depth > most) most = depth;
  return most;
}

// A canvas needs colours as they are computed, for light and dark.
function inks() {
  const probe = el("i", { class: "probe" });
  document.body.append(probe);
  const read = (name) => { probe.className = `probe ${name}`; return getComputedStyle(probe).backgroundColor; };
  const found = { bad: read("bad"), kinds: KINDS.map((_, k) => read(`k${k}`)) };
  probe.remove();
  return found;
}

function paintBrush() {
  const whole = D.length || 1, brush = $("brush");
  brush.style.left = `${(100 * S.from) / whole}%`;
  brush.style.width = `${Math.max(0.2, (100 * (S.to - S.from)) / whole)}%`;
  brush.classList.toggle("whole", S.from <= 0 && S.to >= whole);
}

// The next round step of time: 1, 2, 5 and tens of them; minutes, hours and days as clocks have them.
function stepOf(raw) {
  const clock = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].find((s) => s * 1e9 >= raw);
  if (raw > 30e9 && clock) return clock * 1e9;
  const unit = clock ? 1 : 86400e9, power = 10 ** Math.floor(Math.log10(raw / unit));
  return [1, 2, 5, 10].find((n) => n * power * unit >= raw) * power * unit;
}

function paintTicks() {
  if (!D.length) return;
  const box = $("ticks"), length = S.to - S.from;
  const wanted = Math.max(2, Math.min(8, Math.floor(box.clientWidth / 96)));
  const size = stepOf(length / wanted);
  const ticks = [];
  for (let at = Math.ceil(S.from / size) * size; at <= S.to - 0.06 * length && ticks.length < 12; at += size) {
    // Far into a long run, steps are told from the first one on.
    const far = ticks.length && size < S.from / 200;
    const tick = el("span", {}, far ? `+${duration(Math.round(ticks.length * size))}` : at === 0 ? "0" : duration(at));
    tick.style.left = `${(100 * (at - S.from)) / length}%`;
    ticks.push(tick);
  }
  let last = -1;
  for (const k of loose()) {
    const share = (D.dtime[k] - S.from) / length;
    if (share < 0 || share > 1 || (last >= 0 && (share - last) * box.clientWidth < 10)) continue;
    last = share;
    const mark = el("button", { type: "button", class: "loose", tabindex: "-1", title: `${line(decisionName(k))}, of no span` }, "\u25c6");
    mark.style.left = `${100 * share}%`;
    mark.addEventListener("click", () => tell("decision", k));
    ticks.push(mark);
  }
  box.replaceChildren(...ticks);
}

// Decisions that belong to no span are shown by their time.
function loose() {
  if (!S.loose) {
    S.loose = [];
    for (let k = 0; k < D.dn; k++) if (D.dspan[k] < 0) S.loose.push(k);
  }
  return S.loose;
}

// Dragging chooses a window on the strip; on the bars it moves the window.
function dragging(box, { begin, move, over }) {
  box.addEventListener("pointerdown", (event) => {
    if (event.button || !begin(event)) return;
    const left = event.clientX;
    let moved = false;
    const follow = (now) => {
      if (Math.abs(now.clientX - left) > 3) moved = true;
      if (moved) move(now.clientX - left, now);
    };
    const stop = (now) => {
      removeEventListener("pointermove", follow);
      removeEventListener("pointerup", stop);
      removeEventListener("pointercancel", stop);
      over(moved, now);
    };
    addEventListener("pointermove", follow);
    addEventListener("pointerup", stop);
    addEventListener("pointercancel", stop);
  });
}

function watchOverview() {
  const box = $("overview");
  const shareAt = (event) => {
    const { left, width } = box.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - left) / width));
  };
  let anchor = 0;
  dragging(box, {
    begin: (event) => { anchor = shareAt(event); return true; },
    move: (_, event) => {
      const ends = [anchor, shareAt(event)].sort((a, b) => a - b);
      setView(ends[0] * D.length, ends[1] * D.length);
    },
    over: (moved) => {
      const length = S.to - S.from;
      if (!moved) setView(anchor * D.length - length / 2, anchor * D.length + length / 2);
    },
  });
  for (const strip of [box, $("ruler")]) {
    strip.addEventListener("wheel", (event) => {
      event.preventDefault();
      const area = strip === box ? box : $("ticks");
      wheel(event, area);
    }, { passive: false });
  }
}

function wheel(event, area) {
  const { left, width } = area.getBoundingClientRect();
  const share = Math.min(1, Math.max(0, (event.clientX - left) / width));
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) / 800);
  else zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 300))), area === $("overview") ? 0.5 : share);
}

function startTimeline() {
  watchOverview();
  on("view", () => { paintBrush(); paintTicks(); });
  on("theme", paintMap);
  new ResizeObserver(() => { paintMap(); paintTicks(); }).observe($("overview"));
  paintBrush();
}
