// Nodes without HTML: strings become text, so that no token can be markup.

const SVG = "http://www.w3.org/2000/svg";
/** What is set as a property: the attribute of this name is only where it begins. */
const PROPERTIES = new Set(["value", "checked", "indeterminate", "open", "selected"]);

/**
 * A node with its attributes and children.
 *
 * Attributes: `on…` with a function is a listener; `style` with an object goes through CSSOM (`{ width: "3px", "--shade": 0.5 }`);
 * true is an attribute without a value; false, null and undefined are no attribute, but an `aria-…` that is false says so.
 * A tag `svg:path` is a node of SVG. Children: nodes, texts, numbers and lists of them; null, undefined and false are none.
 * @param {string} tag
 * @param {Object<string, any> | null} [attributes]
 * @param {...any} children
 * @returns {HTMLElement & SVGElement}
 */
export function el(tag, attributes, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  // Children first: the value of a select is one of its options.
  put(node, children);
  set(node, attributes ?? {});
  return node;
}

/**
 * Sets attributes as `el` does; of an attribute that is false or null nothing stays.
 * @param {Element} node
 * @param {Object<string, any>} attributes
 */
export function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on") && typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (name === "style") restyle(node, value);
    else if (PROPERTIES.has(name)) node[name] = value ?? (name === "value" ? "" : false);
    else if (typeof value === "boolean" && name.startsWith("aria-")) node.setAttribute(name, String(value));
    else if (value === true) node.setAttribute(name, "");
    else if (value === false || value === null || value === undefined) node.removeAttribute(name);
    else node.setAttribute(name, String(value));
  }
}

function restyle(node, style) {
  for (const [name, value] of Object.entries(style ?? {})) {
    const text = value === null || value === undefined ? "" : String(value);
    if (name.includes("-")) node.style.setProperty(name, text);
    else node.style[name] = text;
  }
}

/**
 * Puts children behind those that are there.
 * @param {Node} node
 * @param {any} children
 */
export function put(node, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/**
 * Takes all children away, and puts others there if given.
 * @param {Element} node
 * @param {...any} children
 * @returns {Element} the node
 */
export function clear(node, ...children) {
  node.replaceChildren();
  put(node, children);
  return node;
}

/**
 * Whether a reader wants things to stay where they are.
 * @returns {boolean}
 */
export function still() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
