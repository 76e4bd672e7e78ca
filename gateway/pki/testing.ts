import { ca } from '../../firstboot/steps/ca.ts';
import { built, TestDevice } from '../../firstboot/testing.ts';
import { proxyFactsFile } from '../proxy/facts.ts';

const day = 86_400_000;

/** Milliseconds: a while after the test's image was made, and its CA with it. */
export const now = built * 1000 + 100 * day;
export const inDays = (days: number): number => now + days * day;

/** A device with a CA, and the facts of stage `proxy` with lan and VPN. */
export async function certificateDevice(): Promise<TestDevice> {
  const device = await TestDevice.make();
  await device.put('etc/hostname', 'attic\n');
  await device.put(
    proxyFactsFile,
    JSON.stringify({
      zones: [
        { name: 'lan', addresses: ['192.168.10.1'], networks: ['192.168.10.0/24'] },
        { name: 'vpn', addresses: ['10.66.0.1'], networks: ['10.66.0.0/24'] },
      ],
      acme: true,
    }),
  );
  await ca.apply(device.system);
  return device;
}
