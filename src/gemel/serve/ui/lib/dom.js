// Makes elements: h("p", {class: "muted", onclick: f}, "text", child). Text is always text, never markup.

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Replace what `element` holds; falsy children are left out, lists are spread. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value); // the policy of the page forbids style texts
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  return fill(element, children);
}

/** A card with a heading. */
export function card(title, ...children) {
  return h("section", { class: "card", "aria-label": title }, h("h2", {}, title), ...children);
}

/** An icon of simple strokes. */
export function icon(name) {
  const paths = {
    theme: "M12 3a9 9 0 1 0 0 18V3z",
    ask: "M4 5h16v11H9l-5 4z",
    close: "M5 5l14 14M19 5L5 19",
    left: "M15 5l-7 7 7 7",
    right: "M9 5l7 7-7 7",
    play: "M7 4l13 8-13 8z",
    pause: "M7 4v16M17 4v16",
    leave: "M10 4H5v16h5M14 8l4 4-4 4M18 12H9",
  };
  const held = svg("svg", { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 2, "aria-hidden": "true" });
  held.append(svg("path", { d: paths[name], "stroke-linejoin": "round", "stroke-linecap": "round" }));
  return held;
}

/** Say something in a corner for a while; a screen reader says it too. */
export function toast(text, kind = "note") {
  document.querySelector(".toast")?.remove();
  const held = h("div", { class: `toast ${kind}`, role: "status" }, text);
  document.body.append(held);
  setTimeout(() => held.remove(), 6000);
}
