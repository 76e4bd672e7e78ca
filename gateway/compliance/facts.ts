import { execFile } from 'node:child_process';
import { directoryTree, type FileTree, liveTree } from './tree.ts';
import { unitExists, unitFiles } from './unit-files.ts';

/** Thrown by what only a running system can tell, when there is none. */
export class NeedsRunningSystem extends Error {
  constructor() {
    super('needs a running system');
    this.name = 'NeedsRunningSystem';
  }
}

/** Thrown by what waits for a program that has not answered yet. */
export class StillAsked extends Error {
  constructor(question: Question) {
    super(`${question} has not answered yet`);
    this.name = 'StillAsked';
  }
}

/**
 * The programs that are asked, each at most once and all at the same time. What a file of /proc, /sys
 * or /etc tells is read from there: on a slow machine a process costs more than a hundred files.
 */
export type Question = 'systemctl' | 'sshd' | 'nft' | 'auditctl' | 'find';

/** The state of a machine that all controls share. */
export type Facts = {
  /** False for a root file system that is not running. */
  readonly live: boolean;
  readonly tree: FileTree;
  /** What a program said. @throws if it failed; NeedsRunningSystem if nothing runs. */
  output(question: Question): string;
};

/** Milliseconds that a program may take. The report as a whole takes less than ten seconds; a walk over a full disk more. */
const patience = 60_000;

/** What is run for each question; of more than one all at the same time, their answers one after the other. */
function commands(units: readonly string[]): Record<Question, readonly (readonly string[])[]> {
  return {
    systemctl: [
      ['systemctl', 'show', '--property=Id,Names,LoadState,ActiveState,UnitFileState', ...units],
    ],
    sshd: [['sshd', '-T']],
    nft: [['nft', '-j', 'list', 'ruleset']],
    auditctl: [['auditctl', '-l']],
    // The walk is what all else waits for, and a Pi has several cores: of the image's 20 157 files and folders
    // 12 110 are in the one.
    find: [walk('/', mostOfAll), walk(mostOfAll)],
  };
}

const mostOfAll = '/usr/lib';

/**
 * Root's file system only, and of it only what is writable by all, set-ID, or not root's. What containers
 * store has users of its own.
 */
function walk(folder: string, ...without: readonly string[]): string[] {
  const left = ['*/containers/storage', '/var/lib/docker', ...without];
  return [
    ...['find', folder, '-ignore_readdir_race', '-xdev'],
    ...['(', ...left.flatMap((path, i) => [...(i > 0 ? ['-o'] : []), '-path', path]), ')'],
    ...['-prune', '-o', '-not', '-type', 'l'],
    ...['(', '-perm', '/6002', '-o', '-not', '-uid', '0', '-o', '-not', '-gid', '0', ')'],
    ...['-printf', '%y %m %U %G %s %p\\0'],
  ];
}

/** A machine whose programs are at work. */
export type Asking = {
  /** What needs a program throws StillAsked until all have answered. */
  facts: Facts;
  answered: Promise<void>;
};

/** Asks the machine that this runs on. Needs root to see all. @param units whose state is wanted. */
export function askMachine(units: readonly string[]): Asking {
  const files = unitFiles(liveTree);
  const questions = commands(units.filter((name) => unitExists(files, name)));
  const said = new Map<string, string | Error>(
    Object.keys(questions).map((question) => [question, new StillAsked(question as Question)]),
  );
  const answers = Object.entries(questions).map(async ([question, programs]) => {
    const texts = await Promise.all(
      programs.map(([command = '', ...args]) => answer(command, args)),
    );
    return { question, text: texts.find((one) => one instanceof Error) ?? texts.join('') };
  });
  return {
    facts: factsOf(liveTree, said),
    // Together: a control sees either no answer or all of them.
    answered: Promise.all(answers).then((all) => {
      for (const { question, text } of all) said.set(question, text);
    }),
  };
}

/** Facts of a machine from its files and what its programs said. */
export function factsOf(tree: FileTree, said: ReadonlyMap<string, string | Error>): Facts {
  return {
    live: true,
    tree,
    output: (question) => {
      const text = said.get(question) ?? new Error(`${question} was not asked`);
      if (text instanceof Error) throw text;
      return text;
    },
  };
}

/** Facts of files alone: a root file system in a directory, or in an image. */
export function factsOfTree(tree: FileTree): Facts {
  return {
    live: false,
    tree,
    output: () => {
      throw new NeedsRunningSystem();
    },
  };
}

export const factsOfDirectory = (root: string): Facts => factsOfTree(directoryTree(root));

/** Says that nothing else than a running system can tell. */
export function requireLive(facts: Facts): void {
  if (!facts.live) throw new NeedsRunningSystem();
}

/** Computes something from facts once, for all controls that want it; also remembers that it failed. */
export function once<T>(compute: (facts: Facts) => T): (facts: Facts) => T {
  const known = new WeakMap<Facts, { value: T } | { error: unknown }>();
  return (facts) => {
    let result = known.get(facts);
    if (!result) {
      try {
        result = { value: compute(facts) };
      } catch (error) {
        if (error instanceof StillAsked) throw error;
        result = { error };
      }
      known.set(facts, result);
    }
    if ('error' in result) throw result.error;
    return result.value;
  };
}

/** A file's text, or undefined if it is not there; other troubles are thrown. */
export function readIfThere(facts: Facts, path: string): string | undefined {
  return facts.tree.stat(path) ? facts.tree.read(path) : undefined;
}

/** Lines without comments (`#`) and blanks. */
export function settings(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line && !line.startsWith('#'));
}

/**
 * Files `*<suffix>` of drop-in directories as systemd merges them: by name, whatever the directory;
 * one of an earlier directory hides its namesakes (sysctl.d(5), modprobe.d(5)). Paths, in the order
 * of reading.
 */
export function dropIns(facts: Facts, directories: readonly string[], suffix: string): string[] {
  const paths = new Map<string, string>();
  for (const directory of directories)
    for (const name of facts.tree.list(directory))
      if (name.endsWith(suffix) && !paths.has(name)) paths.set(name, `${directory}/${name}`);
  return [...paths]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, path]) => path)
    .filter((path) => facts.tree.link(path) !== '/dev/null');
}

function answer(command: string, args: readonly string[]): Promise<string | Error> {
  return new Promise((resolve) => {
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' };
    execFile(
      command,
      [...args],
      { env, timeout: patience, maxBuffer: 32 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        const why = (stderr || error.message).trim().split('\n')[0] ?? '';
        resolve(new Error(`${command} failed: ${why}`));
      },
    );
  });
}
