// @ts-check
/** Calls of the API: JSON over the Connect protocol, to the server that this page came from. */

/** @typedef {import("./types").Methods} Methods */
/** @typedef {{ stage: string, ms: number }[]} Timing */
/**
 * @template T
 * @typedef {{ message: T, timing: Timing, ms: number }} Answer
 */

const LONGEST_PAUSE = 15_000;
let token = "";
/** Called when the server asks for a token. */
let onTokenNeeded = () => {};

/** Keeps the token in memory, and nowhere else. @param {string} value */
export const useToken = (value) => (token = value);
export const hasToken = () => token !== "";
/** @param {() => void} listener */
export const whenTokenNeeded = (listener) => (onTokenNeeded = listener);

const STATUS = /** @type {Record<number, string>} */ ({
  400: "invalid_argument", 401: "unauthenticated", 403: "permission_denied", 404: "unimplemented",
  408: "deadline_exceeded", 413: "resource_exhausted", 415: "internal", 429: "unavailable",
  502: "unavailable", 503: "unavailable", 504: "unavailable",
});
const TITLES = /** @type {Record<string, string>} */ ({
  already_exists: "It exists already",
  canceled: "It was stopped",
  deadline_exceeded: "It took too long",
  failed_precondition: "This is not possible now",
  invalid_argument: "The server does not accept this",
  not_found: "It is not there",
  permission_denied: "Your token does not allow this",
  resource_exhausted: "The server has no room for this now",
  unauthenticated: "The server asks for a token",
  unavailable: "The server cannot answer now",
  unimplemented: "This server cannot do this",
  unreachable: "The server cannot be reached",
});
const ADVICE = /** @type {Record<string, string>} */ ({
  deadline_exceeded: "Try fewer pictures or labels at a time, or try again when the server is less busy.",
  internal: "Try again. If it happens again, the server’s log has the reason.",
  permission_denied: "Use another token: the button is at the top.",
  resource_exhausted: "Wait a moment and try again.",
  unauthenticated: "Enter your token at the top of the page, then try again.",
  unavailable: "Wait a moment and try again. A model may still be loading.",
  unimplemented: "Its version may be older than this page, or a setting turns it off.",
  unreachable: "Check that it runs and that this computer is connected, then try again.",
});

/** Why a call failed, for people. */
export class ApiError extends Error {
  /**
   * @param {string} code of the Connect protocol, or `unreachable`
   * @param {string} message
   * @param {any[]} [details]
   * @param {string} [requestId]
   */
  constructor(code, message, details = [], requestId = "") {
    super(message);
    this.code = code;
    this.requestId = requestId;
    /** @param {string} type */
    const detail = (type) => details.find((each) => each?.type === `google.rpc.${type}`)?.debug ?? {};
    this.reason = /** @type {string} */ (detail("ErrorInfo").reason ?? "");
    this.fields = /** @type {string[]} */ (
      (detail("BadRequest").fieldViolations ?? []).map((/** @type {any} */ each) => each.field).filter(Boolean)
    );
    /** Milliseconds after which the server wants to be asked again; 0 if it says nothing. */
    this.retryMs = 1000 * parseFloat(detail("RetryInfo").retryDelay ?? "0");
  }
  get title() {
    return TITLES[this.code] ?? "Something went wrong";
  }
  get advice() {
    if (this.retryMs) return `Try again in ${Math.ceil(this.retryMs / 1000)} s.`;
    return ADVICE[this.code] ?? "";
  }
  /** Whether the same call may succeed later. */
  get passes() {
    return ["resource_exhausted", "unavailable", "unreachable"].includes(this.code) && this.reason !== "LIMIT_EXCEEDED";
  }
}

/**
 * Calls a method. Raises ApiError; an AbortError if `signal` stops it.
 * @template {keyof Methods} M
 * @param {M} method e.g. `ClipService/Classify`
 * @param {Methods[M][0]} request
 * @param {{ signal?: AbortSignal, seconds?: number, bulk?: boolean, tries?: number }} [options]
 * @returns {Promise<Answer<Methods[M][1]>>}
 */
export async function call(method, request, { signal, seconds = 120, bulk = false, tries = 1 } = {}) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(method, request, seconds, bulk, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || !error.passes || attempt >= tries) throw error;
      await pause(Math.max(error.retryMs, Math.min(500 * 2 ** attempt, LONGEST_PAUSE)), signal);
    }
  }
}

/**
 * @param {string} method @param {unknown} request @param {number} seconds @param {boolean} bulk
 * @param {AbortSignal} [signal]
 * @returns {Promise<Answer<any>>}
 */
async function once(method, request, seconds, bulk, signal) {
  const headers = /** @type {Record<string, string>} */ ({
    "Content-Type": "application/json",
    "Connect-Protocol-Version": "1",
    "Connect-Timeout-Ms": String(seconds * 1000),
  });
  if (token) headers.Authorization = `Bearer ${token}`;
  if (bulk) headers["X-Clipserve-Priority"] = "bulk";
  const begin = performance.now();
  let response, body;
  try {
    response = await fetch(`/clipserve.v1.${method}`, {
      method: "POST", headers, body: JSON.stringify(request), signal, cache: "no-store", credentials: "omit",
    });
    body = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("unreachable", "The connection failed.");
  }
  const id = response.headers.get("x-request-id") ?? "";
  let message;
  try {
    message = JSON.parse(body);
  } catch {
    message = null;
  }
  if (!response.ok || message === null) {
    const code = message?.code ?? STATUS[response.status] ?? "unknown";
    const words = message?.message ?? `The answer is HTTP ${response.status}, without a reason.`;
    if (code === "unauthenticated") onTokenNeeded();
    throw new ApiError(code, words, message?.details, id);
  }
  return { message, timing: stages(response.headers.get("clipserve-timing")), ms: performance.now() - begin };
}

/** Reads `decode;dur=1.5, encode;dur=12.0`. @param {string | null} header @returns {Timing} */
export function stages(header) {
  return [...(header ?? "").matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, stage, ms]) => ({ stage, ms: Number(ms) }));
}

/** @param {number} ms @param {AbortSignal} [signal] @returns {Promise<void>} */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/**
 * All items of a list call.
 * @param {"CollectionService/ListCollections" | "LabelSetService/ListLabelSets"} method
 * @param {string} field
 * @returns {Promise<any[]>}
 */
export async function all(method, field) {
  const items = [];
  let pageToken = "";
  do {
    const { message } = await call(method, { pageSize: 1000, pageToken }, { tries: 3 });
    items.push(...(/** @type {any} */ (message)[field] ?? []));
    pageToken = message.nextPageToken ?? "";
  } while (pageToken);
  return items;
}

/** The bytes of a file in base64. @param {Blob} file @returns {Promise<string>} */
export function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^[^,]*,/, ""));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

/** The limits of requests as numbers. @param {import("./types").GetServerInfoResponse} info */
export function limitsOf(info) {
  const limits = info.limits ?? {};
  return {
    items: Number(limits.maxItemsPerCall ?? 1),
    image: Number(limits.maxImageBytes ?? 0),
    // Room for all but the pictures: names, labels, payloads.
    json: Number(limits.maxJsonBytes ?? 2 ** 24) - 2 ** 17,
    topK: Number(limits.maxTopK ?? 100),
  };
}

/** Bytes of a file in base64. @param {number} bytes */
export const encoded = (bytes) => 4 * Math.ceil(bytes / 3);

/**
 * Why a picture cannot be sent; empty if it can.
 * @param {File} file @param {ReturnType<typeof limitsOf>} limits @param {(bytes: number) => string} size
 */
export function refusal(file, limits, size) {
  if (file.size === 0) return "The file is empty.";
  const most = Math.min(limits.image, Math.floor((limits.json * 3) / 4));
  if (file.size <= most) return "";
  const way = file.size <= limits.image ? " The Python client can send it." : " Save it smaller.";
  return `It has ${size(file.size)}; this page can send at most ${size(most)}.${way}`;
}

/**
 * Splits files into batches that fit into a request.
 * @template {{ file: File }} T
 * @param {T[]} items @param {ReturnType<typeof limitsOf>} limits @param {number} [most] items of a batch
 * @returns {T[][]}
 */
export function batches(items, limits, most = limits.items) {
  const result = /** @type {T[][]} */ ([]);
  let room = 0;
  for (const item of items) {
    const need = encoded(item.file.size) + 4096;
    const last = result.at(-1);
    if (last && need <= room && last.length < Math.min(most, limits.items)) {
      last.push(item);
      room -= need;
    } else {
      result.push([item]);
      room = limits.json - need;
    }
  }
  return result;
}
