// Texts, numbers and elements. Everything from the run goes into text nodes only.

const $ = (id) => document.getElementById(id);

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Characters that are not seen, or that turn what follows around, as their number.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;
const code = (c) => `\u27e6${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e7`;
const shown = (text) => String(text).replace(UNSEEN, code);
const line = (text) => shown(text).replace(/[\t\n]+/g, " ");
const bdi = (text, attributes) => el("bdi", attributes, line(text));

const digits = (n, most) => n.toLocaleString("en-US", { maximumFractionDigits: most });
const count = (n) => Math.round(n).toLocaleString("en-US");
const plural = (n, what, ending = "s") => `${count(n)} ${what}${n === 1 ? "" : ending}`;
const three = (n) => n.toFixed(n >= 100 ? 0 : n >= 10 ? 1 : 2);

function duration(ns) {
  if (ns === null || ns === undefined) return "\u2013";
  if (ns < 0) return `\u2212${duration(-ns)}`;
  if (ns === 0) return "0";
  for (const [size, unit] of [[1e3, "ns"], [1e6, "\u00b5s"], [1e9, "ms"], [60e9, "s"]]) {
    if (ns < size * (unit === "s" ? 1 : 0.9995)) {
      const n = ns / (unit === "s" ? 1e9 : size / 1e3);
      return `${unit === "ns" ? Math.round(n) : three(n)} ${unit}`;
    }
  }
  const s = ns / 1e9;
  if (s < 3600) return `${Math.floor(s / 60)} m ${Math.floor(s % 60)} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} m`;
  if (s < 63072000) return `${digits(s / 86400, 1)} days`;
  return `${digits(s / 31557600, 1)} years`;
}

function money(nano) {
  if (nano === null || nano === undefined) return "\u2013";
  if (nano === 0) return "$0";
  const usd = nano / 1e9;
  if (usd >= 1) return `$${usd.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  if (usd >= 0.01) return `$${usd.toFixed(4)}`;
  return `$${usd.toFixed(Math.min(9, 2 - Math.floor(Math.log10(usd))))}`;
}

// The class of an error without its modules, and the rest of its message.
const brief = (error) => line(error).replace(/^(?:(?:[A-Za-z_]\w*|<locals>)\.)+(?=_*[A-Z]\w*(?::|$))(?=\w*[a-z])/, "");

// "…" stands for the rest, which the details have.
const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}\u2026` : text);

function percent(part, whole) {
  const share = whole > 0 ? (100 * part) / whole : 0;
  return share > 0 && share < 0.1 ? "<0.1 %" : `${digits(share, share < 10 ? 1 : 0)} %`;
}

// A moment of the run, `ns` after its first one, in universal time.
function moment(ns) {
  const at = BigInt(D.first) + BigInt(Math.round(ns));
  const date = new Date(Number(at / 1000000n));
  const micros = String(Number((at / 1000n) % 1000n)).padStart(3, "0");
  return Number.isNaN(+date) ? "\u2013" : `${date.toISOString().replace("T", " ").slice(0, 23)}${micros} UTC`;
}
