// @ts-check
/** Chosen, dropped and pasted pictures, with previews. */

import { announce, byId, counted, h, size } from "./dom.js";

/** @typedef {{ file: File, url: string, why: string }} Picture */

/** A list of pictures that people choose; `single` keeps only the last one. */
export class Pictures {
  /** @param {string} view id of its view @param {{ single?: boolean, onchange: () => void }} options */
  constructor(view, { single = false, onchange }) {
    this.items = /** @type {Picture[]} */ ([]);
    this.single = single;
    this.onchange = onchange;
    this.list = byId(`${view}-pictures`);
    const input = byId(`${view}-files`);
    input.addEventListener("change", () => {
      this.add([...input.files]);
      input.value = "";
    });
  }
  /** Adds files, whatever their type: the server tells what it cannot read. @param {File[]} files */
  add(files) {
    if (!files.length) return;
    if (this.single) {
      this.release();
      files = files.slice(-1);
    }
    this.items.push(...files.map((file) => ({ file, url: URL.createObjectURL(file), why: "" })));
    announce(this.single ? `${files[0].name} is chosen.` : `${counted(this.items.length, "picture")} chosen.`);
    this.draw();
  }
  /** @param {Picture} item */
  remove(item) {
    const at = this.items.indexOf(item);
    this.items.splice(at, 1);
    URL.revokeObjectURL(item.url);
    announce(`${item.file.name} is removed.`);
    this.draw();
    const next = this.list.querySelectorAll("button")[Math.min(at, this.items.length - 1)];
    (next ?? this.list.parentElement.querySelector("input[type=file]"))?.focus();
  }
  clear() {
    this.release();
    this.draw();
  }
  release() {
    for (const { url } of this.items.splice(0)) URL.revokeObjectURL(url);
  }
  draw() {
    this.list.replaceChildren(...this.items.map((item) => this.entry(item)));
    this.onchange();
  }
  /** @param {Picture} item */
  entry(item) {
    const { name } = item.file;
    return h("li", {},
      preview(item, ""),
      h("span", { class: "name", title: name }, name),
      h("span", { class: "hint" }, size(item.file.size)),
      h("button", { type: "button", class: "remove", "aria-label": `Remove ${name}`,
        onclick: () => this.remove(item) }, "×"));
  }
}

/** The picture, or words where the browser cannot show its format. @param {Picture} item @param {string} alt */
export function preview(item, alt) {
  const image = h("img", { src: item.url, alt, decoding: "async" });
  image.addEventListener("error", () =>
    image.replaceWith(h("span", { class: "no-preview", title: "This browser cannot show it; it is sent all the same." }, "No preview")));
  return image;
}

/** The files of a drop, those in its folders included. @param {DataTransfer} data @returns {Promise<File[]>} */
export async function droppedFiles(data) {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry != null);
  if (!entries.some((entry) => entry.isDirectory)) return [...data.files];
  const files = /** @type {File[]} */ ([]);
  for (const entry of entries) await collect(entry, files);
  return files;
}

/** @param {any} entry @param {File[]} files @returns {Promise<void>} */
async function collect(entry, files) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    paths.set(file, entry.fullPath.replace(/^\//, ""));
    files.push(file);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const each of some) await collect(each, files);
  }
}

const paths = /** @type {WeakMap<File, string>} */ (new WeakMap());

/** A file's path with the name of the chosen folder; the file's name if it was chosen alone. @param {File} file */
export const pathOf = (file) => paths.get(file) || file.webkitRelativePath || file.name;
