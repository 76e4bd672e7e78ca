import { expect, test } from 'vitest';
import { isAvailable, requireStage } from '../../gateway/secrets/change.ts';
import { SettingsDevice } from '../../gateway/settings/testing.ts';
import { renderStage } from '../testing.ts';
import { secrets } from './stage.ts';

const unit = '/usr/lib/systemd/system/pi-gateway-secrets-key.service';

test('is off unless gateway.yaml turns it on, and needs who makes the key of the store', () => {
  expect(secrets.enabledByDefault).toBe(false);
  expect(secrets.needs).toContain('firstboot');
});

test('the device knows by a file of the stage that it has a store', async () => {
  const device = await SettingsDevice.make();
  try {
    expect(await isAvailable(device.system)).toBe(false);
    await expect(requireStage(device.system)).rejects.toThrow('built without the secrets store');
    await device.put(unit, (await renderStage(secrets)).text(unit));
    expect(await isAvailable(device.system)).toBe(true);
  } finally {
    await device.remove();
  }
});

test('the helper may write where services find credentials, which is there from the start', async () => {
  const files = await renderStage(secrets);
  const folder = '/etc/credstore.encrypted';
  expect(
    files.text('/usr/lib/systemd/system/pi-gateway-helper.service.d/50-secrets.conf'),
  ).toContain(`ReadWritePaths=-${folder}\n`);
  expect(files.text('/usr/lib/tmpfiles.d/pi-gateway-secrets.conf')).toContain(`d ${folder} 0700 `);
});

test("the host's key is made once, and after the machine-id that is part of it", async () => {
  const text = (await renderStage(secrets)).text(unit);
  expect(text).toContain('ConditionPathExists=!/var/lib/systemd/credential.secret\n');
  expect(text).toContain('After=pi-gateway-firstboot.service\n');
});
