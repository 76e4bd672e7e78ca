import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { type Cut, type DeviceState, type Job, keeper, type PowerJob } from './cut.ts';

/**
 * Runs on the device as root: makes changes by the API, and kills the helper with all that it has started, or
 * cuts the power, so long after each was asked for. `state`, `run JOBS` and `power JOB`
 * (JSON in base64).
 */
const pendingFile = '/var/lib/pi-gateway/settings/pending.json';
const changingFile = '/run/pi-gateway/vpn/changing';
const killFile = '/sys/fs/cgroup/system.slice/pi-gateway-helper.service/cgroup.kill';

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const textOf = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : null);
const output = (command: string, ...args: string[]) =>
  spawnSync(command, args, { encoding: 'utf8' }).stdout ?? '';

function folder(path: string): Record<string, string> {
  if (!existsSync(path)) return {};
  const names = readdirSync(path).filter((name) => /^[^.].*\.(conf|next)$/.test(name));
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(path, name), 'utf8')]));
}

/** Temporary files of a write that did not come to its end, as firstboot/system.ts and wireguard-peer name them. */
function temporaries(): string[] {
  return [
    '/etc/wireguard',
    '/etc/pi-gateway',
    '/var/lib/pi-gateway',
    '/etc/apt/apt.conf.d',
    '/etc/systemd/system',
  ].flatMap((top) =>
    existsSync(top)
      ? readdirSync(top, { recursive: true, encoding: 'utf8' })
          .filter((name) => name.endsWith('.new'))
          .map((name) => join(top, name))
      : [],
  );
}

type SetsAnswer = { nftables: { set?: { table: string; name: string; elem?: string[] } }[] };

function state(): DeviceState {
  const [, ...peers] = output('wg', 'show', 'wg0', 'dump').trim().split('\n');
  const { nftables } = JSON.parse(output('nft', '-j', 'list', 'sets', 'inet')) as SetsAnswer;
  return {
    peers: folder('/etc/wireguard/peers.d'),
    held: folder('/etc/wireguard/clients'),
    interface: peers.map((line) => {
      const [key = '', psk = '', , allowed = ''] = line.split('\t');
      return { key, psk, allowed: allowed === '(none)' ? [] : allowed.split(',') };
    }),
    sets: Object.fromEntries(
      nftables.flatMap(({ set }) =>
        set?.table === 'gateway' && set.name.startsWith('vpn_')
          ? [[set.name, set.elem ?? []] as const]
          : [],
      ),
    ),
    settings: textOf('/etc/pi-gateway/gateway.yaml'),
    forwards: textOf('/etc/pi-gateway/nftables.d/forwards.nft'),
    destinations: output('nft', 'list', 'chain', 'inet', 'gateway', 'device_destinations'),
    apt: textOf('/etc/apt/apt.conf.d/60-gateway-device'),
    halfway: [pendingFile, changingFile].filter(existsSync),
    temporaries: temporaries(),
  };
}

type Answer = { status: number; body: string };

/** Status 0: the connection broke off. */
function ask(method: string, path: string, body?: object): Promise<Answer> {
  return new Promise((resolve) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const asked = request(
      {
        socketPath: '/run/pi-gatewayd/api.sock',
        path: `/api/v1${path}`,
        method,
        headers: {
          host: 'localhost',
          ...(body === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
        },
      },
      (answer) => {
        let said = '';
        answer.on('data', (data) => {
          said += String(data);
        });
        answer.on('error', () => resolve({ status: 0, body: said }));
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: said }));
      },
    );
    asked.on('error', (error) => resolve({ status: 0, body: error.message }));
    asked.end(text);
  });
}

/** The helper runs then, and has the settings' digest told. */
async function warm(): Promise<string> {
  const { status, body } = await ask('GET', '/config');
  if (status !== 200) throw new Error(`GET /config: ${status} ${body}`);
  return (JSON.parse(body) as { digest: string }).digest;
}

function begin(job: Job, base: string): Promise<Answer> {
  const client = `/vpn/clients/${job.name}`;
  switch (job.kind) {
    case 'add':
      return ask('POST', '/vpn/clients', { name: job.name });
    case 'zones':
      return ask('PATCH', client, { zones: job.zones });
    case 'rotate':
      return ask('POST', `${client}/rotate`, {});
    case 'cancel':
      return ask('DELETE', `${client}/rotate`);
    case 'config':
      return ask('PUT', '/config', { text: job.text, base });
  }
}

let isPatient = false;

/** What the timers of the device do in time; here at once, but for one that is waited for. */
async function recover(): Promise<number> {
  const begun = performance.now();
  if (existsSync(changingFile) && isPatient) {
    isPatient = false;
    // pi-gateway-wireguard-expire.timer, each minute.
    while (existsSync(changingFile) && performance.now() - begun < 90_000) await pause(250);
  } else if (existsSync(changingFile))
    output('systemctl', 'start', 'pi-gateway-wireguard-expire.service');
  // What the timer starts that the change itself has armed, 180 s after its begin.
  if (existsSync(pendingFile)) output('systemctl', 'start', 'pi-gateway-settings-rollback.service');
  return (performance.now() - begun) / 1000;
}

async function cut(job: Job): Promise<Cut> {
  const base = await warm();
  const begun = performance.now();
  const answer = begin(job, base);
  if (job.after !== null) {
    await pause(job.after);
    if (existsSync(killFile)) writeFileSync(killFile, '1');
  }
  const { status, body } = await answer;
  const took = performance.now() - begun;
  if (job.after === null && status > 299) throw new Error(`${job.kind}: ${status} ${body}`);
  const halfway = [pendingFile, changingFile].filter(existsSync);
  const recovered = await recover();
  const after = state();
  const answers = [
    (await ask('GET', '/vpn/clients')).status,
    (await ask('GET', `/vpn/clients/${keeper}`)).status,
    (await ask('GET', '/config')).status,
  ];
  return { job, status, took, halfway, recovered, after, answers };
}

const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
const [, , task, argument = ''] = process.argv;
const given = <T>() => JSON.parse(Buffer.from(argument, 'base64').toString()) as T;
if (task === 'state') say(state());
else if (task === 'run') {
  const { jobs, patient } = given<{ jobs: Job[]; patient: boolean }>();
  isPatient = patient;
  for (const job of jobs) say(await cut(job));
} else if (task === 'power') {
  const job = given<PowerJob>();
  const base = await warm();
  void begin(job, base);
  await pause(job.after);
  // At once, without syncing or unmounting (kernel, admin-guide/sysrq.rst).
  writeFileSync('/proc/sysrq-trigger', 'b');
}
