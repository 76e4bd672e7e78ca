import * as z from 'zod';
import { GatewayError } from '../errors.ts';
import type { ProgramOptions, Ran, RunProgram } from './run-program.ts';

/** One repository, as restic is told of it: the secrets are in files that root alone reads. */
export type Repository = {
  /** Name of the target. */
  name: string;
  /** For people, without secrets: `sftp:attic@nas:/backups`. */
  location: string;
  args: readonly string[];
  env: Record<string, string>;
};

/**
 * absent: there is no repository; password: it has another one; locked: somebody works with it; full: no room;
 * unreachable: the server does not answer; refused: it does not let us in; damaged: data is not what was
 * written; other: the rest.
 */
export type ResticTrouble =
  | 'absent'
  | 'password'
  | 'locked'
  | 'full'
  | 'unreachable'
  | 'refused'
  | 'damaged'
  | 'other';

export class ResticError extends GatewayError {
  readonly trouble: ResticTrouble;

  constructor(trouble: ResticTrouble, message: string, fix: string) {
    super(message, fix);
    this.name = 'ResticError';
    this.trouble = trouble;
  }
}

/** Exit codes since restic 0.17 (manual, "Exit codes"); before, all failures were 1 and the words tell. */
const codes: Readonly<Record<number, ResticTrouble>> = {
  10: 'absent',
  11: 'locked',
  12: 'password',
};

const words: readonly (readonly [ResticTrouble, RegExp])[] = [
  [
    'full',
    /no space left on device|disk quota exceeded|EDQUOT|QuotaExceeded|storage_cap_exceeded/i,
  ],
  ['password', /wrong password or no key found/i],
  ['locked', /repository is already locked|unable to create lock in backend/i],
  [
    'refused',
    /permission denied|access denied|AccessDenied|InvalidAccessKeyId|access key|SignatureDoesNotMatch|request signature|403 Forbidden|host key verification failed|remote host identification has changed|authentication failed|logon failure/i,
  ],
  [
    'unreachable',
    /connection refused|connection reset|connection timed out|no route to host|network is unreachable|no such host|could not resolve|i\/o timeout|context deadline exceeded|TLS handshake|certificate|unexpected EOF|ssh command exited|connection closed by|temporary failure in name resolution/i,
  ],
  [
    'damaged',
    /ciphertext verification failed|does not match id|hash mismatch|pack .* (damaged|contains|invalid|not)|invalid data returned|unexpected (pack|blob)|wrong data returned|repository contains errors|load.*(returned error|invalid)|decrypt|blob .* not found|id .* not found in repository|unexpected end of JSON|size .* (mismatch|does not match)/i,
  ],
];

/** What went wrong, by exit code and words. */
export function troubleOf({ code, stderr }: Pick<Ran, 'code' | 'stderr'>): ResticTrouble {
  const known = codes[code];
  if (known) return known;
  const found = words.find(([, form]) => form.test(stderr))?.[0];
  if (/specified bucket does not exist/i.test(stderr)) return 'absent';
  const isAbsent =
    /Is there a repository at the following location/.test(stderr) &&
    /no such file or directory|file does not exist|key does not exist|bucket does not exist|NoSuchKey|NoSuchBucket/i.test(
      stderr,
    );
  return isAbsent && (found === undefined || found === 'damaged') ? 'absent' : (found ?? 'other');
}

/**
 * What restic 0.18 says again and again for a quarter of an hour, and what another try within it does not change: the
 * next is within the hour.
 */
const final =
  /specified bucket does not exist|access ?denied|access key|signature|connection refused|no such host|no route to host|network is unreachable/i;

const fixes: Readonly<Record<ResticTrouble, (name: string) => string>> = {
  absent: (name) =>
    `Look whether the folder is still there; to begin with an empty one: sudo pi-gateway backup init ${name}`,
  password: (name) =>
    `The repository was made with another password; give the target another folder, or put that password into /etc/pi-gateway/backup/password (then: sudo pi-gateway backup check ${name})`,
  locked: () => 'Wait for the end of what works with it, then try again',
  full: () => 'Make room there, or keep fewer backups: settings backup.keep',
  unreachable: () =>
    'Look whether the server is on and its address right; the next try is within the hour',
  refused: (name) =>
    `Look at the user, the rights and the keys of target ${name}; for SFTP the server needs the key of: sudo pi-gateway backup key`,
  damaged: (name) =>
    `See what is damaged: sudo pi-gateway backup check ${name}; docs/backups.md says what to do then`,
  other: (name) =>
    `See sudo journalctl -u 'pi-gateway-backup@*'; and try: sudo pi-gateway backup check ${name}`,
};

/** The words of restic that say why, on one line; it never prints a secret, as it is given none on its command line. */
export function reasonOf(stderr: string): string {
  const lines = stderr.split('\n').flatMap((line) => {
    const text = messageOf(line).trim();
    return text === '' || /^(Is there a repository|please note)/i.test(text) ? [] : [text];
  });
  const fatal = lines.findLast((line) => /^(Fatal|panic):/.test(line));
  const last = (fatal ?? lines.at(-1) ?? 'restic said nothing').replace(/^Fatal: /, '');
  return last.slice(0, 400);
}

function messageOf(line: string): string {
  if (!line.startsWith('{')) return line;
  try {
    const said = JSON.parse(line) as {
      message?: string;
      error?: { message?: string };
      item?: string;
    };
    const text = said.message ?? said.error?.message ?? '';
    // restic 0.18 puts all it would have said in lines of their own into one message.
    return (text.split('\n')[0] ?? '') + (said.item ? ` (${said.item})` : '');
  } catch {
    return line;
  }
}

/** What a program of a backup has died of, for people. */
export function troubleWith(
  { name, location }: Pick<Repository, 'name' | 'location'>,
  ran: Pick<Ran, 'code' | 'stderr'>,
  what = 'restic',
): ResticError {
  const trouble = troubleOf(ran);
  const reason =
    ran.code === -1 && ran.stderr === ''
      ? `${what} was killed, or is not there`
      : reasonOf(ran.stderr);
  const full = trouble === 'full' ? 'there is no room left: ' : '';
  return new ResticError(trouble, `${name} (${location}): ${full}${reason}`, fixes[trouble](name));
}

export const snapshot = z.object({
  id: z.string().regex(/^[0-9a-f]{64}$/),
  time: z.string(),
  hostname: z.string().default(''),
  tags: z.array(z.string()).nullish(),
});
export type Snapshot = z.output<typeof snapshot>;

/** Tells our snapshots from others that somebody has put into the same repository. */
export const tag = 'pi-gateway';

export type BackupSummary = { snapshot: string; files: number; bytes: number; added: number };

/** restic(1) on one repository. */
export class Restic {
  readonly repository: Repository;
  readonly #run: RunProgram;

  constructor(repository: Repository, run: RunProgram) {
    this.repository = repository;
    this.#run = run;
  }

  /** Any exit code is a result. */
  async try(args: readonly string[], options: ProgramOptions = {}): Promise<Ran> {
    const run = () =>
      this.#run('restic', [...this.repository.args, ...args], {
        ...options,
        // Few lines of progress, and a garbage collector that spares memory: a Pi 3 has 1 GB.
        env: { GOGC: '20', RESTIC_PROGRESS_FPS: '0.1', ...this.repository.env },
      });
    let ran = await run();
    // Nothing was done yet: a busy server now and then ends a session that has just begun.
    for (
      let again = 0;
      again < 2 && /unable to start the sftp session/.test(ran.stderr);
      again += 1
    ) {
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      ran = await run();
    }
    return ran;
  }

  /** @throws ResticError unless it ends well. */
  async run(args: readonly string[], options: ProgramOptions = {}): Promise<Ran> {
    const ran = await this.try(args, options);
    if (ran.code !== 0) throw this.error(ran);
    return ran;
  }

  error(ran: Ran, what = 'restic'): ResticError {
    return troubleWith(this.repository, ran, what);
  }

  /** The repository's own id; undefined if there is none. @throws ResticError for all else. */
  async id(): Promise<string | undefined> {
    const ran = await this.try(['cat', 'config', '--no-lock'], {
      timeout: 120_000,
      stopWhen: final,
    });
    if (ran.code !== 0 && troubleOf(ran) === 'absent') return undefined;
    if (ran.code !== 0) throw this.error(ran);
    return (JSON.parse(ran.stdout) as { id: string }).id;
  }

  async init(): Promise<void> {
    await this.run(['init']);
  }

  /**
   * Removes locks that nobody holds. Ours alone work at one time with it from this device (flock(1) in the unit), so
   * a lock of this host is one that a power cut or a kill has left, whatever process has its number now.
   */
  async unlock(host: string): Promise<void> {
    const locks = async () =>
      (await this.run(['list', 'locks', '--no-lock'])).stdout.match(/^[0-9a-f]{64}$/gm) ?? [];
    if ((await locks()).length === 0) return;
    // Locks of dead processes and old ones.
    await this.run(['unlock']);
    const left = await locks();
    const holders = await Promise.all(
      left.map(async (id) => {
        const ran = await this.try(['cat', 'lock', id, '--no-lock']);
        return ran.code === 0 ? (JSON.parse(ran.stdout) as { hostname?: string }).hostname : host;
      }),
    );
    if (left.length > 0 && holders.every((holder) => holder === host))
      await this.run(['unlock', '--remove-all']);
  }

  /** Of this gateway, the newest first. */
  async snapshots(): Promise<Snapshot[]> {
    const { stdout } = await this.run(['snapshots', '--json', '--no-lock', '--tag', tag]);
    return sorted(z.array(snapshot).parse(JSON.parse(stdout) ?? []));
  }

  /**
   * @param root files and paths are below it, and lie in the snapshot without it.
   * @returns the summary; `problems` are files that could not be read, the rest is in the snapshot.
   */
  async backup(o: {
    root: string;
    list: string;
    excludes: string;
    host: string;
    parent: string | undefined;
  }): Promise<BackupSummary & { problems: string[] }> {
    let summary: unknown;
    const ran = await this.try(
      [
        ...['backup', '--json', '--host', o.host, '--tag', tag],
        ...['--files-from-verbatim', o.list, '--exclude-file', o.excludes],
        ...(o.parent === undefined ? [] : ['--parent', o.parent]),
      ],
      {
        cwd: o.root,
        onLine: (line) => {
          if (line.includes('"message_type":"summary"')) summary = JSON.parse(line);
        },
      },
    );
    // 3: a snapshot was made, and some of the files could not be read (manual, "Exit codes").
    if ((ran.code !== 0 && ran.code !== 3) || summary === undefined)
      throw this.error(ran, 'backup');
    const found = backupSummary.parse(summary);
    return {
      snapshot: found.snapshot_id,
      files: found.total_files_processed,
      bytes: found.total_bytes_processed,
      added: found.data_added_packed ?? found.data_added,
      problems:
        ran.code === 3 ? ran.stderr.split('\n').map(messageOf).filter(Boolean).slice(0, 10) : [],
    };
  }

  /** @returns the snapshots that are left, the newest first. */
  async forget(keep: {
    daily: number;
    weekly: number;
    monthly: number;
    yearly: number;
  }): Promise<Snapshot[]> {
    const args = Object.entries(keep).flatMap(([name, count]) =>
      count > 0 ? [`--keep-${name}`, String(count)] : [],
    );
    // Whatever the owner keeps: the last ones are what a restore falls back to.
    const { stdout } = await this.run([
      ...['forget', '--json', '--tag', tag, '--group-by', '', '--keep-last', '3', ...args],
    ]);
    const groups = z.array(z.object({ keep: z.array(snapshot) })).parse(JSON.parse(stdout));
    return sorted(groups.flatMap((one) => one.keep));
  }

  async prune(): Promise<void> {
    await this.run(['prune', '--max-unused', '10%']);
  }

  /** Bytes that the repository takes. */
  async size(): Promise<number> {
    const { stdout } = await this.run(['stats', '--mode', 'raw-data', '--json', '--no-lock']);
    return (JSON.parse(stdout) as { total_size: number }).total_size;
  }
}

const sorted = (all: readonly Snapshot[]) =>
  all.toSorted((a, b) => Date.parse(b.time) - Date.parse(a.time));

const backupSummary = z.object({
  snapshot_id: z.string(),
  total_files_processed: z.number(),
  total_bytes_processed: z.number(),
  data_added: z.number(),
  data_added_packed: z.number().optional(),
});
