import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { createInterface } from 'node:readline';
import { hostPath, type RunResult, run } from '../exec.ts';
import type { Answer, Request } from './networks-agent.ts';

/** Network namespaces of a test's own, which have no way out of them. */
export type Networks = {
  /** Runs a shell script that makes and links them: `ip netns add router`, `ip -n router …`. */
  sh(script: string): Promise<string>;
  /** Runs a command in one of them. */
  run(
    namespace: string,
    command: readonly string[],
    options?: { input?: string; okCodes?: readonly number[] },
  ): Promise<RunResult>;
  /** Starts a program in one of them that listens, connects and sends as it is asked. */
  agent(namespace: string): Promise<Agent>;
  close(): Promise<void>;
};

export type Agent = {
  ask<Kind extends Request['do']>(request: Request & { do: Kind }): Promise<Answer[Kind]>;
};

/**
 * Makes room for them. Whatever ends the test, even SIGKILL, ends the room's first process, with it every
 * process of its PID namespace, and with the last of them the kernel drops the networks; so there is
 * nothing to clean up, and no name that another run could meet. Needs no root where the kernel lets
 * users have namespaces.
 */
export async function openNetworks(): Promise<Networks> {
  const root = process.getuid?.() === 0;
  const keeper = spawn(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', 'unshare', ...(root ? [] : ['--user', '--map-root-user'])],
      ...['--net', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child=KILL'],
      // /run is where ip-netns(8) keeps the names.
      ...[
        '--mount-proc',
        'sh',
        '-c',
        'mount -t tmpfs tmpfs /run && echo ready && exec sleep infinity',
      ],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: hostPath } },
  );
  await new Promise<void>((ready, failed) => {
    keeper.stdout?.once('data', () => ready());
    keeper.once('error', failed);
    keeper.once('exit', (code) => failed(new Error(`the test's namespaces: exit code ${code}`)));
  });
  const agents: ChildProcess[] = [];
  // Plain JavaScript starts in half the time, and a test has many agents.
  const agentProgram = readFile(new URL('networks-agent.ts', import.meta.url), 'utf8').then(
    (text) => stripTypeScriptTypes(text),
  );
  const enter = [
    ...[
      `--target=${keeper.pid}`,
      '--mount',
      '--net',
      `--pid=/proc/${keeper.pid}/ns/pid_for_children`,
    ],
    ...(root ? [] : ['--user', '--preserve-credentials']),
    '--',
  ];
  const within = (namespace: string) => [...enter, 'ip', 'netns', 'exec', namespace];
  return {
    sh: async (script) => (await run('nsenter', [...enter, 'sh', '-eu'], { input: script })).stdout,
    run: (namespace, command, options = {}) =>
      run('nsenter', [...within(namespace), ...command], options),
    agent: async (namespace) => {
      const node = [process.execPath, '--input-type=module', '--eval', await agentProgram];
      const child = spawn('nsenter', [...within(namespace), ...node], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { PATH: hostPath },
      });
      agents.push(child);
      return await speak(child);
    },
    close: async () => {
      const gone = new Promise((resolve) => keeper.once('exit', resolve));
      for (const child of agents) child.kill('SIGKILL');
      keeper.kill('SIGKILL');
      await gone;
    },
  };
}

/** Requests and answers are lines of JSON; answers come in any order. */
async function speak(child: ChildProcess): Promise<Agent> {
  const waiting = new Map<number, { found: (answer: never) => void; failed: (e: Error) => void }>();
  let next = 0;
  if (!child.stdout) throw new Error('no output to read');
  const lines = createInterface({ input: child.stdout });
  const ready = new Promise<void>((found, failed) => {
    waiting.set(-1, { found: () => found(), failed });
    child.once('exit', (code) => failed(new Error(`the agent ended with exit code ${code}`)));
  });
  lines.on('line', (line) => {
    const { id, ...said } = JSON.parse(line) as { id: number; answer: never; error?: string };
    if (said.error === undefined) waiting.get(id)?.found(said.answer);
    else waiting.get(id)?.failed(new Error(said.error));
    waiting.delete(id);
  });
  await ready;
  return {
    ask: (request) =>
      new Promise((found, failed) => {
        const id = next++;
        waiting.set(id, { found, failed });
        child.stdin?.write(`${JSON.stringify({ id, request })}\n`);
      }),
  };
}
