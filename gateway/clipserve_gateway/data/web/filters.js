// @ts-check
/** Conditions on payloads: rows of a form, the API's filters, and the text that the Python client reads. */

import { byId, h } from "./dom.js";

/** @typedef {import("./types").Filter} Filter */
/** @typedef {import("./types").PayloadField} Field */
/** @typedef {import("./types").Value} Value */

const EQUAL = /** @type {[string, string][]} */ ([["eq", "is"], ["ne", "is not"]]);
const RANGE = /** @type {[string, string][]} */ ([["gte", "is at least"], ["lte", "is at most"], ["gt", "is above"], ["lt", "is below"]]);
const OPERATORS = /** @type {Record<string, [string, string][]>} */ ({
  PAYLOAD_TYPE_STRING: EQUAL,
  PAYLOAD_TYPE_INT: [...EQUAL, ...RANGE],
  PAYLOAD_TYPE_DOUBLE: [...EQUAL, ...RANGE],
  PAYLOAD_TYPE_BOOL: [["eq", "is"]],
  PAYLOAD_TYPE_TIMESTAMP: [["gte", "is at or after"], ["lte", "is at or before"]],
  PAYLOAD_TYPE_STRING_LIST: [["eq", "contains"], ["ne", "does not contain"]],
});

/** Rows of conditions on the fields of one collection. */
export class Conditions {
  constructor() {
    this.fields = /** @type {Field[]} */ ([]);
    this.list = byId("conditions");
    byId("add-condition").addEventListener("click", () => this.add());
  }
  /** @param {Field[]} fields */
  use(fields) {
    const same = JSON.stringify(fields) === JSON.stringify(this.fields);
    this.fields = fields;
    byId("filter-hint").textContent = fields.length
      ? "Only pictures whose fields meet your conditions are searched."
      : "This collection has no fields to filter by.";
    byId("add-condition").hidden = !fields.length;
    if (!same) this.list.replaceChildren();
    this.draw();
  }
  draw() {
    byId("filter-join-field").hidden = this.list.children.length < 2;
  }
  add() {
    const field = h("select", { "aria-label": "Field", class: "where" },
      ...this.fields.map(({ name }) => h("option", { value: name }, name)));
    const operator = h("select", { "aria-label": "Comparison", class: "how" });
    const place = h("span", { class: "what" });
    const type = () => this.fields.find(({ name }) => name === field.value)?.type ?? "PAYLOAD_TYPE_STRING";
    const draw = () => {
      operator.replaceChildren(...OPERATORS[type()].map(([value, text]) => h("option", { value }, text)));
      place.replaceChildren(input(type()));
    };
    const row = h("li", { class: "row" }, field, operator, place,
      h("button", { type: "button", class: "remove", "aria-label": "Remove this condition", onclick: () => {
        row.remove();
        this.draw();
        byId("add-condition").focus();
      } }, "×"));
    field.addEventListener("change", draw);
    draw();
    this.list.append(row);
    this.draw();
    field.focus();
  }
  /** The filter of all rows; undefined without rows. @returns {Filter | undefined} */
  filter() {
    const filters = [...this.list.children].map((row) => {
      const name = row.querySelector(".where").value;
      const type = this.fields.find((field) => field.name === name)?.type ?? "PAYLOAD_TYPE_STRING";
      return condition(name, row.querySelector(".how").value, valueOf(type, row.querySelector(".what > *").value));
    });
    if (filters.length < 2) return filters[0];
    return byId("filter-join").value === "anyOf" ? { anyOf: { filters } } : { allOf: { filters } };
  }
}

/** @param {string} type */
function input(type) {
  const attributes = { "aria-label": "Value", required: true };
  if (type === "PAYLOAD_TYPE_BOOL")
    return h("select", attributes, h("option", { value: "true" }, "true"), h("option", { value: "false" }, "false"));
  if (type === "PAYLOAD_TYPE_INT") return h("input", { ...attributes, type: "number", step: "1" });
  if (type === "PAYLOAD_TYPE_DOUBLE") return h("input", { ...attributes, type: "number", step: "any" });
  if (type === "PAYLOAD_TYPE_TIMESTAMP") return h("input", { ...attributes, type: "datetime-local", step: "1" });
  return h("input", { ...attributes, type: "text" });
}

/** @param {string} type @param {string} text @returns {Value} */
export function valueOf(type, text) {
  if (type === "PAYLOAD_TYPE_INT") return { intValue: text };
  if (type === "PAYLOAD_TYPE_DOUBLE") return { doubleValue: Number(text) };
  if (type === "PAYLOAD_TYPE_BOOL") return { boolValue: text === "true" };
  if (type === "PAYLOAD_TYPE_TIMESTAMP") return { timestampValue: new Date(text).toISOString() };
  return { stringValue: text };
}

/** @param {string} field @param {string} operator @param {Value} value @returns {Filter} */
export function condition(field, operator, value) {
  if (operator === "eq") return { eq: { field, value } };
  if (operator === "ne") return { negation: { eq: { field, value } } };
  return { range: { field, [operator]: value } };
}

const SIGNS = /** @type {Record<string, string>} */ ({ gt: ">", gte: ">=", lt: "<", lte: "<=" });

/** A filter as the Python client reads it. @param {Filter} filter @returns {string} */
export function filterText(filter) {
  if (filter.allOf) return (filter.allOf.filters ?? []).map(filterText).join(" and ");
  if (filter.anyOf) return (filter.anyOf.filters ?? []).map(filterText).join(" or ");
  if (filter.negation) return `not (${filterText(filter.negation)})`;
  if (filter.eq) return `${filter.eq.field} == ${valueText(filter.eq.value ?? {})}`;
  const { field, ...bounds } = filter.range ?? {};
  return Object.entries(bounds).map(([sign, value]) => `${field} ${SIGNS[sign]} ${valueText(value)}`).join(" and ");
}

/** @param {Value} value */
function valueText(value) {
  if (value.timestampValue !== undefined) return `timestamp(${JSON.stringify(value.timestampValue)})`;
  if (value.intValue !== undefined) return String(value.intValue);
  if (value.doubleValue !== undefined) return Number.isInteger(value.doubleValue) ? `${value.doubleValue}.0` : String(value.doubleValue);
  return JSON.stringify(value.stringValue ?? value.boolValue);
}
