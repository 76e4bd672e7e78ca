/** What came of an attempt to register an address. */
export type Outcome =
  /** The provider says that the name has the address that was sent. */
  | { kind: 'updated' }
  /** It had it already. */
  | { kind: 'unchanged' }
  /**
   * Only the owner can mend it. Nothing more is sent until the provider's settings change, as the
   * providers demand; `record`: that holds for this family's record alone, not for the whole provider.
   */
  | { kind: 'stopped'; reason: string; fix: string; record?: boolean }
  /** Refused without a reason: perhaps the settings, perhaps the provider. Tried again, ever less often. */
  | { kind: 'refused'; reason: string; fix: string }
  /** A passing fault; `after`: seconds that the provider wants to be left alone. */
  | { kind: 'retry'; reason: string; after?: number };

export const stands = (outcome: Outcome): boolean =>
  outcome.kind === 'updated' || outcome.kind === 'unchanged';

const severity: readonly Outcome['kind'][] = [
  'unchanged',
  'updated',
  'retry',
  'refused',
  'stopped',
];

/** The outcome of several requests that stand or fall together: the worst. */
export function worst(outcomes: readonly Outcome[]): Outcome {
  const [first, ...rest] = outcomes;
  if (!first) return { kind: 'retry', reason: 'the provider answered nothing' };
  return rest.reduce(
    (so, next) => (severity.indexOf(next.kind) > severity.indexOf(so.kind) ? next : so),
    first,
  );
}

/** A documented answer of a provider and what comes of it; docs/ddns.md and the tests read it too. */
export type Answer = {
  /** As it may stand in a response, with 203.0.113.7-like placeholders: `ADDRESS` is what was sent, `OTHER` is not. */
  says: string;
  /** HTTP status that it comes with; 200 unless said. */
  status?: number;
  headers?: Readonly<Record<string, string>>;
  outcome: Outcome;
};
