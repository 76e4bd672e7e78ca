/// <reference lib="webworker" />

/** Names of the page's files and a digest of them: builder/overlay/assets.ts puts them in. */
declare const SHELL_FILES: readonly string[];
declare const SHELL_VERSION: string;

/**
 * Keeps the page itself, so that it opens while the gateway starts again. Answers of the API are never kept:
 * they may hold secrets, and an old one would pass for the present.
 */
const worker = self as unknown as ServiceWorkerGlobalScope;
const shell = `shell-${SHELL_VERSION}`;

worker.addEventListener('install', (event) => {
  event.waitUntil(
    caches
      .open(shell)
      .then((cache) =>
        cache.addAll(SHELL_FILES.map((file) => new Request(file, { cache: 'reload' }))),
      )
      .then(() => worker.skipWaiting()),
  );
});

worker.addEventListener('activate', (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) =>
        Promise.all(names.filter((name) => name !== shell).map((name) => caches.delete(name))),
      )
      .then(() => worker.clients.claim()),
  );
});

const scope = new URL('./', worker.location.href);
const kept = new Map(SHELL_FILES.map((file) => [new URL(file, scope).pathname, file]));

worker.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== 'GET' || url.origin !== scope.origin) return;
  const file = kept.get(url.pathname);
  if (file === undefined) return;
  event.respondWith(file === './' ? page(event.request) : keptFirst(event.request));
});

/** Milliseconds that a gateway on the network is waited for before the page of last time is shown. */
const patience = 3000;

/** The newest page if it can be had. */
async function page(request: Request): Promise<Response> {
  try {
    const response = await fetch(request, { signal: AbortSignal.timeout(patience) });
    if (response.status < 500) return response;
  } catch {
    // No gateway: the one of last time.
  }
  return (await caches.match('./')) ?? Response.error();
}

/** Names hold digests: what is kept is right. */
async function keptFirst(request: Request): Promise<Response> {
  return (await caches.match(request)) ?? fetch(request);
}
