// How the page talks to the server.

const TRIES_MAX = 8; // of a request that was refused because it was one too many for the moment

// Sends until the answer is another than 429, or it was refused too often. Refused requests had no effect.
async function patiently(send) {
  for (let tries = 1; ; tries++) {
    const answer = await send();
    if (answer.status !== 429 || tries === TRIES_MAX) return answer;
    const seconds = Number(answer.headers.get("Retry-After")) || 1;
    await new Promise((resolve) => setTimeout(resolve, 1_000 * seconds));
  }
}

// A random key under which a request may be repeated. Works over plain http too, where crypto.randomUUID does not exist.
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The JSON of an answer; a failure is an Error with the problem's own words and its status.
export async function call(method, path, body, headers = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const answer = await patiently(() => fetch(path, options));
  const content = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw problem(answer.status, content);
  return content;
}

// Sends a file and returns its image.
export async function sendFile(path, file, onProgress) {
  const key = newKey();
  const answer = await patiently(() => sendOnce(path, file, key, onProgress));
  if (answer.status !== 201) throw problem(answer.status, answer.content);
  return answer.content;
}

// By XMLHttpRequest, because fetch does not tell how much was sent.
function sendOnce(path, file, key, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${path}?name=${encodeURIComponent(file.name)}`);
    request.responseType = "json";
    request.setRequestHeader("Idempotency-Key", key);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => onProgress(event.loaded / Math.max(event.total, 1));
    request.onerror = () => reject(new Error("the connection broke"));
    request.onload = () => {
      const headers = { get: (name) => request.getResponseHeader(name) };
      resolve({ status: request.status, content: request.response, headers });
    };
    request.send(file);
  });
}

function problem(status, content) {
  const error = new Error(content?.detail ?? content?.title ?? `the server answered ${status}`);
  return Object.assign(error, { status });
}
