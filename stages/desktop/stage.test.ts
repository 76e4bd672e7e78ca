import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { exposure } from '../exposure.ts';
import { firewall } from '../firewall/stage.ts';
import { renderStage } from '../testing.ts';
import { wireguard } from '../wireguard/stage.ts';
import { desktop } from './stage.ts';

const unit = '/usr/lib/systemd/system/pi-gateway-desktop.service';
const browser = { title: 'Files', command: 'pcmanfm-qt', package: 'pcmanfm-qt' };

test('is in no image that does not name it, and starts with none', () => {
  expect(desktop.enabledByDefault).toBe(false);
  expect(desktop.services).toBeUndefined();
});

test('listens on the address in the VPN, and the firewall opens its port to VPN clients alone', async () => {
  const files = await renderStage(desktop, {}, [wireguard, firewall]);
  expect(files.text(unit)).toMatch(/^Environment=ADDRESS=10\.66\.0\.1 PORT=5900 IDLE_MINUTES=15$/m);
  const rules = (
    await renderStage(
      firewall,
      { zones: { lan: { interfaces: ['eth1'], address4: '192.168.10.1/24' } } },
      [wireguard, desktop],
    )
  ).text('/etc/nftables.conf');
  const chain = (name: string) => new RegExp(`chain in_${name} \\{[^}]*\\}`).exec(rules)?.[0];
  expect(chain('vpn')).toMatch(/5900/);
  for (const zone of ['wan', 'lan']) expect(chain(zone), zone).not.toMatch(/5900/);
});

test('programs on it reach nobody, unless the owner lets them', async () => {
  const closed = (await renderStage(desktop, {}, [wireguard])).text(unit);
  expect(closed).toMatch(/^IPAddressDeny=any$/m);
  expect(closed).toMatch(/^IPAddressAllow=10\.66\.0\.0\/24$/m);
  const open = (await renderStage(desktop, { network: true }, [wireguard])).text(unit);
  expect(open).not.toContain('IPAddressDeny');
});

test('further programs are installed and in the menu', async () => {
  expect(desktop.packages?.(desktop.options.parse({ programs: [browser] }))).toContain(
    'pcmanfm-qt',
  );
  const menu = (await renderStage(desktop, { programs: [browser] }, [wireguard])).text(
    '/usr/share/pi-gateway/desktop/menu.xml',
  );
  expect(menu).toContain(
    '<item label="Files"><action name="Execute" command="pcmanfm-qt"/></item>',
  );
});

test('a title or a command that would be more than that is refused', () => {
  for (const wrong of [{ title: 'a"/><x' }, { command: 'sh -c "rm"' }, { package: 'x y' }])
    expect(
      desktop.options.safeParse({ programs: [{ ...browser, ...wrong }] }).success,
      JSON.stringify(wrong),
    ).toBe(false);
});

test('runs as a user of its own, exposed at most 2.0 of 10 (systemd-analyze security)', async () => {
  const text = (await renderStage(desktop, {}, [wireguard])).text(unit);
  expect(text).toMatch(/^User=pi-gateway-desktop$/m);
  expect(text).toMatch(/^CapabilityBoundingSet=$/m);
  expect(await exposure('pi-gateway-desktop.service', text)).toBeLessThanOrEqual(2);
});

test('its password is told to systemd by a file, never by an environment or arguments', async () => {
  const text = (await renderStage(desktop, {}, [wireguard])).text(unit);
  expect(text).toMatch(/^LoadCredential=password:\/run\/pi-gateway\/desktop\/password$/m);
  expect(text).not.toMatch(/^Environment=.*assword/m);
  const script = (await renderStage(desktop, {}, [wireguard])).text('/usr/lib/pi-gateway/desktop');
  // A builtin of the shell has no command line.
  expect(script).toContain('echo "password=$(cat "$CREDENTIALS_DIRECTORY/password")"');
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-desktop-'));
  await writeFile(join(folder, 'desktop'), script);
  await run('sh', ['-n', join(folder, 'desktop')]);
  await rm(folder, { recursive: true });
});
