import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { readDaemonFacts, readHostname } from '../image-facts.ts';
import { readDeviceSettings } from '../settings/read.ts';
import { renewCertificate, serverPem } from './certificate.ts';
import { namesOf } from './names.ts';

/**
 * pi-gateway-tls.service: makes the API's certificate when one is due. The daemon gets it as a credential,
 * which systemd reads at its start; its sockets are systemd's, so that a restart refuses nobody.
 */
export async function runTls(system: System): Promise<void> {
  const { addresses } = await readDaemonFacts(system);
  const { settings } = await readDeviceSettings(system);
  const names = namesOf(await readHostname(system), addresses, settings.api.names);
  const isFirst = (await readIfThere(at(system, serverPem))) === undefined;
  const why = await renewCertificate(system, names);
  if (why === undefined) return;
  system.say(`A new certificate of the API: ${why}`);
  // During a boot the daemon waits for this service: nothing here may wait for the daemon.
  const how = isFirst ? 'start' : 'try-restart';
  await system.run('systemctl', ['--no-block', how, 'pi-gatewayd.service']);
}
