import { readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Client } from '../api/client.ts';
import type { Actor } from '../helper/verb.ts';
import { readState } from './app.ts';
import { updateAll } from './automatic.ts';
import { parseTemplate } from './catalog.ts';
import { optionsOf, statusText } from './command.ts';
import { lineProtocol, pushMetrics } from './metrics.ts';
import { appOptions } from './options.ts';
import { factsFile, portsFile, quadletFolder, secretMaps } from './places.ts';
import { containersStatus } from './status.ts';
import { ContainersDevice, echoTemplate, isThere } from './testing.ts';
import { containersVerbs } from './verbs.ts';
import { resumeAll, workOn } from './work.ts';

const actor: Actor = { via: 'cli', name: 'ann' };
const reference = 'registry.example.org/lab/echo:1.0';
const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
const [first, second] = [digest('a'), digest('b')];

let one: ContainersDevice;

beforeEach(async () => {
  one = await ContainersDevice.make();
  await one.addTemplate(echoTemplate(reference));
  one.registry.set(reference, first);
});
afterEach(() => one.device.remove());

const verb = <N extends keyof typeof containersVerbs>(
  name: N,
  args: Parameters<(typeof containersVerbs)[N]['run']>[1],
) => containersVerbs[name].run(one.system, args as never, actor);
const work = (app = 'echo') => workOn(one.system, app, one.owner);
const install = async (options: object = {}, app = 'echo') => {
  await verb('containers.install', { app, template: 'echo', options: appOptions.parse(options) });
  return await work(app);
};
const quadlet = (name: string) => one.device.read(`${quadletFolder}/${name}`);
const status = async () => (await containersStatus(one.system, one.owner)).apps[0];
const rules = () => one.device.loaded.at(-1) ?? '';

describe('an app is installed', () => {
  test('with the digest that the registry has, and that alone is what runs', async () => {
    const job = await install();
    expect(job).toMatchObject({ state: 'done' });
    expect(await quadlet('echo.container')).toContain(
      `\nImage=registry.example.org/lab/echo@${first}\nPull=never\n`,
    );
    expect([...one.running]).toEqual([['echo.service', first]]);
  });

  test('from what was loaded before, where no registry answers', async () => {
    one.registry.clear();
    one.images.set(reference, second);
    expect(await install()).toMatchObject({ state: 'done' });
    expect([...one.running.values()]).toEqual([second]);
  });

  test('not at all without its image, which says how to bring it, and nothing of it is left', async () => {
    one.registry.clear();
    const job = await install();
    expect(job?.state).toBe('failed');
    expect(job?.message).toContain(`The image ${reference} is not on this device`);
    expect(job?.message).toContain('container load FILE');
    expect(await readdir(join(one.device.root, quadletFolder)).catch(() => [])).toEqual([]);
    expect((await status())?.state).toBe('not installed');
  });

  test('not at all if it does not become well: no unit, no port, and it may be tried again', async () => {
    one.bad.add(first);
    const job = await install();
    expect(job).toMatchObject({ state: 'failed' });
    expect(job?.message).toContain('echo does not become well');
    expect(await readdir(join(one.device.root, quadletFolder))).toEqual([]);
    expect(one.device.loaded).toEqual([]);
    one.bad.clear();
    expect(await install()).toMatchObject({ state: 'done' });
  });

  test('and its port is opened only when it is well, for its zones and no other', async () => {
    await install();
    const start = one.events.indexOf('systemctl --user start echo.service');
    expect(start).toBeGreaterThan(0);
    expect(rules()).toContain('iifname @lan tcp dport 8080 accept comment "echo: web"');
    expect(rules()).toContain('iifname @vpn ip saddr @vpn_containers4 tcp dport 8080 accept');
    expect(rules()).not.toContain('@guest');
    expect(rules()).toContain('    goto drop_forward\n  }');
    expect(await one.device.read(portsFile)).toBe(rules());
  });

  test('with a password of its own, which is told once and is in no file that lists it', async () => {
    await install();
    const told = await verb('containers.password', { app: 'echo' });
    expect(told).toMatchObject({ user: 'admin' });
    const { password } = told as { password: string };
    expect(password.length).toBeGreaterThan(20);
    await expect(verb('containers.password', { app: 'echo' })).rejects.toThrow('told already');
    expect(JSON.stringify(await containersStatus(one.system, one.owner))).not.toContain(password);
    expect(one.events.join('\n')).not.toContain(password);
    for (const name of await readdir(join(one.device.root, quadletFolder)))
      expect(await quadlet(name)).not.toContain(password);
    const map = await one.device.read(`${secretMaps}/echo`);
    expect(map).toBe(
      'unit echo.service\nsecret echo admin-password container.echo.admin-password 1000\n',
    );
  });

  test('and its secrets are in place before its first start', async () => {
    await install();
    const at = (text: string) => one.events.findIndex((event) => event.includes(text));
    expect(at('systemctl restart pi-gateway-container-secrets@echo.service')).toBeGreaterThan(0);
    expect(at('systemctl restart pi-gateway-container-secrets@echo.service')).toBeLessThan(
      at('systemctl --user start echo.service'),
    );
  });

  test('twice under two names, with ports that do not clash', async () => {
    await install();
    await expect(install({}, 'echo-two')).rejects.toThrow(
      "port 8080 of echo-two is echo's already",
    );
    expect(await install({ ports: { web: 8090 } }, 'echo-two')).toMatchObject({ state: 'done' });
    expect([...one.running.keys()].sort()).toEqual(['echo-two.service', 'echo.service']);
  });

  test('only by a name that is one', () => {
    const { args } = containersVerbs['containers.install'];
    for (const app of ['../x', 'a.b', 'A', 'x', '-x', 'a--b', 'a b', 'a\n', 'é'])
      expect(args.safeParse({ app, template: 'echo' }).success, app).toBe(false);
  });

  test('only in an image with the stage', async () => {
    await one.device.put('/usr/share/pi-gateway/containers.json', '');
    const { rm } = await import('node:fs/promises');
    await rm(join(one.device.root, 'usr/share/pi-gateway/containers.json'));
    await expect(install()).rejects.toThrow('built without containers');
    const all = await containersStatus(one.system, one.owner);
    expect(statusText(all)).toContain('stages: {secrets: {}, containers: {}}');
  });
});

describe('an update', () => {
  beforeEach(async () => {
    await install();
    one.registry.set(reference, second);
  });
  const update = async () => {
    await verb('containers.update', { app: 'echo' });
    return await work();
  };

  test('takes the image that the registry has now', async () => {
    expect(await update()).toMatchObject({ state: 'done' });
    expect([...one.running.values()]).toEqual([second]);
    expect((await status())?.may_roll_back).toBe(true);
  });

  test('to an image that does not become well is taken back: the old digest runs, and the job says so', async () => {
    one.bad.add(second);
    const job = await update();
    expect(job).toMatchObject({ state: 'undone' });
    expect(job?.message).toContain('does not become well');
    expect([...one.running.values()]).toEqual([first]);
    expect(await quadlet('echo.container')).toContain(`@${first}\n`);
    expect((await readState(one.system, 'echo')).images.echo?.digest).toBe(first);
  });

  test('that finds nothing new restarts nothing', async () => {
    one.registry.set(reference, first);
    one.events.length = 0;
    expect(await update()).toMatchObject({ state: 'nothing' });
    expect(one.events.filter((event) => event.includes('--user'))).toEqual([]);
  });

  test('can be taken back later, and taken again', async () => {
    await update();
    await verb('containers.rollback', { app: 'echo' });
    expect(await work()).toMatchObject({ state: 'done' });
    expect([...one.running.values()]).toEqual([first]);
    await verb('containers.rollback', { app: 'echo' });
    await work();
    expect([...one.running.values()]).toEqual([second]);
  });

  test('by night: not of what was taken back, not if it is switched off', async () => {
    await one.device.put(
      '/etc/pi-gateway/gateway.yaml',
      'containers: {automatic_updates: false}\n',
    );
    await updateAll(one.system, one.owner);
    expect([...one.running.values()]).toEqual([first]);
    await one.device.put('/etc/pi-gateway/gateway.yaml', '{}\n');
    one.bad.add(second);
    await updateAll(one.system, one.owner);
    expect((await readState(one.system, 'echo')).job?.state).toBe('undone');
    one.events.length = 0;
    await updateAll(one.system, one.owner);
    expect(one.events).toEqual([]);
  });

  test('without images of before there is no way back', async () => {
    await expect(verb('containers.rollback', { app: 'echo' })).rejects.toThrow(
      'no images of before',
    );
  });
});

describe('an app is configured', () => {
  beforeEach(() => install());
  const configure = async (options: object) => {
    await verb('containers.configure', {
      app: 'echo',
      options: appOptions.partial().parse(options),
    });
    return await work();
  };

  test('other zones and memory, and what was not named stays; its image stays what it was', async () => {
    one.registry.set(reference, second);
    await configure({ zones: { web: ['guest'] } });
    expect(await configure({ memory_mib: { echo: 64 } })).toMatchObject({ state: 'done' });
    expect(rules()).toContain('iifname @guest tcp dport 8080 accept');
    expect(rules()).not.toContain('@lan');
    expect(await quadlet('echo.container')).toContain('--memory=64m --memory-swap=64m');
    expect([...one.running.values()]).toEqual([first]);
  });

  test('a zone that this gateway does not have opens nothing, rather than break the rules', async () => {
    await configure({ zones: { web: ['dmz', 'lan'] } });
    expect(rules()).not.toContain('@dmz');
    expect(rules()).toContain('iifname @lan');
  });

  test('what it does not become well with is taken back', async () => {
    const image = 'registry.example.org/lab/echo:2.0';
    one.registry.set(image, second);
    one.bad.add(second);
    expect(await configure({ images: { echo: image } })).toMatchObject({ state: 'undone' });
    expect([...one.running.values()]).toEqual([first]);
  });

  test('secrets have no place in the environment', () => {
    for (const name of ['DB_PASSWORD', 'API_TOKEN', 'MY_SECRET'])
      expect(appOptions.safeParse({ environment: { [name]: 'x' } }).success, name).toBe(false);
    expect(appOptions.safeParse({ environment: { DB_PASSWORD_FILE: '/x' } }).success).toBe(true);
  });

  test('names that the template does not have are refused with those that it has', async () => {
    await expect(configure({ zones: { wbe: ['lan'] } })).rejects.toThrow(
      'echo has no wbe; it has web',
    );
  });

  test('the management network stays with lan and vpn', async () => {
    const options = appOptions.parse({ zones: { web: ['wan'] } });
    const asked = verb('containers.install', { app: 'graf', template: 'grafana', options });
    await expect(asked).rejects.toThrow('management network, which is for lan and vpn only');
  });
});

describe('an app is removed', () => {
  beforeEach(() => install());

  test('nobody reaches it from the first moment, and its volumes stay', async () => {
    await verb('containers.remove', { app: 'echo', volumes: false });
    await work();
    expect(rules()).not.toContain('8080');
    expect(one.running.size).toBe(0);
    expect(await readdir(join(one.device.root, quadletFolder))).toEqual([]);
    expect(one.events.some((event) => event.startsWith('podman volume rm'))).toBe(false);
    expect((await containersStatus(one.system, one.owner)).apps).toEqual([]);
    expect(one.events.at(-1)).toBe('loginctl disable-linger pi-containers');
  });

  test('installed again it has the password that its data was made with', async () => {
    const before = (await verb('containers.password', { app: 'echo' })) as { password: string };
    await verb('containers.remove', { app: 'echo', volumes: false });
    await work();
    await install();
    expect(await verb('containers.password', { app: 'echo' })).toMatchObject(before);
  });

  test('with its volumes only if asked', async () => {
    await verb('containers.remove', { app: 'echo', volumes: true });
    await work();
    expect(one.events).toContain('podman volume rm --force echo--data');
  });
});

describe('a power cut', () => {
  /** The worker begins, and is gone in the middle of the start. */
  const begin = async () => {
    one.cut = true;
    void work();
    await vi.waitUntil(() => !one.cut, 10_000);
  };

  test('in the middle of an installation: it is ended after the next start', async () => {
    await verb('containers.install', {
      app: 'echo',
      template: 'echo',
      options: appOptions.parse({}),
    });
    await begin();
    expect((await status())?.state).toBe('working');
    await resumeAll(one.system, one.owner);
    expect((await status())?.state).toBe('well');
  });

  test('in the middle of an update that is not well: what comes back is the image of before', async () => {
    await install();
    one.registry.set(reference, second);
    one.bad.add(second);
    await verb('containers.update', { app: 'echo' });
    await begin();
    expect(await quadlet('echo.container')).toContain(`@${second}\n`);
    await resumeAll(one.system, one.owner);
    expect((await readState(one.system, 'echo')).job?.state).toBe('undone');
    expect([...one.running.values()]).toEqual([first]);
  });

  test('leaves no half written file: what is there is old or new', async () => {
    await install();
    await one.device.put('/var/lib/pi-gateway/containers/.echo.wanted.json.new', '{"format":');
    expect((await status())?.state).toBe('well');
  });
});

describe('a template', () => {
  const mistake = (change: object) => {
    const base = echoTemplate(reference);
    return () => parseTemplate(JSON.stringify({ ...base, ...change }), 'echo.json');
  };
  const part = (change: object) => {
    const [base] = echoTemplate(reference).parts;
    return { parts: [{ ...base, ...change }] };
  };

  test('never takes the latest image, nor one without registry or version', () => {
    for (const image of ['docker.io/x/y:latest', 'docker.io/x/y', 'x:1', 'x/y@sha256:1'])
      expect(mistake(part({ image })), image).toThrow('parts[0].image');
  });

  test('gets no capability with which a container leaves its bounds', () => {
    expect(mistake(part({ capabilities: ['SYS_ADMIN'] }))).toThrow('capabilities');
  });

  test('puts nothing but lines into a unit', () => {
    expect(mistake(part({ environment: { A: 'x\n[Service]\nExecStart=/bin/sh' } }))).toThrow(
      'one line',
    );
    expect(mistake(part({ files: [{ path: '/etc/../../x', content: '' }] }))).toThrow('upwards');
    expect(mistake(part({ volumes: [{ name: 'data', path: '/a:/b' }] }))).toThrow('a path');
  });

  test('names only secrets that it has, and parts that come before', () => {
    expect(mistake({ secrets: [] })).toThrow("none of the template's secrets");
    expect(mistake(part({ needs: ['later'] }))).toThrow('must be a part before this one');
  });

  test('of the owner that is broken is named with its place', async () => {
    await one.device.put('/etc/pi-gateway/containers/templates/bad.json', '{"id":');
    await expect(verb('containers.catalog', {})).rejects.toThrow('bad.json is no JSON');
  });
});

test('flags become options, and a typing mistake says how to write it', () => {
  expect(
    optionsOf({
      zone: ['web=lan,vpn'],
      port: ['web=81'],
      memory: ['a=64'],
      env: ['TZ=Europe/Rome'],
    }),
  ).toEqual({
    zones: { web: ['lan', 'vpn'] },
    ports: { web: 81 },
    memory_mib: { a: 64 },
    environment: { TZ: 'Europe/Rome' },
  });
  expect(() => optionsOf({ zone: ['lan'] })).toThrow("'lan' is no name=value");
  expect(() => optionsOf({ zone: ['web=lna'] })).toThrow("There is no zone 'lna'");
  expect(() => optionsOf({ port: ['web=eighty'] })).toThrow("'eighty' is no number");
});

test('configuration that a template brings lies where its container finds it', async () => {
  await install();
  expect(
    await isThere(join(one.device.root, 'etc/pi-gateway/containers/files/echo/etc/echo.conf')),
  ).toBe(true);
});

describe('metrics of the gateway', () => {
  test('are lines as InfluxDB takes them, and a strange name stays within its line', () => {
    const series = [
      { name: 'cpu.used', unit: '%', value: 12.5 },
      { name: 'network.received{eth0}', unit: 'By/s', value: 3 },
      { name: 'vpn.received{ann=s, phone\n}', unit: 'By/s', value: 1 },
      { name: 'heat.cpu', unit: 'Cel', value: null },
    ];
    expect(lineProtocol(series, '2026-01-02T00:00:00.000Z')).toBe(
      [
        'cpu.used value=12.5 1767312000',
        'network.received,label=eth0 value=3 1767312000',
        'vpn.received,label=ann\\=s\\,\\ phone\\  value=1 1767312000',
        '',
      ].join('\n'),
    );
  });

  test('go to the app that takes them, with its token, which no error shows', async () => {
    const asked: { url: string; token: string; body: string }[] = [];
    let status = 204;
    const server = createServer((question, answer) => {
      let body = '';
      question.on('data', (chunk) => {
        body += chunk;
      });
      question.on('end', () => {
        const token = question.headers.authorization ?? '';
        asked.push({ url: question.url ?? '', token, body });
        answer.statusCode = status;
        answer.end(status === 204 ? '' : `unauthorized: ${token}`);
      });
    });
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    const { port } = server.address() as AddressInfo;
    try {
      await one.device.put(factsFile, JSON.stringify({ address4: '127.0.0.1', address6: '::1' }));
      const options = appOptions.parse({ ports: { influxdb: port } });
      await verb('containers.install', { app: 'grafana', template: 'grafana', options });
      const client: Client = {
        call: async () =>
          ({
            time: '2026-01-02T00:00:00.000Z',
            series: [{ name: 'cpu.used', unit: '%', value: 1 }],
          }) as never,
      };
      const push = () => pushMetrics(one.system, 'grafana', async () => 'the-token\n', client);
      expect(await push()).toBe(1);
      expect(asked).toEqual([
        {
          url: '/api/v2/write?org=pi-gateway&bucket=gateway&precision=s',
          token: 'Token the-token',
          body: 'cpu.used value=1 1767312000\n',
        },
      ]);
      status = 401;
      await expect(push()).rejects.toThrow(
        'InfluxDB of grafana answered 401: unauthorized: Token …',
      );
    } finally {
      server.close();
    }
  });
});
