// A long list of which only the rows in sight exist.

class List {
  // `make()` returns an empty row, `fill(row, place)` shows item `place` in it.
  constructor(box, { make, fill, height }) {
    Object.assign(this, { box, make, fill, height, many: 0, pool: [], asked: false });
    this.space = el("div", { class: "space", role: "presentation" });
    box.append(this.space);
    box.addEventListener("scroll", () => this.later(), { passive: true });
    new ResizeObserver(() => this.later()).observe(box);
  }

  later() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.draw(false); });
  }

  show(many) {
    this.many = many;
    this.draw(true);
  }

  draw(all) {
    const size = this.height(), top = this.box.scrollTop;
    this.space.style.height = `${this.many * size}px`;
    const rows = Math.ceil(this.box.clientHeight / size) + 8;
    const begin = Math.max(0, Math.min(Math.floor(top / size) - 4, this.many - rows));
    while (this.pool.length < rows) {
      const row = this.make();
      row.at = -1;
      this.pool.push(row);
      this.space.append(row);
    }
    this.pool.forEach((_, slot) => {
      // Each row keeps its place in the pool, so that scrolling fills only new ones.
      const many = this.pool.length;
      const place = begin + ((((slot - begin) % many) + many) % many);
      const row = this.pool[slot], used = place < this.many && place < begin + rows;
      row.hidden = !used;
      if (!used) { row.at = -1; row.removeAttribute("id"); return; }
      if (!all && row.at === place && row.size === size) return;
      row.at = place;
      row.size = size;
      row.style.transform = `translateY(${place * size}px)`;
      this.fill(row, place);
    });
  }

  into(place) {
    const size = this.height(), top = place * size;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + size > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + size - this.box.clientHeight;
    this.draw(false);
  }

  middle(place) {
    this.box.scrollTop = Math.max(0, place * this.height() - this.box.clientHeight / 2);
    this.draw(false);
  }
}
