import { X509Certificate } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { issueClient, revoke } from '../pki/issue.ts';
import { allIssued, keyFileOf, withCaLock } from '../pki/store.ts';
import { proxyApplier } from './applier.ts';
import { proveConfig } from './reconcile.ts';
import { configFile, listFile } from './render.ts';
import { ProxyDevice } from './testing.ts';

const day = 86_400_000;

let proxy: ProxyDevice;
/** The root as a client has downloaded it. */
let root: string;
let echo: string;
let slow: string;

const yaml = (more = '') => `proxy:
  services:
    echo: { to: '${echo}', body_megabytes: 1, names: [echo.internal] }
    slow: { to: '${slow}' }
    vault: { to: '${echo}', mtls: true }
    safe: { to: '${echo}', mtls: [anns-phone], zones: [lan] }
${more}`;

beforeAll(async () => {
  proxy = await ProxyDevice.make();
  echo = await proxy.serve((request, response) => {
    response.setHeader('content-type', 'application/json');
    request.resume().on('end', () => response.end(JSON.stringify(request.headers)));
  });
  proxy.services.at(-1)?.on('upgrade', (_, socket) => {
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
    );
    socket.pipe(socket);
  });
  slow = await proxy.serve((request, response) => {
    if (request.url !== '/long') return void response.end('short');
    response.write('begun ');
    setTimeout(() => response.end('ended'), 2500);
  });
  await proxy.settings(yaml());
  // 65 days ago: what was issued then is to be renewed by now.
  await proxy.reconcile(Date.now() - 65 * day);
  root = join(proxy.device.root, 'downloaded.pem');
  await run('curl', ['-sf', '-o', root, `http://127.0.0.1:${proxy.plain}/pki/root.pem`]);
}, 60_000);
afterAll(() => proxy.remove());

/** As a client of the lan does: by name, with the downloaded root and nothing else. */
function curl(url: string, ...more: string[]) {
  const { hostname } = new URL(url);
  return run(
    'curl',
    [
      ...['-sS', '--cacert', root, '--capath', '/nonexistent', '--max-time', '20'],
      ...['--resolve', `${hostname}:${proxy.tls}:127.0.0.1`],
      ...more,
      url.replace(hostname, `${hostname}:${proxy.tls}`),
    ],
    { okCodes: [35, 52, 55, 56, 60, 92] },
  );
}

const status = async (url: string, ...more: string[]) =>
  (await curl(url, '-o', '/dev/null', '-w', '%{http_code}', ...more)).stdout;

async function served(name: string): Promise<X509Certificate> {
  return await new Promise((resolve, reject) => {
    const socket = connect(
      { host: '127.0.0.1', port: proxy.tls, servername: name, rejectUnauthorized: false },
      () => {
        resolve(new X509Certificate(socket.getPeerCertificate().raw));
        socket.destroy();
      },
    );
    socket.on('error', reject);
  });
}

describe('a service by name', () => {
  test('answers with a certificate that curl takes by the downloaded root alone', async () => {
    expect(await status('https://echo.home.arpa/')).toBe('200');
    expect(await status('https://echo.internal/')).toBe('200');
    const { exitCode } = await run(
      'curl',
      [
        ...['-s', '--resolve', `echo.home.arpa:${proxy.tls}:127.0.0.1`],
        `https://echo.home.arpa:${proxy.tls}/`,
      ],
      { okCodes: [60] },
    );
    // Whoever does not trust the root.
    expect(exitCode).toBe(60);
  });

  test('is told who asks by the proxy alone, whatever the client says', async () => {
    const lies = [
      'X-Forwarded-For: 1.2.3.4',
      'X-Forwarded-Prefix: /admin',
      'X_Forwarded_For: 1.2.3.4',
      'Forwarded: for=1.2.3.4',
      'X-Real-IP: 1.2.3.4',
      'X-Client-Name: root',
      'Proxy: http://evil.example',
    ];
    const { stdout } = await curl('https://echo.home.arpa/', ...lies.flatMap((one) => ['-H', one]));
    const seen = JSON.parse(stdout) as Record<string, string>;
    expect(seen).toMatchObject({
      host: `echo.home.arpa:${proxy.tls}`,
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-real-ip': '127.0.0.1',
    });
    expect(stdout).not.toMatch(/1\.2\.3\.4|\/admin|root|evil/);
  });

  test('comes with HSTS, and speaks HTTP/2 and HTTP/1.1', async () => {
    const { stdout } = await curl('https://echo.home.arpa/', '-o', '/dev/null', '-D', '-');
    expect(stdout).toMatch(/^HTTP\/2 200/);
    expect(stdout).toMatch(/strict-transport-security: max-age=15552000/i);
    expect(await status('https://echo.home.arpa/', '--http1.1')).toBe('200');
  });

  test('takes WebSockets through', async () => {
    const heard = await new Promise<string>((resolve, reject) => {
      let text = '';
      const socket = connect(
        {
          host: '127.0.0.1',
          port: proxy.tls,
          servername: 'echo.home.arpa',
          ca: [] as string[],
          rejectUnauthorized: false,
        },
        () =>
          socket.write(
            'GET /ws HTTP/1.1\r\nhost: echo.home.arpa\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
          ),
      );
      socket.on('error', reject);
      socket.on('close', () => reject(new Error(`It has ended: ${text}`)));
      socket.on('data', (data: Buffer) => {
        const isFirst = text === '';
        text += data.toString();
        if (isFirst) socket.write('both ways');
        if (!text.endsWith('both ways')) return;
        resolve(text);
        socket.destroy();
      });
    });
    expect(heard).toMatch(/^HTTP\/1\.1 101/);
  });

  test('is refused for a name of another certificate than the handshake was for', async () => {
    expect(await status('https://echo.home.arpa/', '-H', 'Host: vault.home.arpa')).toBe('421');
    expect(await status('https://echo.home.arpa/', '-H', 'Host: echo.internal')).toBe('421');
  });

  test('is not there for a name that is none: not even a certificate is shown', async () => {
    expect((await curl('https://other.home.arpa/')).exitCode).toBe(35);
    await expect(served('other.home.arpa')).rejects.toThrow();
  });

  test('takes no body longer than the owner said', async () => {
    const file = join(proxy.device.root, 'big');
    await writeFile(file, Buffer.alloc(1_048_577));
    expect(await status('https://echo.home.arpa/', '--http1.1', '--data-binary', `@${file}`)).toBe(
      '413',
    );
    await writeFile(file, Buffer.alloc(1_000_000));
    expect(await status('https://echo.home.arpa/', '--http1.1', '--data-binary', `@${file}`)).toBe(
      '200',
    );
  });

  test.each([
    ['TLS 1.0', ['-tls1', '-cipher', 'ALL:@SECLEVEL=0']],
    ['TLS 1.1', ['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0']],
    ['a cipher without forward secrecy', ['-tls1_2', '-cipher', 'AES128-GCM-SHA256']],
    ['a cipher with CBC', ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-SHA']],
  ])('is not spoken to by %s', async (_, flags) => {
    const { stdout } = await run(
      'openssl',
      [
        ...['s_client', '-connect', `127.0.0.1:${proxy.tls}`, '-servername', 'echo.home.arpa'],
        ...flags,
      ],
      { okCodes: [1] },
    );
    expect(stdout).toMatch(/Cipher is \(NONE\)/);
  });
});

describe('without TLS', () => {
  const plain = (path: string, host = '127.0.0.1') =>
    run('curl', [
      ...['-s', '-H', `Host: ${host}`, '-D', '-'],
      `http://127.0.0.1:${proxy.plain}${path}`,
    ]).then(({ stdout }) => stdout);

  test('there are the root, the profile, the lists and the page for them, and else the way to TLS', async () => {
    expect(await plain('/', 'echo.home.arpa')).toMatch(
      /301[\s\S]*location: https:\/\/echo\.home\.arpa\//i,
    );
    expect(await plain('/x?y=z', 'echo.home.arpa')).toMatch(
      /location: https:\/\/echo\.home\.arpa\/x\?y=z/i,
    );
    expect(await plain('/')).toMatch(/302[\s\S]*location: \/trust/i);
    const page = await plain('/trust');
    expect(page).toMatch(/content-type: text\/html/i);
    expect(page).toContain(new X509Certificate(await readFile(root)).fingerprint256);
    expect(await plain('/pki/root.mobileconfig')).toMatch(/x-apple-aspen-config/);
    expect(await plain('/pki/root.crt')).toMatch(/x-x509-ca-cert/);
    expect(await plain('/secret')).toMatch(/^HTTP\/1\.1 404/);
    // Nobody is led to a name of the client's own making.
    expect(await plain('/x', 'evil.example')).toMatch(/^HTTP\/1\.1 404/);
    for (const [path, issuer] of [
      ['/pki/issuing.crl', 'issuing CA'],
      ['/pki/root.crl', 'Pi Gateway CA'],
    ]) {
      const file = join(proxy.device.root, 'x.crl');
      await run('curl', ['-sf', '-o', file, `http://127.0.0.1:${proxy.plain}${path}`]);
      const { stdout } = await run('openssl', ['crl', '-in', file, '-noout', '-issuer']);
      expect(stdout).toContain(issuer);
    }
  });
});

describe('a renewal', () => {
  test('serves the new certificate, and drops no connection and no long request', async () => {
    const before = (await allIssued(proxy.system)).find(({ name }) => name === 'proxy-slow');
    const long = curl('https://slow.home.arpa/long');
    let failed = 0;
    let done = 0;
    let isOver = false;
    const hammer = Promise.all(
      Array.from({ length: 2 }, async () => {
        while (!isOver) {
          const answer = await status('https://slow.home.arpa/', '--http1.1');
          if (answer === '200') done += 1;
          else failed += 1;
        }
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, 500));
    for (let i = 0; i < 2; i++) {
      await proxy.reconcile(Date.now() + i);
      await proxy.system.run('systemctl', ['reload-or-restart', 'pi-gateway-proxy.service']);
    }
    const { stdout } = await long;
    isOver = true;
    await hammer;
    expect(stdout).toBe('begun ended');
    expect(failed).toBe(0);
    expect(done).toBeGreaterThan(10);
    const now = await served('slow.home.arpa');
    expect(now.serialNumber).not.toBe(before?.serial);
    expect(Date.parse(now.validTo)).toBeGreaterThan(Date.now() + 80 * day);
  }, 60_000);
});

describe('a service for clients with certificates', () => {
  const client = async (name: string) => {
    const { issued, p12 } = await withCaLock(proxy.system, () =>
      issueClient(
        proxy.system,
        { name, days: 30, password: 'correct-horse', old: false },
        Date.now(),
      ),
    );
    const file = join(proxy.device.root, `${name}.p12`);
    await writeFile(file, p12);
    return {
      serial: issued.serial,
      flags: ['--cert-type', 'P12', '--cert', `${file}:correct-horse`],
    };
  };

  test('lets in those, with their name, and nobody else', async () => {
    const ann = await client('anns-phone');
    const bob = await client('bobs-phone');
    expect((await curl('https://vault.home.arpa/')).exitCode).not.toBe(0);
    const { stdout } = await curl('https://vault.home.arpa/', ...ann.flags);
    expect(JSON.parse(stdout)).toMatchObject({ 'x-client-name': 'anns-phone' });
    expect(await status('https://vault.home.arpa/', ...bob.flags)).toBe('200');
    // Of those named alone.
    expect(await status('https://safe.home.arpa/', ...ann.flags)).toBe('200');
    expect(await status('https://safe.home.arpa/', ...bob.flags)).toBe('403');
    // A certificate of a server is none of a client.
    const pem = join(proxy.device.root, keyFileOf('proxy-echo'));
    expect((await curl('https://vault.home.arpa/', '--cert', pem)).exitCode).not.toBe(0);
  });

  test('refuses one that was revoked from then on', async () => {
    const eve = await client('eves-phone');
    expect(await status('https://vault.home.arpa/', ...eve.flags)).toBe('200');
    await withCaLock(proxy.system, () =>
      revoke(proxy.system, eve.serial, 'keyCompromise', Date.now()),
    );
    await proxy.reconcile();
    // With TLS 1.3 the client has sent its request before it hears why.
    const after = await curl('https://vault.home.arpa/', '--tls-max', '1.2', ...eve.flags);
    expect(after.exitCode).not.toBe(0);
    expect(after.stderr).toMatch(/revoked/);
  });

  test('is shut even where the list of certificates does not ask for one yet', async () => {
    // As a power cut between the two files could leave it.
    const path = join(proxy.device.root, listFile);
    const list = await readFile(path, 'utf8');
    await writeFile(path, list.replaceAll(/ verify required ca-file \S+ crl-file \S+(?=])/g, ''));
    await proxy.system.run('systemctl', ['reload-or-restart', 'pi-gateway-proxy.service']);
    expect(await status('https://vault.home.arpa/')).toBe('403');
    expect(await status('https://echo.home.arpa/')).toBe('200');
    await proxy.reconcile();
    await writeFile(path, list);
    await proxy.system.run('systemctl', ['reload-or-restart', 'pi-gateway-proxy.service']);
  });
});

describe('a configuration that haproxy refuses', () => {
  test('never comes into force: what was goes on', async () => {
    const config = await readFile(join(proxy.device.root, configFile), 'utf8');
    const wrong = config.replace('backend nothing', 'backend nothing\n  balance sideways');
    await expect(proveConfig(proxy.system, wrong)).rejects.toThrow(/balance/);
    await expect(proxyApplier.prove?.(proxy.system, { [configFile]: wrong })).rejects.toThrow(
      /haproxy refuses/,
    );
    expect(await status('https://echo.home.arpa/')).toBe('200');
  });

  test('is what a program of another version finds: the reload does not happen', async () => {
    await proxy.settings(yaml('    new: { to: http://127.0.0.1:9 }\n'));
    const system = {
      ...proxy.system,
      run: (command: string, args: readonly string[]) =>
        command === 'haproxy'
          ? Promise.reject(new Error('haproxy failed: [ALERT] unknown keyword'))
          : proxy.system.run(command, args),
    };
    const { reconcile } = await import('./reconcile.ts');
    const calls = proxy.device.calls.length;
    await expect(reconcile(system)).rejects.toThrow(/unknown keyword/);
    expect(proxy.device.calls.slice(calls).join('\n')).not.toMatch(/reload/);
    expect(await status('https://echo.home.arpa/')).toBe('200');
    await proxy.settings(yaml());
    await proxy.reconcile();
  });
});

describe('what it leaves', () => {
  test('is names for clients that ask the gateway, which first boot does not take away', async () => {
    const hosts = await proxy.device.read('etc/hosts');
    expect(hosts).toContain('127.0.0.1 echo.home.arpa echo.internal # pi-gateway proxy');
    expect(hosts).toContain('127.0.0.1 localhost');
    await proxy.settings('proxy: { dashboard: false }\n');
    await proxy.reconcile();
    expect(await proxy.device.read('etc/hosts')).not.toMatch(/echo/);
    // No certificate is left, and it runs all the same.
    const plain = await fetch(`http://127.0.0.1:${proxy.plain}/trust`);
    expect(plain.status).toBe(200);
    await expect(
      stat(join(proxy.device.root, 'etc/pi-gateway/proxy/certificates/proxy-echo.pem')),
    ).rejects.toThrow(/ENOENT/);
  });
});
