// @ts-check
/** How a call was done: the time of each stage, and the same call for curl and Python. */

import { hasToken } from "./api.js";
import { announce, h } from "./dom.js";
import { filterText } from "./filters.js";

/**
 * @typedef {object} Done
 * @property {"classify" | "search" | "upsert"} kind
 * @property {import("./api.js").Timing} timing
 * @property {number} ms from the request to the answer, as the browser sees it
 * @property {any} request the request, without the contents of pictures
 * @property {string[]} files names of its pictures, in order
 */

const METHODS = { classify: "ClipService/Classify", search: "ClipService/Search", upsert: "CollectionService/UpsertPoints" };
const STAGES = /** @type {Record<string, string>} */ ({
  receive: "receive the request", decode: "decode the pictures", tokenize: "split the texts", encode: "run the model",
  score: "compare", search: "find the nearest", index: "read or write the collection",
});

/** The panel. @param {Done} done */
export function panel(done) {
  const number = (/** @type {number} */ ms) => (ms < 10 ? ms.toFixed(1) : String(Math.round(ms)));
  const times = done.timing.map(({ stage, ms }) =>
    h("li", {}, `${STAGES[stage] ?? stage} `, h("strong", {}, `${number(ms)} ms`)));
  return h("details", { class: "how card" },
    h("summary", {}, `How this was done (${number(done.ms)} ms)`),
    h("h3", {}, "Time"),
    h("p", { class: "hint" }, "Stages on the server; some run side by side. "
      + "“Run the model” adds up the times of pictures and of texts. The rest is the way there and back."),
    h("ul", { class: "stages" }, ...times),
    snippet("The same with curl", curl(done)),
    snippet("The same with Python", python(done)));
}

/** @param {string} title @param {string} code */
function snippet(title, code) {
  const button = h("button", { type: "button", class: "quiet", "aria-label": `Copy: ${title}`, onclick: async () => {
    try {
      await navigator.clipboard.writeText(code);
      button.textContent = "Copied";
      button.removeAttribute("aria-label");
      announce("Copied.");
    } catch {
      const range = document.createRange();
      range.selectNodeContents(block);
      getSelection()?.removeAllRanges();
      getSelection()?.addRange(range);
      button.textContent = "Press Ctrl+C";
      button.removeAttribute("aria-label");
      announce("The text is selected: press Control and C.");
    }
  } }, "Copy");
  const block = h("pre", { tabindex: "0", role: "region", "aria-label": title }, h("code", {}, code));
  return h("div", { class: "snippet" }, h("div", { class: "row" }, h("h3", {}, title), button), block);
}

const CONTROL = /[\u0000-\u001f\u007f]/g;

/** A word of a shell. A line feed as it is would end the document that the shell reads. @param {string} text */
const quoted = (text) => text.search(CONTROL) < 0
  ? `'${text.replaceAll("'", "'\\''")}'`
  : `$'${text.replace(/[\\']/g, "\\$&").replace(CONTROL, (sign) => `\\x${sign.charCodeAt(0).toString(16).padStart(2, "0")}`)}'`;

/** The call as a shell command. Pictures are read from files of these names. @param {Done} done */
export function curl({ kind, request, files }) {
  // A mark that no text of the request contains.
  const mark = `@${crypto.getRandomValues(new Uint32Array(2)).join("")}@`;
  const body = JSON.stringify(withPictures(kind, request, files.map((_, i) => `${mark}${i}${mark}`)), null, 2)
    .replace(/[\\$`]/g, "\\$&")
    .replace(new RegExp(`${mark}(\\d+)${mark}`, "g"), (_, i) => `$(base64 < ${quoted(files[Number(i)])} | tr -d '\\n')`);
  return [
    `curl -sS ${quoted(`${location.origin}/clipserve.v1.${METHODS[kind]}`)} \\`,
    ...(hasToken() ? [`  -H "Authorization: Bearer $CLIPSERVE_TOKEN" \\`] : []),
    `  -H 'Content-Type: application/json' --data-binary @- <<JSON`, body, "JSON",
  ].join("\n");
}

/** The request with its pictures. @param {string} kind @param {any} request @param {string[]} contents */
function withPictures(kind, request, contents) {
  const rest = [...contents];
  const image = () => ({ content: rest.shift() });
  if (kind === "classify") return { ...request, images: contents.map(image) };
  if (kind === "upsert") return { ...request, points: request.points.map((/** @type {any} */ point) => ({ ...point, image: image() })) };
  if (request.image) return { ...request, image: image() };
  if (!request.weighted) return request;
  const parts = request.weighted.parts.map((/** @type {any} */ part) => (part.image ? { ...part, image: image() } : part));
  return { ...request, weighted: { parts } };
}

/** A literal of Python. @param {any} value @returns {string} */
function literal(value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  return JSON.stringify(value);
}

/** The call with the Python client. @param {Done} done */
export function python({ kind, request, files }) {
  const options = [literal(`${location.hostname}:8600`)];
  if (location.protocol === "https:") options.push("tls=True");
  if (hasToken()) options.push('token=os.environ["CLIPSERVE_TOKEN"]');
  const head = [...(hasToken() ? ["import os", ""] : []), "import clipserve", "",
    "# The gRPC port; 8600 unless a setting changes it.", `client = clipserve.Client(${options.join(", ")})`];
  const body = { classify: classifyLines, search: searchLines, upsert: upsertLines }[kind](request, files);
  return [...head, ...body].join("\n");
}

/** @param {string} name @param {string[]} words */
const called = (name, words) => [`${name}(`, ...words.map((word) => `    ${word},`), ")"];

/** @param {any} request @param {string[]} files */
function classifyLines(request, files) {
  const words = [literal(files)];
  const { labels, labelSet } = request;
  if (labelSet) words.push(`label_set=${literal(labelSet.name)}`);
  else if (labels.noneOfTheAbove) {
    const parts = [`names=tuple(${literal(labels.names)})`];
    if (labels.templates) parts.push(`templates=tuple(${literal(labels.templates)})`);
    words.push(`clipserve.LabelSet(${parts.join(", ")}, none_of_the_above=clipserve.NoneOfTheAbove())`);
  } else {
    words.push(literal(labels.names));
    if (labels.templates) words.push(`templates=${literal(labels.templates)}`);
  }
  words.push(`top_k=${request.topK}`);
  if (request.scoreMode) words.push(`mode=${literal(request.scoreMode.replace("SCORE_MODE_", "").toLowerCase())}`);
  if (request.model) words.push(`model=${literal(request.model)}`);
  words.push('on_error="return"');
  return [...called("result = client.classify", words),
    "for picture in result:",
    "    if picture.error:",
    "        print(picture.error)",
    "    for score in picture.scores:",
    "        print(score.label, score.probability, score.cosine)"];
}

/** @param {any} request @param {string[]} files */
function searchLines(request, files) {
  const rest = [...files];
  /** @param {any} part */
  const query = (part) =>
    part.text !== undefined ? `text=${literal(part.text)}` : part.image ? `image=${literal(rest.shift())}` : `like=${literal(part.like)}`;
  const words = [literal(request.collection)];
  if (request.weighted) {
    const parts = request.weighted.parts.map((/** @type {any} */ part) => `clipserve.Weighted(${part.weight}, ${query(part)})`);
    words.push(`weighted=[${parts.join(", ")}]`);
  } else words.push(query(request));
  words.push(`top_k=${request.topK}`);
  if (request.filter) words.push(`filter=${literal(filterText(request.filter))}`);
  if (request.groupDuplicates) words.push("group_duplicates=True");
  return [...called("result = client.search", words), "for hit in result:", "    print(hit.id, hit.score, hit.percentile)"];
}

/** @param {any} request @param {string[]} files */
function upsertLines(request, files) {
  const points = request.points.map((/** @type {any} */ point, /** @type {number} */ i) =>
    `    clipserve.Point(${literal(point.id)}, image=${literal(files[i])}),`);
  return ["points = [", ...points, "]",
    `result = client.upsert(${literal(request.collection)}, points, on_error="return")`,
    "print(result.written)",
    "for i, error in result.errors.items():",
    "    print(points[i].id, error)"];
}
