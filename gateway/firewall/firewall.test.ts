import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir, uptime } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { BuildError } from '../../builder/errors.ts';
import { type Networks, openNetworks } from '../../builder/testing/networks.ts';
import type { System } from '../../firstboot/system.ts';
import { firewall } from '../../stages/firewall/stage.ts';
import { ssh } from '../../stages/ssh/stage.ts';
import { renderStage } from '../../stages/testing.ts';
import { wireguard } from '../../stages/wireguard/stage.ts';
import { apply, confirm, previousFile, readPending, rollback, rulesFile } from './change.ts';
import { firewallStatus, statusText, zoneReport, zoneTable } from './status.ts';

let root = '';
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-rules-'));
  await mkdir(join(root, 'etc'));
  await mkdir(join(root, 'run'));
  await writeFile(join(root, rulesFile), rules('old'));
});
afterEach(() => rm(root, { recursive: true }));

const read = (path: string) => readFile(join(root, path), 'utf8');
const there = (path: string) =>
  stat(join(root, path)).then(
    () => true,
    () => false,
  );

/** Rules that are known by the port that they open. */
function rules(name: string, port = 22): string {
  return `# ${name}
table inet gateway
delete table inet gateway
table inet gateway {
  chain input {
    type filter hook input priority filter; policy drop;
    tcp dport ${port} accept
  }
}
`;
}

/** systemd's part, by hand: the timer, and the service that it starts. */
class Systemd {
  armed = false;
  running = false;
  calls: string[] = [];
  readonly #nft: (args: readonly string[]) => Promise<string>;

  constructor(nft: (args: readonly string[]) => Promise<string>) {
    this.#nft = nft;
  }

  /** What pi-gateway-firewall-rollback.service does. */
  async fire(): Promise<void> {
    if (!this.armed) return;
    this.armed = false;
    await this.#nft(['--file', join(root, rulesFile)]);
    await rm(join(root, 'run/pi-gateway/firewall'), { recursive: true, force: true });
  }

  system(): System {
    return {
      root,
      boot: '/boot/firmware',
      say: () => undefined,
      run: async (command, args) => {
        this.calls.push([command, ...args].join(' ').replaceAll(root, ''));
        if (command === 'nft') return await this.#nft(args);
        if (command === 'systemd-run') this.armed = true;
        else if (args[0] === 'is-active') {
          if (!this.armed) throw new Error('systemctl failed: inactive');
        } else if (args[0] === 'stop') this.armed = false;
        return args[0] === 'show' ? 'inactive\n' : '';
      },
    };
  }
}

describe('a change', () => {
  /** What the kernel has. */
  let loaded = '';
  let systemd: Systemd;
  let system: System;
  beforeEach(() => {
    loaded = rules('old');
    systemd = new Systemd(async (args) => {
      const text = await readFile(args.at(-1) ?? '', 'utf8');
      if (text.includes('broken'))
        throw new Error(`nft failed: ${args.at(-1)}:3:1-5: Error: syntax`);
      if (text.includes('no such kernel') && !args.includes('--check'))
        throw new Error('nft failed: Could not process rule');
      if (!args.includes('--check')) loaded = text;
      return '';
    });
    system = systemd.system();
  });

  test('is checked, and its roll-back armed and seen to be, before it is loaded', async () => {
    await apply(system, 'new.nft', rules('new'), 90);
    expect(systemd.calls).toEqual([
      'nft --check --file /run/pi-gateway/firewall/candidate.nft',
      'systemd-run --quiet --unit=pi-gateway-firewall-rollback.service --on-active=90s --timer-property=AccuracySec=100ms',
      'systemctl is-active pi-gateway-firewall-rollback.timer',
      'nft --file /run/pi-gateway/firewall/candidate.nft',
    ]);
    expect(loaded).toBe(rules('new'));
    // A power cut now: what is loaded at boot is what was good.
    expect(await read(rulesFile)).toBe(rules('old'));
  });

  test('that nobody confirms is undone', async () => {
    await apply(system, 'new.nft', rules('new'), 90);
    await systemd.fire();
    expect(loaded).toBe(rules('old'));
    await expect(confirm(system)).rejects.toThrow('There are no rules to confirm');
    expect(await read(rulesFile)).toBe(rules('old'));
    // And another may be tried.
    await apply(system, 'next.nft', rules('next'), 90);
  });

  test('that is confirmed stays, with the rules of before kept beside it', async () => {
    await apply(system, 'new.nft', rules('new'), 90);
    expect(await confirm(system)).toMatchObject({ file: 'new.nft' });
    expect(systemd.armed).toBe(false);
    expect(await read(rulesFile)).toBe(rules('new'));
    expect(await read(previousFile)).toBe(rules('old'));
    expect(loaded).toBe(rules('new'));
    expect(await readPending(system)).toBeUndefined();
    await expect(confirm(system)).rejects.toThrow('There are no rules to confirm');
  });

  test('keeps what was loaded, even if its file is edited meanwhile', async () => {
    const file = join(root, 'new.nft');
    await writeFile(file, rules('new'));
    await apply(system, file, await readFile(file, 'utf8'), 90);
    await writeFile(file, rules('edited'));
    await confirm(system);
    expect(await read(rulesFile)).toBe(rules('new'));
  });

  test('is refused while another is on trial', async () => {
    await apply(system, 'new.nft', rules('new'), 90);
    await expect(apply(system, 'more.nft', rules('more'), 90)).rejects.toThrow(
      /Other rules are on trial already: new\.nft, for (90|89) s more/,
    );
    expect(loaded).toBe(rules('new'));
    expect(systemd.armed).toBe(true);
  });

  test('of two at the same time, one is made', async () => {
    const results = await Promise.allSettled([
      apply(system, 'a.nft', rules('a'), 90),
      apply(system, 'b.nft', rules('b'), 90),
    ]);
    expect(results.map((one) => one.status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  test.each([
    ['nft refuses', rules('broken'), /nft refuses new\.nft: .*new\.nft:3:1-5: Error: syntax/],
    ['the kernel refuses', rules('no such kernel'), 'Could not process rule'],
    ["flushes others' rules", `flush ruleset\n${rules('new')}`, "fail2ban's bans"],
    ['adds to the rules', 'table inet gateway { chain x { } }\n', 'do not replace'],
    [
      'only says in a comment that it replaces',
      '# delete table inet gateway\ntable inet gateway { }\n',
      'do not replace',
    ],
  ])('that %s leaves the old rules, and nothing armed', async (_, text, message) => {
    await expect(apply(system, 'new.nft', text, 90)).rejects.toThrow(message);
    expect(loaded).toBe(rules('old'));
    expect(systemd.armed).toBe(false);
    expect(await there('run/pi-gateway/firewall')).toBe(false);
    expect(await read(rulesFile)).toBe(rules('old'));
  });

  test('of which nft was ended when it had loaded it, is undone at once', async () => {
    const slow: System = {
      ...system,
      run: async (command, args, options) => {
        const done = await system.run(command, args, options);
        if (command === 'nft' && args[0] === '--file' && args[1]?.includes('candidate'))
          throw new Error('nft failed: ended by SIGTERM');
        return done;
      },
    };
    await expect(apply(slow, 'new.nft', rules('new'), 90)).rejects.toThrow('SIGTERM');
    expect(loaded).toBe(rules('old'));
    expect(systemd.armed).toBe(false);
  });

  test('is not loaded if its roll-back could not be armed', async () => {
    const broken: System = {
      ...system,
      run: async (command, args, options) =>
        command === 'systemd-run' ? '' : await system.run(command, args, options),
    };
    await expect(apply(broken, 'new.nft', rules('new'), 90)).rejects.toThrow('could not be armed');
    expect(loaded).toBe(rules('old'));
  });

  test('that cannot be written is not confirmed, and still undone', async () => {
    await apply(system, 'new.nft', rules('new'), 90);
    await rm(join(root, 'etc'), { recursive: true });
    await writeFile(join(root, 'etc'), 'no folder');
    await expect(confirm(system)).rejects.toThrow();
    expect(systemd.armed).toBe(true);
  });

  test('that is confirmed while the roll-back fires is in force in the end', async () => {
    await apply(system, 'new.nft', rules('new'), 90);
    // The timer goes off between the writing and its end.
    const late: System = {
      ...system,
      run: async (command, args, options) => {
        if (args[0] === 'stop') {
          loaded = rules('old');
          await rm(join(root, 'run/pi-gateway/firewall'), { recursive: true });
        }
        return await system.run(command, args, options);
      },
    };
    await confirm(late);
    expect(loaded).toBe(rules('new'));
    expect(await read(rulesFile)).toBe(rules('new'));
  });

  test('on trial is undone at once by a roll-back', async () => {
    await apply(system, 'new.nft', rules('new'), 90);
    expect(await rollback(system)).toBe('trial');
    expect(loaded).toBe(rules('old'));
    expect(systemd.armed).toBe(false);
    expect(await there('run/pi-gateway/firewall')).toBe(false);
  });

  test('that was confirmed is undone by a roll-back, and that by another', async () => {
    await expect(rollback(system)).rejects.toThrow('There are no earlier rules');
    await apply(system, 'new.nft', rules('new'), 90);
    await confirm(system);
    expect(await rollback(system)).toBe('previous');
    expect(loaded).toBe(rules('old'));
    expect(await read(rulesFile)).toBe(rules('old'));
    expect(await rollback(system)).toBe('previous');
    expect(loaded).toBe(rules('new'));
    expect(await read(rulesFile)).toBe(rules('new'));
  });

  test('of which apply was killed before it armed anything is cleared by a roll-back', async () => {
    await mkdir(join(root, 'run/pi-gateway/firewall'), { recursive: true });
    await expect(apply(system, 'new.nft', rules('new'), 90)).rejects.toThrow('was killed');
    expect(await rollback(system)).toBe('trial');
    await apply(system, 'new.nft', rules('new'), 90);
  });

  test('whose time is long over is not confirmed', async () => {
    await apply(system, 'new.nft', rules('new'), 90);
    await writeFile(
      join(root, 'run/pi-gateway/firewall/pending.json'),
      JSON.stringify({ file: 'new.nft', until: uptime() - 60 }),
    );
    await expect(confirm(system)).rejects.toThrow('their time is over');
  });
});

describe('with the real nft, in a network of its own,', () => {
  let networks: Networks;
  beforeAll(async () => {
    networks = await openNetworks();
    await networks.sh('ip netns add device; ip -n device link set lo up');
  });
  afterAll(() => networks?.close());

  const nft = async (...args: string[]) => (await networks.run('device', ['nft', ...args])).stdout;
  // Fails as on the device: firstboot/system.ts.
  const device = () =>
    new Systemd((args) =>
      nft(...args).catch((error: BuildError) => {
        throw new Error(`nft failed: ${error.detail}`);
      }),
    );
  /** The port that the loaded rules open. */
  const open = async () =>
    /tcp dport (\d+) accept/.exec(await nft('list', 'table', 'inet', 'gateway'))?.[1];

  test('a trial is undone, a confirmed change stays, and the tables of others are not touched', async () => {
    const systemd = device();
    const system = systemd.system();
    await nft('--file', join(root, rulesFile));
    await nft('add', 'table', 'inet', 'f2b-table');
    await nft(
      'add',
      'set',
      'inet',
      'f2b-table',
      'bans',
      '{ type ipv4_addr; elements = { 192.0.2.1 }; }',
    );

    await apply(system, 'new.nft', rules('new', 2222), 90);
    expect(await open()).toBe('2222');
    await systemd.fire();
    expect(await open()).toBe('22');

    await apply(system, 'new.nft', rules('new', 2222), 90);
    await confirm(system);
    await nft('--file', join(root, rulesFile)); // a restart
    expect(await open()).toBe('2222');

    await expect(
      apply(system, 'bad.nft', rules('bad').replace('policy drop', 'policy maybe'), 90),
    ).rejects.toThrow(/nft refuses bad\.nft: [\s\S]*bad\.nft:6:\d+-\d+: Error/);
    expect(await open()).toBe('2222');

    expect(await rollback(system)).toBe('previous');
    expect(await open()).toBe('22');
    expect(await nft('list', 'ruleset')).toContain('192.0.2.1');
  });

  test('the status says what is in force, what was dropped and who is shut out', async () => {
    const files = await renderStage(firewall, {}, [ssh, wireguard]);
    await mkdir(join(root, 'usr/share/pi-gateway'), { recursive: true });
    const report = '/usr/share/pi-gateway/firewall.json';
    await writeFile(join(root, report), files.text(report));
    const rulesOfImage = files.text(rulesFile);
    const system = device().system();
    const load = async (text: string) => {
      await writeFile(join(root, rulesFile), text);
      await nft('--file', join(root, rulesFile));
    };

    await load(rulesOfImage);
    await nft('add', 'element', 'inet', 'gateway', 'blocked4', '{ 198.51.100.7 timeout 100s }');
    await nft('add', 'element', 'inet', 'gateway', 'blocked6', '{ 2001:db8::7 }');
    const status = await firewallStatus(system);
    expect(status).toMatchObject({
      state: 'active',
      pending: null,
      counters: { spoofed: { packets: 0, bytes: 0 }, input: {}, forward: {} },
      zones: [{ name: 'wan' }, { name: 'vpn', interfaces: ['wg0'] }, { name: 'containers' }],
    });
    expect(status.blocked.map((one) => one.address)).toEqual(['198.51.100.7', '2001:db8::7']);
    expect(status.blocked[0]?.seconds_left).toBeGreaterThan(90);
    expect(statusText(status)).toMatch(/198\.51\.100\.7 for (100|9\d) s/);

    await apply(system, 'new.nft', rulesOfImage, 60);
    const trial = await firewallStatus(system);
    expect(trial).toMatchObject({ state: 'pending', pending: { file: 'new.nft' } });
    expect(statusText(trial)).toMatch(/Those of before return in (60|59) s/);
    await rollback(system);

    await load(files.text('/usr/lib/pi-gateway/firewall-closed.nft'));
    expect(await firewallStatus(system)).toMatchObject({ state: 'closed' });
    await nft('delete', 'table', 'inet', 'gateway');
    expect(await firewallStatus(system)).toMatchObject({ state: 'none' });
  });
});

test('the zones are told as a table, with exceptions and forwards', async () => {
  const { text } = await renderStage(
    firewall,
    {
      zones: { dmz: { interfaces: ['eth1'], address4: '10.0.0.1/24' } },
      allow: [{ from: 'dmz', to: 'vpn', udp: [514] }],
      forwards: [{ tcp: 443, to: '10.0.0.2' }],
    },
    [ssh, wireguard],
  );
  await mkdir(join(root, 'usr/share/pi-gateway'), { recursive: true });
  const system = new Systemd(async () => '').system();
  await expect(zoneReport(system)).rejects.toThrow('without the firewall stage');
  const report = '/usr/share/pi-gateway/firewall.json';
  await writeFile(join(root, report), text(report));
  expect(
    zoneTable(await zoneReport(system)),
  ).toBe(`from \\ to     wan         dmz         vpn         containers
wan           -           -           -           -
dmz           yes         -           some        -
vpn           yes         yes         -           yes
containers    yes         -           -           -

To the gateway itself
  wan         ssh (tcp 22), wireguard (udp 51820)
  dmz         dns (udp 53), dns (tcp 53)
  vpn         ssh (tcp 22), dns (udp 53), dns (tcp 53)
  containers  dns (udp 53), dns (tcp 53)

Exceptions
  dmz → vpn: udp 514

Port forwards
  tcp 443 → 10.0.0.2 port 443`);
});
