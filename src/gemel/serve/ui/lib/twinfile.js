// The text of a twin file, changed one value at a time, so that everything else in it stays as a person wrote it.
// What is changed are tables that stand in one line: { name = "oil", unit = "degC" }.

const ORDER = ["name", "type", "unit", "role", "low", "high", "every", "asset", "states", "address"]; // of the keys of a signal
const VALUE = /^(?:"(?:[^"\\]|\\.)*"|'[^']*'|\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\]|[^,{}\s#]+)/;

/** {before, pairs: [[key, value as written]], after} of a line that holds a table, or null. */
function taken(line) {
  const open = line.indexOf("{");
  if (open < 0) return null;
  const pairs = [];
  let rest = line.slice(open + 1);
  for (;;) {
    const key = /^\s*([\w-]+)\s*=\s*/.exec(rest);
    if (!key) break;
    const value = VALUE.exec(rest.slice(key[0].length));
    if (!value) return null;
    pairs.push([key[1], value[0]]);
    rest = rest.slice(key[0].length + value[0].length).replace(/^\s*,/, "");
  }
  const close = /^\s*\}/.exec(rest);
  return close && { before: line.slice(0, open), pairs, after: rest.slice(close[0].length) };
}

const put = ({ before, pairs, after }) => `${before}{ ${pairs.map(([key, value]) => `${key} = ${value}`).join(", ")} }${after}`;

function plain(written) {
  if (written.startsWith('"')) {
    try {
      return JSON.parse(written);
    } catch {
      return written.slice(1, -1);
    }
  }
  if (written.startsWith("'")) return written.slice(1, -1);
  return written.startsWith("[") ? written : Number(written);
}

/** The signals that stand in the text: address -> {used, name, unit, ...}. One that is commented out is not used. */
export function signals(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const table = line.includes("address") ? taken(line) : null;
    const held = table && Object.fromEntries(table.pairs.map(([key, value]) => [key, plain(value)]));
    if (held?.address) found.set(held.address, { ...held, used: !table.before.includes("#") });
  }
  return found;
}

const ofSignal = (address) => (line, table) => table.pairs.some(([key, value]) => key === "address" && plain(value) === address);

function changed(text, which, change) {
  return text.split("\n").map((line) => {
    const table = taken(line);
    return table && which(line, table) ? put(change(table)) : line;
  }).join("\n");
}

/** The text with `key` of the signal set to a text or a number; "" takes it out. */
export const withKey = (text, address, key, value) => changed(text, ofSignal(address), (table) => keyed(table, key, value));

/** The text with a key of the connector set. */
export const withConnector = (text, key, value) => changed(text, (line) => /^\s*connectors\./.test(line), (table) => keyed(table, key, value));

/** The text with the line of the signal in use, or commented out. */
export const withUse = (text, address, used) => changed(text, ofSignal(address), (table) => {
  const indent = /^\s*/.exec(table.before)[0];
  return { ...table, before: used ? indent : `${indent}# ` };
});

function keyed(table, key, value) {
  const written = typeof value === "number" ? String(value) : JSON.stringify(value);
  const there = table.pairs.some(([name]) => name === key);
  if (value === "") return { ...table, pairs: table.pairs.filter(([name]) => name !== key) };
  if (there) return { ...table, pairs: table.pairs.map((pair) => (pair[0] === key ? [key, written] : pair)) };
  const later = table.pairs.findIndex(([name]) => ORDER.indexOf(name) > ORDER.indexOf(key));
  const place = later < 0 ? table.pairs.length : later;
  return { ...table, pairs: [...table.pairs.slice(0, place), [key, written], ...table.pairs.slice(place)] };
}
