import type { Outcome } from './outcome.ts';
import { providers } from './providers/all.ts';
import { commonAnswers } from './providers/provider.ts';
import { ddnsSettings } from './settings.ts';

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;

/** A response's text in a cell: without what surrounds the words in XML and JSON. */
function saying(text: string): string {
  const bare = text
    .replace(/^<\?xml.*?<Language>eng<\/Language>/, '… ')
    .replace('<Done>true</Done></interface-response>', ' …')
    .replace(/,"messages":\[\],"result":null/, '')
    .replaceAll('\n', ' ⏎ ')
    .replaceAll('|', '\\|');
  return bare === '' ? '(nothing)' : `\`${bare}\``;
}

const minutes = (seconds: number) => `${seconds / 60} min`;

function action(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'updated':
      return '**registered**';
    case 'unchanged':
      return '**registered**, as it was';
    case 'stopped':
      return `**stop**${outcome.record ? ' for this record' : ''}: ${outcome.reason} → ${outcome.fix}`;
    case 'refused':
      return `**three tries, then hourly**: ${outcome.reason} → ${outcome.fix}`;
    default:
      return `**later**${outcome.after === undefined ? '' : `, after ${minutes(outcome.after)} at least`}: ${outcome.reason}`;
  }
}

/** Every documented answer of every provider, and what we do, from the parsers' own tables. */
export function answerTables(): string {
  return Object.values(providers)
    .flatMap(({ label, answers }) => [
      `### ${label}`,
      '',
      row([label === 'RFC 2136' ? 'nsupdate says' : 'answer', 'HTTP', 'what we do']),
      row(['---', '---', '---']),
      ...answers.map(({ says, status = 200, outcome }) =>
        row([saying(says), label === 'RFC 2136' ? '' : String(status), action(outcome)]),
      ),
      '',
    ])
    .join('\n')
    .trimEnd();
}

/** What any web server may answer in a provider's place. */
export function commonTable(): string {
  return [
    row(['what', 'HTTP', 'what we do']),
    row(['---', '---', '---']),
    ...commonAnswers.map(({ when, status = 200, outcome }) =>
      row([when, String(status), action(outcome)]),
    ),
  ].join('\n');
}

/** The settings besides the providers, with what they are if nothing is said. */
export function settingTable(): string {
  const usual = ddnsSettings.parse({
    providers: [{ type: 'duckdns', hostnames: ['a.duckdns.org'], token: 'none' }],
  });
  const sections = (['address', 'timings'] as const).flatMap((name) =>
    Object.entries(ddnsSettings.shape[name].unwrap().shape).map(([key, field]) => {
      const value = (usual[name] as Record<string, unknown>)[key];
      const shown = Array.isArray(value)
        ? value.map((one) => (typeof one === 'object' ? one.name : one)).join(', ')
        : String(value ?? '');
      return row([`\`${name}.${key}\``, shown, field.description ?? '']);
    }),
  );
  return [row(['setting', 'unless said', 'what']), row(['---', '---', '---']), ...sections].join(
    '\n',
  );
}
