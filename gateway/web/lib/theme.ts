import { effect, signal } from '@preact/signals';

export type Theme = 'auto' | 'light' | 'dark';

const key = 'pi-gateway-theme';
const dark = matchMedia('(prefers-color-scheme: dark)');
const systemDark = signal(dark.matches);

export const theme = signal<Theme>(stored());
/** Counts up when colours change: what is drawn on a canvas must be drawn anew. */
export const painted = signal(0);

function stored(): Theme {
  try {
    const value = localStorage.getItem(key);
    return value === 'light' || value === 'dark' ? value : 'auto';
  } catch {
    return 'auto';
  }
}

export function setTheme(next: Theme): void {
  theme.value = next;
  try {
    if (next === 'auto') localStorage.removeItem(key);
    else localStorage.setItem(key, next);
  } catch {
    // A browser that keeps nothing: the choice holds until the page is closed.
  }
}

export function startTheme(): void {
  dark.addEventListener('change', () => {
    systemDark.value = dark.matches;
  });
  effect(() => {
    const shown = theme.value === 'auto' ? (systemDark.value ? 'dark' : 'light') : theme.value;
    document.documentElement.setAttribute('data-theme', shown);
    painted.value = painted.peek() + 1;
  });
}
