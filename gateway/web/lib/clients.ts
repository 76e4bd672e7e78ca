/** What the owner types about a VPN client, as the API takes it. */

const day = 86_400_000;
export const expiries = {
  never: 'Never',
  day: 'In a day',
  week: 'In a week',
  month: 'In 30 days',
  year: 'In a year',
  date: 'On a date…',
} as const;
export type Expiry = keyof typeof expiries;
const after: Partial<Record<Expiry, number>> = {
  day,
  week: 7 * day,
  month: 30 * day,
  year: 365 * day,
};

/** The moment that an expiry means; a date lasts to its end, by the reader's clock. */
export function expiryAt(expiry: Expiry, date: string, now: number): string | null {
  const span = after[expiry];
  if (span !== undefined) return new Date(now + span).toISOString();
  if (expiry !== 'date' || date === '') return null;
  return new Date(`${date}T23:59:59`).toISOString();
}

/** Addresses as people type lists of them. */
export const listed = (text: string): string[] => text.split(/[\s,;]+/).filter(Boolean);

/** What a client is called, made of what was typed. */
export const slug = (text: string): string =>
  text
    .normalize('NFD')
    .toLowerCase()
    .replace(/\p{M}/gu, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 32)
    .replace(/-$/, '');
