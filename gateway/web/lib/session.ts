import { computed, effect, signal } from '@preact/signals';
import { type Answer, call, loggedOut, useCsrf } from './api.ts';

export type Me = Answer<'get', '/session'>;
export type Account = NonNullable<Me['account']>;

/** Who is logged in; undefined: not asked yet, or no answer. */
export const me = signal<Me | undefined>(undefined);
export const account = computed(() => me.value?.account ?? undefined);
/** Whether changes are offered; the API refuses them to a viewer anyway. */
export const mayChange = computed(() => account.value?.role === 'admin');

export function enter(next: Me): void {
  useCsrf(next.csrf);
  me.value = next;
}

/** @throws Problem */
export async function askWho(): Promise<void> {
  enter(await call('get', '/session'));
}

export async function logOut(): Promise<void> {
  await call('delete', '/session');
  enter({ account: null, csrf: null, claimed: true });
}

/** A session that has ended while the page was open. */
export function startSession(): void {
  effect(() => {
    if (loggedOut.value > 0 && me.peek()?.account)
      enter({ account: null, csrf: null, claimed: true });
  });
}
