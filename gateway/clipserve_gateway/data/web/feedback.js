// @ts-check
/** What every view tells after a call: its error, or how it was done. */

import { ApiError } from "./api.js";
import { h } from "./dom.js";

/** Path of this page's files. */
export const web = new URL(".", import.meta.url).pathname.replace(/\/$/, "");

/**
 * Shows an error: the server's words, the field, and what to do.
 * @param {HTMLElement} place @param {unknown} error
 * @param {Record<string, string>} [inputs] ids of inputs by the field that they fill
 */
export function showError(place, error, inputs = {}) {
  place.querySelectorAll(":scope > .error").forEach((old) => old.remove());
  const known = error instanceof ApiError ? error : new ApiError("internal", String(error));
  const parts = [h("strong", {}, known.title), h("span", {}, known.message)];
  const field = known.fields[0];
  if (field) {
    const key = Object.keys(inputs).find((name) => field.includes(name));
    const input = key && document.getElementById(inputs[key]);
    parts.push(h("span", { class: "hint" }, "Field: ", h("code", {}, field)));
    if (input)
      parts.push(h("button", { type: "button", class: "quiet", onclick: () => {
        const details = input.closest("details");
        if (details) details.open = true;
        input.focus();
      } }, "Go to the field"));
  }
  if (known.advice) parts.push(h("span", {}, known.advice));
  if (known.requestId) parts.push(h("span", { class: "hint" }, `Request ${known.requestId}`));
  place.append(h("div", { class: "error", role: "alert" }, ...parts));
}

/**
 * A panel with the time of each stage, and the same call for curl and Python.
 * @param {import("./how.js").Done} done
 */
export async function explain(done) {
  return (await import("./how.js")).panel(done);
}
