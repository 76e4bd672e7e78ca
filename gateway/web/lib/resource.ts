import { batch, type Signal, signal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { Problem } from './api.ts';
import { changed } from './live.ts';

/** An answer of the API that is shown, kept until the page is closed so that a view opens with the last one. */
export type Resource<T> = {
  data: Signal<T | undefined>;
  problem: Signal<Problem | undefined>;
  reload(): Promise<void>;
};

const resources = new Map<string, Resource<unknown>>();

/** Forgets all answers: another account sees other things. */
export function forgetAll(): void {
  resources.clear();
}

/** The resource of a key; `load` is that of the first who asks. A second load joins the one under way. */
export function resource<T>(key: string, load: () => Promise<T>): Resource<T> {
  const known = resources.get(key) as Resource<T> | undefined;
  if (known) return known;
  const data = signal<T | undefined>(undefined);
  const problem = signal<Problem | undefined>(undefined);
  let running: Promise<void> | undefined;
  let again = false;
  const once = async () => {
    do {
      again = false;
      try {
        const answer = await load();
        batch(() => {
          data.value = answer;
          problem.value = undefined;
        });
      } catch (error) {
        problem.value = error instanceof Problem ? error : new Problem(String(error));
      }
    } while (again);
    running = undefined;
  };
  const made: Resource<T> = {
    data,
    problem,
    // What changed while an answer was on its way is not in it: once more, then.
    reload: () => {
      if (running) again = true;
      running ??= once();
      return running;
    },
  };
  resources.set(key, made as Resource<unknown>);
  return made;
}

/**
 * @param every seconds between two loads while the page is in sight; may depend on the last answer
 * @param area of whose changes the stream of events tells: then it is loaded anew
 */
export function useResource<T>(
  key: string,
  load: () => Promise<T>,
  o: { every?: number | ((last: T | undefined) => number); area?: string } = {},
): Resource<T> {
  const made = useMemo(() => resource(key, load), [key]);
  const { area } = o;
  const every = typeof o.every === 'function' ? o.every(made.data.value) : o.every;
  useEffect(() => {
    void made.reload();
    const visible = () => {
      if (document.visibilityState === 'visible') void made.reload();
    };
    document.addEventListener('visibilitychange', visible);
    const timer = every === undefined ? undefined : setInterval(visible, every * 1000);
    const end =
      area === undefined
        ? undefined
        : changed.subscribe((areas) => {
            if (areas.has(area) || areas.has('*')) void made.reload();
          });
    return () => {
      document.removeEventListener('visibilitychange', visible);
      clearInterval(timer);
      end?.();
    };
  }, [made, every, area]);
  return made;
}
