// @ts-check
/** Elements, texts for people, and news for screen readers. */

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * A new element. Names that begin with `on` are listeners; false, null and undefined are left out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(.../** @type {(Node | string)[]} */ (children.filter((child) => child || child === "")));
  return element;
}

/**
 * The element with this id.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element #${id}`);
  return element;
}

/** Lets screen readers say a sentence. @param {string} text */
export function announce(text) {
  const live = byId("live");
  live.textContent = "";
  setTimeout(() => (live.textContent = text), 50);
}

/** @param {number} count @param {string} one @param {string} [many] */
export const counted = (count, one, many = one + "s") =>
  `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** A size for people. @param {number} bytes */
export function size(bytes) {
  if (bytes < 1024) return counted(bytes, "byte");
  const [value, unit] = bytes < 1024 ** 2 ? [bytes / 1024, "KiB"] : [bytes / 1024 ** 2, "MiB"];
  return `${value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en")} ${unit}`;
}

/** A share of 1 in percent, with enough digits for small ones. @param {number} share */
export function percent(share) {
  const value = share * 100;
  if (value > 0 && value < 0.01) return "< 0.01\u00a0%";
  return `${value.toFixed(value >= 10 || value === 0 ? 1 : 2)}\u00a0%`;
}

/** A cosine with its sign. @param {number} [value] */
export const cosine = (value = 0) => value.toFixed(3).replace("-", "−");

/** Options for a select. @param {HTMLSelectElement} select @param {[value: string, text: string][]} choices */
export function fill(select, choices) {
  const before = select.value;
  select.replaceChildren(...choices.map(([value, text]) => h("option", { value }, text)));
  if (choices.some(([value]) => value === before)) select.value = before;
}
