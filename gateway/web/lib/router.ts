import { computed, signal } from '@preact/signals';

/** Where the owner is: `#/vpn/phone?add=1` is the view `vpn` with `phone`. In the hash, so that the server needs no rules. */

export type Route = { view: string; rest: string[]; query: URLSearchParams };

export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#?\/?/, '').split('?', 2);
  const [view = '', ...rest] = path.split('/').filter(Boolean).map(decoded);
  return { view: view || 'overview', rest, query: new URLSearchParams(query) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function link(view: string, ...rest: string[]): string {
  return `#/${[view, ...rest].map(encodeURIComponent).join('/')}`;
}

const hash = signal('');
export const route = computed(() => parseRoute(hash.value));

export function startRouter(): void {
  const read = () => {
    hash.value = location.hash;
  };
  addEventListener('hashchange', read);
  read();
}

/** Goes to another view. @param replace leaves no step for the back button */
export function go(to: string, replace = false): void {
  if (replace) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  hash.value = location.hash;
}
