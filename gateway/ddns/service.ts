import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { readIfThere, writeDurably } from '../../firstboot/system.ts';
import { discover, type Network } from './discover/discover.ts';
import type { Verdict } from './discover/votes.ts';
import { fetchHttps } from './http.ts';
import type { Context } from './providers/provider.ts';
import { register, type World } from './run.ts';
import { type DdnsSettings, ddnsSettings, type ProviderSettings } from './settings.ts';
import { readState, saver } from './state.ts';
import { conclude } from './status.ts';
import { alertText, type DdnsStatus } from './view.ts';

/** Where a run finds and leaves its files. */
export type Places = { settings: string; state: string; runtime: string };

export type ServiceOptions = {
  places: Places;
  say(text: string): void;
  network?: Network;
  /** Milliseconds to wait for an address, as right after boot there is none. */
  patience?: number;
  /** Milliseconds between two looks for an address while there is none. */
  pause?: number;
  now?: () => number;
  random?: () => number;
  uptime?: () => number;
};

/** @throws Error that names the key and what it must be, never its value. */
export function parseDdnsSettings(text: string): DdnsSettings {
  const document = parseDocument(text.replace(/^\uFEFF/, ''), {
    prettyErrors: false,
    // Its warnings quote keys, which may hold a token, and go to the journal.
    logLevel: 'error',
  });
  const [problem] = document.errors;
  // The parser's messages quote the line, which may hold a token: the place is enough.
  if (problem) throw new Error(`ddns settings: no YAML (${problem.code} at ${problem.pos[0]})`);
  let data: unknown;
  try {
    data = document.toJS({ maxAliasCount: 0 });
  } catch {
    throw new Error('ddns settings: aliases are not allowed');
  }
  const parsed = ddnsSettings.safeParse(data);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  // An unknown key is not named: without the blank in `token: …` it is the token.
  const message =
    issue?.code === 'unrecognized_keys'
      ? 'has a key that is none of its own; each is `key: value`, with a blank'
      : (issue?.message ?? 'is wrong');
  throw new Error(`ddns settings: ${issue?.path.join('.') || 'the file'}: ${message}`);
}

/** One run: finds the addresses, registers what is due, and tells the rest of the device. */
export async function runService(options: ServiceOptions): Promise<DdnsStatus> {
  const { places, say, now = Date.now, random = Math.random } = options;
  const text = (await readIfThere(places.settings)) ?? '';
  const settings = parseDdnsSettings(text);
  const state = await readState(places.state, now());
  if (state.quietUntil !== undefined && state.quietUntil > now())
    say(
      'The record of earlier updates is damaged; it begins anew, and nothing is sent for 5 minutes',
    );
  const timeout = settings.timings.timeout_seconds * 1000;
  const verdicts = await findAddresses(settings, timeout, options);
  const save = saver(places.state);
  const worldOf = (provider: ProviderSettings): World => {
    const ca = 'ca' in provider ? provider.ca : undefined;
    return {
      now,
      random,
      say,
      save,
      run: runProgram,
      exchange: (request) => fetchHttps(request, { ca, timeout, lookup: options.network?.lookup }),
    };
  };
  const entries = await register(settings, verdicts, state, worldOf);
  const status = conclude(
    entries,
    verdicts,
    settings.timings,
    state,
    now(),
    (options.uptime ?? (() => uptime() * 1000))(),
  );
  await save(state);
  await publish(places, status, say);
  return status;
}

async function findAddresses(
  settings: DdnsSettings,
  timeout: number,
  { network, patience = 0, pause = 10_000, say }: ServiceOptions,
): Promise<Verdict[]> {
  let verdicts = await discover(settings.address, timeout, network);
  let waited = 0;
  while (verdicts.every((verdict) => verdict.address === undefined) && waited < patience) {
    if (waited === 0) say('No public address yet; waiting for the network');
    await new Promise((resolve) => setTimeout(resolve, pause));
    waited += pause;
    verdicts = await discover(settings.address, timeout, network);
  }
  return verdicts;
}

/** Runs a program as {@link Context} says; 127 is the code of one that is not there, as in sh(1). */
export const runProgram: Context['run'] = (command, args, input) =>
  new Promise((resolve) => {
    const child = execFile(
      command,
      [...args],
      { timeout: 120_000, env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' } },
      (error, stdout, stderr) => {
        const missing = (error as NodeJS.ErrnoException | null)?.code === 'ENOENT';
        const code = !error ? 0 : missing ? 127 : typeof error.code === 'number' ? error.code : 1;
        resolve({ code, output: `${stdout}\n${stderr}` });
      },
    );
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });

/** Tells the CLI and the alerts; the journal only what is new. */
async function publish(
  { runtime }: Places,
  status: DdnsStatus,
  say: (text: string) => void,
): Promise<void> {
  await mkdir(runtime, { recursive: true });
  const path = join(runtime, 'status.json');
  const before = parseStatus(await readIfThere(path));
  const known = new Set(before ? told(before) : []);
  for (const line of told(status)) if (!known.has(line)) say(line);
  await writeDurably(path, `${JSON.stringify(status)}\n`, 0o644);
  const alert = alertText(status);
  await writeDurably(join(runtime, 'alert'), alert === '' ? '' : `${alert}\n`, 0o644);
}

const told = (status: DdnsStatus) => [
  status.summary,
  ...status.addresses.flatMap((one) => one.notes),
];

function parseStatus(text: string | undefined): DdnsStatus | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as DdnsStatus);
  } catch {
    return undefined;
  }
}

/** For the CLI, when the settings themselves are the problem. */
export async function publishError(places: Places, message: string): Promise<void> {
  await mkdir(places.runtime, { recursive: true });
  const status: DdnsStatus = {
    checked_at: new Date().toISOString(),
    state: 'error',
    registered: false,
    failed: true,
    summary: message,
    active: null,
    addresses: [],
    providers: [],
  };
  await writeDurably(join(places.runtime, 'status.json'), `${JSON.stringify(status)}\n`, 0o644);
  await writeDurably(join(places.runtime, 'alert'), `${message}\n`, 0o644);
}
