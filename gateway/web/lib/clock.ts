import { signal } from '@preact/signals';

/** Ticks each 5 s while the page is in sight: relative times read it. */
export const now = signal(Date.now());

export function startClock(): void {
  const tick = () => {
    if (document.visibilityState === 'visible') now.value = Date.now();
  };
  setInterval(tick, 5000);
  document.addEventListener('visibilitychange', tick);
}
