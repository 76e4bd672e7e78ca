import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { BuildError, exitCode, isErrno, messageOf } from '../errors.ts';
import { hostPath, run } from '../exec.ts';

/** What a registry is shown: a name and password, or a token that stands for both. */
export type Credentials =
  | { kind: 'password'; user: string; password: string }
  | { kind: 'token'; token: string };

/** config.json as `docker login` and `podman login` write it (docker-login(1)). */
const fileSchema = z.object({
  auths: z
    .record(
      z.string(),
      z.object({ auth: z.string().optional(), identitytoken: z.string().optional() }),
    )
    .default({}),
  credsStore: z.string().optional(),
  credHelpers: z.record(z.string(), z.string()).default({}),
});

/**
 * Credentials for a registry from the file that is given, else from Docker's config.json of who builds.
 * @returns undefined if there are none.
 * @throws BuildError if the file that is given cannot be read, or a helper program fails.
 */
export async function dockerCredentials(
  host: string,
  authFile: string | null,
): Promise<Credentials | undefined> {
  for (const path of authFile ? [authFile] : await usualFiles()) {
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (isErrno(error, 'ENOENT') && !authFile) return undefined;
      throw unreadable(path, error);
    });
    if (text === undefined) continue;
    return await find(text, path, host);
  }
  return undefined;
}

async function find(text: string, path: string, host: string): Promise<Credentials | undefined> {
  const parsed = fileSchema.safeParse(parse(text, path));
  if (!parsed.success) throw unreadable(path, parsed.error);
  const { auths, credHelpers, credsStore } = parsed.data;
  const entry = auths[host] ?? auths[`https://${host}`] ?? auths[`http://${host}`];
  const helper = credHelpers[host] ?? (entry && !entry.auth ? credsStore : undefined);
  if (helper) return await askHelper(helper, host);
  if (entry?.identitytoken) return { kind: 'token', token: entry.identitytoken };
  const pair = Buffer.from(entry?.auth ?? '', 'base64').toString();
  const colon = pair.indexOf(':');
  if (colon < 1) return undefined;
  return { kind: 'password', user: pair.slice(0, colon), password: pair.slice(colon + 1) };
}

function parse(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, that is, perhaps a password.
    throw unreadable(path, new Error('it is no JSON'));
  }
}

/** docker-credential-helpers: the host on standard input, JSON as the answer. */
async function askHelper(helper: string, host: string): Promise<Credentials | undefined> {
  if (!/^[\w-]+$/.test(helper)) return undefined;
  const { stdout } = await run(`docker-credential-${helper}`, ['get'], {
    // Helpers lie where docker does, which need not be where the system's programs are.
    env: { PATH: process.env.PATH ?? hostPath },
    input: host,
    timeout: 10_000,
  });
  const { Username, Secret } = z
    .object({ Username: z.string(), Secret: z.string() })
    .parse(JSON.parse(stdout));
  if (Username === '<token>') return { kind: 'token', token: Secret };
  return { kind: 'password', user: Username, password: Secret };
}

/** Builds run as root; through sudo, the file of who called it counts too. */
async function usualFiles(): Promise<string[]> {
  const folder = process.env.DOCKER_CONFIG;
  const homes = [homedir(), await callersHome()].filter((home) => home !== undefined);
  return [...(folder ? [folder] : []), ...homes.map((home) => join(home, '.docker'))].map((path) =>
    join(path, 'config.json'),
  );
}

async function callersHome(): Promise<string | undefined> {
  const uid = process.env.SUDO_UID;
  if (!uid) return undefined;
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  return lines.find((fields) => fields[2] === uid)?.[5];
}

function unreadable(path: string, cause: unknown): BuildError {
  return new BuildError({
    what: `The registry's credentials cannot be read: ${messageOf(cause)}`,
    where: path,
    fix: 'Make the file by `docker login` or `podman login --authfile`, or correct cache.auth_file',
    code: exitCode.usage,
    cause,
  });
}
