// How the page talks to the server.

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
  const answer = await fetch(path, options);
  const content = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw problem(answer.status, content);
  return content;
}

// Sends a file and returns its image. By XMLHttpRequest, because fetch does not tell how much was sent.
export function sendFile(path, file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${path}?name=${encodeURIComponent(file.name)}`);
    request.responseType = "json";
    request.setRequestHeader("Idempotency-Key", newKey());
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => onProgress(event.loaded / Math.max(event.total, 1));
    request.onerror = () => reject(new Error("the connection broke"));
    request.onload = () =>
      request.status === 201 ? resolve(request.response) : reject(problem(request.status, request.response));
    request.send(file);
  });
}

function problem(status, content) {
  const error = new Error(content?.detail ?? content?.title ?? `the server answered ${status}`);
  return Object.assign(error, { status });
}
