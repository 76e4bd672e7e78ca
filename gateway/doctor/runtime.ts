import { X509Certificate } from 'node:crypto';
import { stamp, takenOver } from '../../firstboot/run.ts';
import { at, readIfThere } from '../../firstboot/system.ts';
import { readUnits } from '../services/units.ts';
import { type Examination, failed, ok, skipped, type World, warning } from './examination.ts';

/** Where the daemon answers root, and where the API's certificate is: gateway/api/client.ts, gateway/tls. */
const apiSocket = '/run/pi-gatewayd/api.sock';
const certificate = '/etc/pi-gateway/tls/server.pem';

/** Days; it is renewed long before. */
const soon = 7;

const firstBoot: Examination = {
  id: 'first-boot',
  title: 'First boot',
  run: async ({ system }) => {
    if ((await readIfThere(at(system, stamp))) !== undefined) return ok('It is complete');
    const isOpen = (await readIfThere(at(system, takenOver))) !== undefined;
    return isOpen
      ? warning(
          "It has all of the owner's files, and is not through",
          'Secrets may still lie on the boot partition',
          'See what fails: sudo pi-gateway logs --unit pi-gateway-firstboot.service; then restart the device',
        )
      : failed(
          'It is not complete',
          'Until then nobody gets in, and the VPN has no key',
          'Read gateway-status.txt on the boot partition; it says what is missing',
        );
  },
};

const daemon: Examination = {
  id: 'daemon',
  title: 'Daemon (pi-gatewayd)',
  run: async ({ system, get }) => {
    const unit = (await readUnits(system, ['pi-gatewayd.service'])).get('pi-gatewayd.service');
    if (!unit) return skipped('This image has none');
    try {
      const status = await get(apiSocket, '/api/v1/claim');
      if (status === 200) return ok('It answers');
      throw new Error(`status ${status}`);
    } catch (error) {
      return failed(
        `It does not answer (${error instanceof Error ? error.message : error}); systemd says ${unit.state}, ${unit.result}`,
        'No dashboard, no alerts, and no new VPN clients; the VPN itself and the firewall go on',
        unit.state === 'active'
          ? 'Restart it: sudo systemctl restart pi-gatewayd'
          : 'See why: sudo pi-gateway logs dashboard; start it: sudo systemctl start pi-gatewayd',
      );
    }
  },
};

const sockets: Examination = {
  id: 'helper',
  title: 'Helper and state sockets',
  run: async ({ system }) => {
    const names = ['pi-gateway-helper.socket', 'pi-gateway-state.socket'];
    const units = await readUnits(system, [...names, 'pi-gateway-helper.service']);
    if (!names.some((name) => units.has(name))) return skipped('This image has none');
    const down = names.filter((name) => units.get(name)?.state !== 'active');
    if (down.length > 0)
      return failed(
        `Not listening: ${down.join(', ')}`,
        'The API can read, but change nothing',
        `Start them: sudo systemctl start ${down.join(' ')}`,
      );
    const helper = units.get('pi-gateway-helper.service');
    return helper?.state === 'failed'
      ? failed(
          `The helper has failed: ${helper.result}`,
          'The API can read, but change nothing',
          'See why: sudo pi-gateway logs --unit pi-gateway-helper.service',
        )
      : ok('They listen');
  },
};

const tls: Examination = {
  id: 'certificate',
  title: "Dashboard's certificate",
  run: async ({ system, now }) => {
    const pem = await readIfThere(at(system, certificate));
    if (pem === undefined)
      return failed(
        `There is no ${certificate}`,
        'The daemon does not start without it',
        'Make it: sudo systemctl start pi-gateway-tls; see why not: sudo pi-gateway logs --unit pi-gateway-tls.service',
      );
    const { validFrom, validTo } = new X509Certificate(pem);
    const renew = 'Renew it: sudo systemctl start pi-gateway-tls';
    const days = Math.floor((Date.parse(validTo) - now()) / 86_400_000);
    if (Date.parse(validFrom) > now())
      return failed(
        `It holds from ${validFrom}, which is in the future`,
        "The device's clock is wrong, or was when the certificate was made",
        renew,
      );
    if (days < 0) return failed(`It ended on ${validTo}`, 'Browsers refuse the dashboard', renew);
    return days < soon
      ? warning(`It ends in ${days} days`, 'It should have been renewed by now', renew)
      : ok(`It holds for ${days} days`);
  },
};

const failedUnits: Examination = {
  id: 'units',
  title: 'Services and jobs',
  run: async ({ system }: World) => {
    const list = await system.run('systemctl', [
      'list-units',
      '--state=failed',
      '--plain',
      '--no-legend',
      '--no-pager',
    ]);
    const names = list.split('\n').flatMap((line) => line.trim().split(/\s+/)[0] || []);
    const [first] = names;
    return first === undefined
      ? ok('None has failed')
      : failed(
          `Failed: ${names.join(', ')}`,
          'What it does is not done',
          `See why: sudo pi-gateway logs --unit ${first}; try again: sudo systemctl restart ${first}`,
        );
  },
};

export const runtimeExaminations: readonly Examination[] = [
  firstBoot,
  daemon,
  sockets,
  tls,
  failedUnits,
];
