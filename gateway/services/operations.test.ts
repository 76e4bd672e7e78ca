import { rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { localClient } from '../api/client.ts';
import { TestApi } from '../api/testing.ts';
import { complianceVerbs } from '../compliance/verbs.ts';
import { ddnsVerbs, updateDdns } from '../ddns/verbs.ts';
import { GatewayError } from '../errors.ts';
import { FakeSystemd } from './testing.ts';
import { servicesVerbs } from './verbs.ts';

/** The API with this part's own verbs behind it, and a systemd that is none. */
let api: TestApi;
let systemd: FakeSystemd;

const verbs = { ...servicesVerbs, ...ddnsVerbs, ...complianceVerbs };

const report = {
  benchmark: 'CIS',
  live: true,
  score: { passed: 9, failed: 1, notApplicable: 2, tailored: 3, percent: 90 },
  controls: [
    { id: '1.1', title: 'A', level: 1, state: 'fail', evidence: 'seen', mend: 'do' },
    {
      id: '1.2',
      title: 'B',
      level: 2,
      state: 'tailored',
      evidence: 'x',
      tailoring: { reason: 'why' },
    },
  ],
};

beforeEach(async () => {
  api = await TestApi.start();
  systemd = new FakeSystemd(api.folder, {
    'ssh.service': {},
    'systemd-resolved.service': {},
    'auditd.service': {},
    'pi-gateway-ddns.service': { ActiveState: 'inactive', SubState: 'dead' },
  });
  const { system } = systemd;
  await api.api?.close();
  await api.begin({ system });
  api.answer = async ({ verb, args, actor }) => {
    const one = verbs[verb as keyof typeof verbs];
    if (!one) throw new GatewayError(`no ${verb}`, 'none');
    return one.result.parse(await one.run(system, one.args.parse(args) as never, actor));
  };
});
afterEach(() => api.stop());

const client = () => localClient(api.socket, 'ada');

describe('services', () => {
  test('are listed by anybody who may look, and restarted in the name of who asks', async () => {
    const { services } = await client().call('serviceList');
    expect(services.map(({ id }) => id)).toEqual(['dns', 'ssh', 'audit']);
    expect(await client().call('serviceRestart', { params: { id: 'dns' } })).toEqual({
      id: 'dns',
      did: 'restart',
      state: 'active',
    });
    expect(api.asked.at(-1)).toMatchObject({
      verb: 'service.restart',
      args: { id: 'dns' },
      actor: { via: 'cli', name: 'ada' },
    });
  });

  test.each([
    ['audit', 'refused'],
    ['nothing', 'missing'],
    ['../ssh', 'refused'],
    ['ssh.service', 'refused'],
  ])('%s is not restarted: %s', async (id, kind) => {
    await expect(client().call('serviceRestart', { params: { id } })).rejects.toMatchObject({
      kind,
    });
    expect(systemd.calls.filter(([verb]) => verb !== 'show')).toEqual([]);
  });
});

describe('dynamic DNS', () => {
  const status = JSON.stringify({
    checked_at: '2026-01-01T00:00:00Z',
    state: 'registered',
    registered: true,
    failed: false,
    summary: 'attic.example.org is registered',
    active: { provider: 'DuckDNS', hostnames: ['attic.example.org'] },
    addresses: [{ family: 4, address: '203.0.113.7', agreed: ['stun'], notes: [] }],
    providers: [],
  });

  test('that is not set up says so', async () => {
    expect(await client().call('ddnsGet')).toEqual({
      configured: false,
      running: false,
      status: null,
    });
    await expect(client().call('ddnsUpdate', { body: {} })).rejects.toMatchObject({
      kind: 'missing',
    });
  });

  test('an update starts the service and answers with what it came to', async () => {
    await api.put('etc/pi-gateway/ddns.yaml', '');
    await api.put('run/pi-gateway-ddns/status.json', status);
    systemd.programs.set('systemd-run', () => '');
    // The service is of type oneshot: it is never `active`.
    const { system } = systemd;
    const oneshot = {
      ...system,
      run: async (command: string, args: readonly string[]) => {
        if (args[0] !== 'start') return await system.run(command, args);
        systemd.calls.push([...args]);
        return '';
      },
    };
    const answer = await updateDdns(oneshot, false);
    expect(answer).toMatchObject({ configured: true, running: false });
    expect(answer.status?.summary).toBe('attic.example.org is registered');
    expect(systemd.calls).toContainEqual(['start', '--no-block', '--', 'pi-gateway-ddns.service']);
  });

  test('a run that takes long is not waited for, and no second one is begun', async () => {
    await api.put('etc/pi-gateway/ddns.yaml', '');
    systemd.set('pi-gateway-ddns.service', { ActiveState: 'activating', SubState: 'start' });
    expect(await updateDdns(systemd.system, false, 50)).toMatchObject({ running: true });
    expect(systemd.calls.filter(([verb]) => verb !== 'show')).toEqual([]);
  });

  test('a status file that is none, or leads elsewhere, is not quoted', async () => {
    await api.put('etc/shadow', 'root:$y$j9T$verysecret');
    await api.put('run/pi-gateway-ddns/status.json', 'root:$y$j9T$verysecret');
    expect(await client().call('ddnsGet')).toMatchObject({ status: null });
    await rm(join(api.folder, 'run/pi-gateway-ddns/status.json'));
    await symlink('../../etc/shadow', join(api.folder, 'run/pi-gateway-ddns/status.json'));
    expect(await client().call('ddnsGet')).toMatchObject({ status: null });
  });

  test('what the status file has besides does not get out, and one of another form is none', async () => {
    await api.put('run/pi-gateway-ddns/status.json', status.replace('{', '{"token":"s3cr3t",'));
    expect(JSON.stringify(await client().call('ddnsGet'))).not.toContain('s3cr3t');
    await api.put('run/pi-gateway-ddns/status.json', '{"state":"new"}');
    expect((await client().call('ddnsGet')).status).toBeNull();
  });
});

describe('compliance', () => {
  test('is judged when an admin asks for it, kept, and not judged again within the minute', async () => {
    let runs = 0;
    systemd.programs.set('systemd-run', (args) => {
      runs += 1;
      expect(args.slice(args.indexOf('/usr/bin/pi-gateway'))).toEqual([
        '/usr/bin/pi-gateway',
        'compliance',
        '--json',
        '--min-score=0',
      ]);
      return JSON.stringify(report);
    });
    expect(await client().call('complianceGet', { query: {} })).toEqual({ report: null });
    const asks = [1, 2, 3].map(() =>
      client().call('complianceGet', { query: { refresh: 'true' } }),
    );
    const [first] = await Promise.all(asks);
    expect(runs).toBe(1);
    expect(first?.report).toMatchObject({
      score: { passed: 9, failed: 1, not_applicable: 2, tailored: 3, percent: 90 },
      controls: [
        { id: '1.1', state: 'fail', mend: 'do', tailoring: null },
        { id: '1.2', mend: null, tailoring: { reason: 'why', instead: null } },
      ],
    });
    expect(await client().call('complianceGet', { query: {} })).toEqual(first);
  });

  test('that fails is asked again by the next', async () => {
    systemd.programs.set('systemd-run', () => 'Segmentation fault');
    const query = { refresh: 'true' } as const;
    await expect(client().call('complianceGet', { query })).rejects.toThrow('no JSON');
    systemd.programs.set('systemd-run', () => JSON.stringify(report));
    expect((await client().call('complianceGet', { query })).report?.score.percent).toBe(90);
  });
});

test('logs are refused to a query that is none, and redacted in the answer', async () => {
  systemd.programs.set(
    'journalctl',
    () =>
      `${JSON.stringify({ __CURSOR: 's=0', __REALTIME_TIMESTAMP: '1767225600000000', MESSAGE: 'token=abcdef' })}\n`,
  );
  const { entries } = await client().call('logList', { query: { limit: 5 } });
  expect(entries).toMatchObject([{ message: 'token=***', priority: 'info' }]);
  for (const query of [{ unit: '--rotate' }, { limit: 1001 }, { cursor: 'x' }, { since: 'now' }])
    await expect(client().call('logList', { query })).rejects.toMatchObject({ kind: 'refused' });
});
