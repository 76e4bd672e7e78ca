import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { System } from '../../firstboot/system.ts';
import type { Alerts } from '../alerts/alerts.ts';
import { GatewayError } from '../errors.ts';
import type { Helper } from '../helper/protocol.ts';
import type { Actor } from '../helper/verb.ts';
import type { KernelState, PeerState } from '../kernel-state.ts';
import type { Alert, Check, Monitor, MonitorEvent, Series } from '../monitor/monitor.ts';
import type { Accounts } from './accounts/accounts.ts';
import { type Cost, PasswordHasher } from './accounts/password.ts';
import { operations } from './operations.ts';
import { type Api, type ApiOptions, type Certificate, startApi } from './server.ts';
import { apiSettings } from './settings.ts';

/** Of tests alone: a password is checked in a millisecond. */
export const cheapCost: Cost = { ln: 4, r: 8, p: 1 };

const openssl = promisify(execFile);

/** A certificate for localhost that signs itself, made by openssl(1). */
export async function testCertificate(folder: string): Promise<Certificate> {
  const key = join(folder, 'key.pem');
  const cert = join(folder, 'cert.pem');
  await openssl('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-days', '2', '-subj', '/CN=test', '-keyout', key, '-out', cert],
    ...['-addext', 'subjectAltName=DNS:localhost,DNS:attic.local,IP:127.0.0.1'],
  ]);
  return { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') };
}

/** Monitoring that says what a test tells it. */
export class TestMonitor implements Monitor {
  seriesNow: Series[] = [{ name: 'cpu.used', unit: '%', value: 4 }];
  checksNow: Check[] = [];
  alertsNow: Alert[] = [];
  readonly #listeners = new Set<(event: MonitorEvent) => void>();

  series = (): readonly Series[] => this.seriesNow;
  checks = (): readonly Check[] => this.checksNow;
  alerts = (): readonly Alert[] => this.alertsNow;
  history = (name: string) =>
    name === 'cpu.used' ? { start: 0, step: 10, values: [1, null, 3] } : undefined;
  prometheus = (): string => '# TYPE pi_gateway_up gauge\npi_gateway_up 1\n';
  subscribe(listener: (event: MonitorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  tell(event: MonitorEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

export type Asked = { verb: string; args: unknown; actor: Actor };

/** A server with real TLS, real files in a folder of its own, and stand-ins for what is behind it. */
export class TestApi {
  readonly folder: string;
  readonly certificate: Certificate;
  readonly monitor = new TestMonitor();
  readonly said: string[] = [];
  readonly asked: Asked[] = [];
  peers: PeerState[] = [];
  /** Milliseconds that the accounts' clock is ahead, and their uptime with it. */
  ahead = 0;
  claimCode: string | undefined = 'GOOD-CODE';
  /** What the helper does instead of its own few verbs. */
  answer: ((asked: Asked) => unknown) | undefined;
  api: Api | undefined;

  constructor(folder: string, certificate: Certificate) {
    this.folder = folder;
    this.certificate = certificate;
  }

  static async start(options: Partial<ApiOptions> = {}): Promise<TestApi> {
    const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-api-'));
    const test = new TestApi(folder, await testCertificate(folder));
    await mkdir(join(folder, 'run/pi-gatewayd'), { recursive: true });
    await test.begin(options);
    return test;
  }

  /** Starts it, also again after `api.close()`: as the daemon does. */
  async begin(options: Partial<ApiOptions> = {}): Promise<void> {
    const kernel: KernelState = { wireguard: async () => this.peers, counters: async () => ({}) };
    const nothing = { active: [], suppressed: [], recent: [], channels: [], quiet: false };
    const alerts: Alerts = {
      update: () => undefined,
      alerts: () => this.monitor.alerts(),
      status: () => ({ ...nothing, heartbeat: undefined }),
      test: async (channel) => ({ channel, delivered: true, answer: '250 OK' }),
      reload: () => undefined,
      stop: async () => undefined,
    };
    this.api = await startApi({
      system: this.system,
      helper: this.helper,
      kernel,
      monitor: this.monitor,
      alerts,
      operations,
      settings: () => apiSettings.parse({}),
      certificate: this.certificate,
      listen: [{ host: '127.0.0.1', port: 0 }],
      socket: this.socket,
      version: '0.0.0-test',
      dashboard: join(this.folder, 'dashboard'),
      accountsOptions: {
        hasher: new PasswordHasher(cheapCost),
        now: () => Date.now() + this.ahead,
        uptime: () => performance.now() / 1000 + 1000 + this.ahead / 1000,
      },
      ...options,
    });
  }

  get system(): System {
    return {
      root: this.folder,
      boot: '/boot/firmware',
      say: (text) => this.said.push(text),
      run: async (command, _args, options) => {
        if (command === 'qrencode') return `<svg>${options?.input?.length}</svg>`;
        // Nothing runs and nothing is in the journal.
        if (command === 'systemctl' || command === 'journalctl') return '';
        throw new Error(`${command} is not here`);
      },
    };
  }

  get helper(): Helper {
    return {
      call: async (verb, args, actor) => {
        const asked = { verb, args, actor };
        this.asked.push(asked);
        return (this.answer ?? ((one: Asked) => this.#usual(one)))(asked) as never;
      },
    };
  }

  #usual({ verb, args }: Asked): unknown {
    if (verb === 'claim.status') return { open: this.claimCode !== undefined };
    if (verb === 'audit.record') return null;
    if (verb === 'claim.close') {
      this.claimCode = undefined;
      return null;
    }
    if (verb !== 'claim.use') throw new GatewayError(`No ${verb} here`, 'Do not ask for it');
    if (this.claimCode === undefined) throw new GatewayError('It is used', 'Log in', 'missing');
    if ((args as { code: string }).code !== this.claimCode)
      throw new GatewayError('That is not the code', 'Look at the screen', 'refused');
    this.claimCode = undefined;
    return null;
  }

  get socket(): string {
    return join(this.folder, 'run/pi-gatewayd/api.sock');
  }

  get accounts(): Accounts {
    if (!this.api) throw new Error('It is not started');
    return this.api.accounts;
  }

  get port(): number {
    return this.api?.addresses[0]?.port ?? 0;
  }

  get url(): string {
    return `https://127.0.0.1:${this.port}`;
  }

  async put(path: string, content: string | Buffer): Promise<void> {
    await mkdir(join(this.folder, path, '..'), { recursive: true });
    await writeFile(join(this.folder, path), content);
  }

  async stop(): Promise<void> {
    await this.api?.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}
