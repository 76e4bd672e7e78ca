import { type ChildProcess, spawn } from 'node:child_process';
import { hostPath, output, type RunOptions, type RunResult, run } from '../exec.ts';
import { runs } from '../qemu/vm.ts';

/** A host of the lab: a network namespace of its own on this machine. */
export type LabHost = {
  /** As `ip netns` knows it. */
  namespace: string;
  /** Runs a command on it to its end. */
  run(command: string, args?: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Starts a command that runs until it is stopped or the lab closes. */
  start(command: string, args?: readonly string[], env?: Record<string, string>): Running;
};

export type Running = {
  /** Everything that it has printed. */
  text(): string;
  /** Waits until it has printed the text. */
  said(text: string | RegExp, seconds: number): Promise<void>;
  stop(): Promise<void>;
};

/** Names are the lab's own: pg<pid>-<host>. */
const ours = /^pg(\d+)-/;

/** Namespaces that this process made, for {@link removeNamespaces}. */
const running = new Set<Running>();

export async function makeHost(name: string): Promise<LabHost> {
  const namespace = `pg${process.pid}-${name}`;
  await run('ip', ['netns', 'add', namespace]);
  const host = hostIn(namespace);
  await host.run('ip', ['link', 'set', 'lo', 'up']);
  // No duplicate address detection: the lab knows its addresses, and waiting costs each test a second.
  await host.run('sysctl', [
    '-qw',
    'net.ipv6.conf.all.accept_dad=0',
    'net.ipv6.conf.default.accept_dad=0',
  ]);
  return host;
}

/** A host of the lab that exists already, also one that another process has made. */
export function hostIn(namespace: string): LabHost {
  const enter = ['netns', 'exec', namespace];
  return {
    namespace,
    run: (command, args = [], options = {}) => run('ip', [...enter, command, ...args], options),
    start: (command, args = [], env = {}) => {
      // pdeathsig (setpriv(1)): nothing outlives the test run.
      const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'ip', ...enter, command, ...args], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { PATH: hostPath, ...env },
      });
      const process = follow(child, [command, ...args].join(' '));
      running.add(process);
      return process;
    },
  };
}

function follow(child: ChildProcess, line: string): Running {
  let text = '';
  let over = false;
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (data: Buffer) => {
      text += data.toString();
    });
  const ended = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('close', () => resolve());
  }).then(() => {
    over = true;
  });
  return {
    text: () => text,
    said: async (wanted, seconds) => {
      const until = Date.now() + seconds * 1000;
      while (typeof wanted === 'string' ? !text.includes(wanted) : !wanted.test(text)) {
        if (over || Date.now() > until)
          throw new Error(`'${line}' ${over ? 'ended' : 'ran'} without saying ${wanted}:\n${text}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Two hosts and the cable between them. */
export async function connect(
  a: { host: LabHost; link: string; addresses: readonly string[] },
  b: { host: LabHost; link: string; addresses: readonly string[] },
): Promise<void> {
  await run('ip', [
    ...['link', 'add', a.link, 'netns', a.host.namespace],
    ...['type', 'veth', 'peer', 'name', b.link, 'netns', b.host.namespace],
  ]);
  for (const { host, link, addresses } of [a, b]) await plug(host, link, addresses);
}

/** Gives an interface of a host its addresses and brings it up. */
export async function plug(
  host: LabHost,
  link: string,
  addresses: readonly string[],
): Promise<void> {
  for (const address of addresses) await host.run('ip', ['address', 'add', address, 'dev', link]);
  await host.run('ip', ['link', 'set', link, 'up']);
}

/** Removes hosts that a test has made for itself. */
export async function removeHosts(hosts: readonly LabHost[]): Promise<void> {
  await remove(hosts.map(({ namespace }) => namespace));
}

/** The last takes with it the mount of /run/netns, which ip-netns(8) makes for the first and leaves. */
async function remove(namespaces: readonly string[]): Promise<void> {
  for (const name of namespaces) await run('ip', ['netns', 'delete', name]);
  if ((await output('ip', ['netns', 'list'])).trim() === '')
    // 32: it is not mounted, or somebody just made another (umount(8)).
    await run('umount', ['/run/netns'], { okCodes: [32] });
}

/** Ends what this process started and removes its namespaces, and those of test runs that were killed. */
export async function removeNamespaces(): Promise<void> {
  await Promise.all([...running].map((one) => one.stop()));
  running.clear();
  const lines = (await output('ip', ['netns', 'list'])).split('\n');
  const names = lines.map((line) => line.split(' ')[0] ?? '');
  await remove(
    names.filter((name) => {
      const owner = ours.exec(name)?.[1];
      return owner !== undefined && (Number(owner) === process.pid || !runs(Number(owner)));
    }),
  );
}
