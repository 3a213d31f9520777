// @ts-check
/** Pictures of a collection: fetched with the token when they come into view, a few at a time. */

import { ApiError, call } from "./api.js";
import { h } from "./dom.js";

const AT_ONCE = 4;
const SIDE = 320;

/** The pictures of one answer. `close` stops the fetches and frees the memory. */
export class Thumbnails {
  /** @param {string} collection @param {boolean} kept whether the collection stores pictures */
  constructor(collection, kept) {
    this.collection = collection;
    this.kept = kept;
    this.stop = new AbortController();
    this.urls = /** @type {string[]} */ ([]);
    this.waiting = /** @type {HTMLElement[]} */ ([]);
    this.running = 0;
    this.watch = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        this.watch.unobserve(target);
        this.waiting.push(/** @type {HTMLElement} */ (target));
      }
      this.next();
    }, { rootMargin: "200px" });
  }
  /** A place for the picture of a point. @param {string} id */
  place(id) {
    const place = h("div", { class: "thumb", "data-id": id });
    if (this.kept) this.watch.observe(place);
    else place.append(h("span", { class: "no-preview" }, "This collection does not store pictures."));
    return place;
  }
  next() {
    while (this.running < AT_ONCE && this.waiting.length) {
      const place = /** @type {HTMLElement} */ (this.waiting.shift());
      this.running++;
      this.load(place).finally(() => {
        this.running--;
        this.next();
      });
    }
  }
  /** @param {HTMLElement} place */
  async load(place) {
    const id = place.dataset.id ?? "";
    const { signal } = this.stop;
    try {
      const { message } = await call("CollectionService/GetThumbnail",
        { collection: this.collection, id, maxSide: SIDE }, { signal, seconds: 30, tries: 4 });
      const bytes = Uint8Array.from(atob(message.jpeg ?? ""), (character) => character.charCodeAt(0));
      if (signal.aborted) return;
      const url = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
      this.urls.push(url);
      place.replaceChildren(h("img", { src: url, alt: id, width: message.width, height: message.height }));
    } catch (error) {
      if (signal.aborted) return;
      const words = error instanceof ApiError ? error.message : String(error);
      place.replaceChildren(h("span", { class: "no-preview" }, words));
    }
  }
  close() {
    this.stop.abort();
    this.watch.disconnect();
    this.waiting = [];
    for (const url of this.urls.splice(0)) URL.revokeObjectURL(url);
  }
}
