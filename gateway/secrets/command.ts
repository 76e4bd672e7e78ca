import type { Command } from 'commander';
import { deviceSystem } from '../../firstboot/system.ts';
import { localClient } from '../api/client.ts';
import { GatewayError, requireRoot } from '../errors.ts';
import { readHidden } from '../hidden-input.ts';
import { type Output, print, table } from '../terminal.ts';
import { decryptValue, needSecret } from './store.ts';
import type { SecretList } from './view.ts';

const collect = (one: string, all: readonly string[] = []): string[] => [...all, one];

/** pi-gateway secret … */
export function addSecretCommands(program: Command): void {
  const secret = program
    .command('secret')
    .description('passwords and keys of services, encrypted on this device');

  secret
    .command('list')
    .description('which there are and who uses them; never their values')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const list = await localClient().call('secretsList');
      print(o, list, listText(list));
    });

  secret
    .command('set')
    .argument('<name>', 'e.g. nas.password')
    .description('makes a secret or gives it another value; asks for it, or reads standard input')
    .option('--generate', 'make a password instead of asking')
    .option('--unit <unit>', 'a unit that is restarted when it changes; may be repeated', collect)
    .option('--json', 'for machines')
    .action(async (name: string, o: Output & { generate?: boolean; unit?: string[] }) => {
      requireRoot();
      const value = o.generate ? {} : { value: await askValue(name) };
      const units = o.unit ? { units: o.unit } : {};
      const done = await localClient().call('secretSet', {
        params: { name },
        body: { ...value, ...units },
      });
      print(
        o,
        done,
        `${name} is version ${done.version}. A service gets it by LoadCredentialEncrypted=${name}`,
      );
    });

  secret
    .command('rotate')
    .argument('<name>')
    .description('another value, and a restart of what uses it; a failed one is taken back')
    .option('--ask', 'ask for the value, or read standard input, instead of making one')
    .option('--json', 'for machines')
    .action(async (name: string, o: Output & { ask?: boolean }) => {
      requireRoot();
      const body = o.ask ? { value: await askValue(name) } : {};
      const done = await localClient().call('secretRotate', { params: { name }, body });
      const restarted = done.restarted.length > 0 ? done.restarted.join(', ') : 'nothing';
      print(
        o,
        done,
        `${name} is version ${done.secret.version}. Restarted: ${restarted}. See it: sudo pi-gateway secret show ${name}`,
      );
    });

  secret
    .command('show')
    .argument('<name>')
    .description('prints the value; only root on the device can, and no API')
    .action(async (name: string) => {
      requireRoot();
      // node 20's word that its X25519 is new; nothing that who looks a password up can do anything about.
      process.removeAllListeners('warning');
      const system = deviceSystem((text) => process.stderr.write(`${text}\n`));
      const value = await decryptValue(system, await needSecret(system, name));
      // As it is: it may be a key file of several lines.
      process.stdout.write(value.endsWith('\n') ? value : `${value}\n`);
    });

  secret
    .command('remove')
    .argument('<name>')
    .description('removes it; one that units use only with --force')
    .option('--force', 'even if units use it')
    .option('--json', 'for machines')
    .action(async (name: string, o: Output & { force?: boolean }) => {
      requireRoot();
      const query = { force: o.force ? ('true' as const) : ('false' as const) };
      await localClient().call('secretRemove', { params: { name }, query });
      print(o, { removed: name }, `${name} is gone.`);
    });

  secret
    .command('deliver')
    .description('gives systemd the secrets that it does not have')
    .option('--all', 'all anew: after a restore onto another card')
    .option('--json', 'for machines')
    .action(async (o: Output & { all?: boolean }) => {
      requireRoot();
      const done = await localClient().call('secretsDeliver', { body: { all: o.all ?? false } });
      const names = done.delivered.length > 0 ? done.delivered.join(', ') : 'none was missing';
      print(o, done, `Delivered: ${names}.`);
    });
}

/** Twice from a terminal; all of standard input from a pipe, without the line end that echo adds. */
async function askValue(name: string): Promise<string> {
  if (process.stdin.isTTY) {
    const value = await readHidden(`Value of ${name}: `);
    if ((await readHidden('Once more: ')) !== value)
      throw new GatewayError('The two are not the same', 'Try again', 'refused');
    return value;
  }
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
  const text = Buffer.concat(chunks).toString('utf8');
  return text.split('\n').length === 2 ? text.replace(/\r?\n$/, '') : text;
}

export function listText({ available, secrets }: SecretList): string {
  if (!available)
    return 'This image was built without the secrets store. In gateway.yaml: stages: {secrets: {}}';
  if (secrets.length === 0) return 'No secrets yet. Make one: sudo pi-gateway secret set NAME';
  return table([
    ['NAME', 'VERSION', 'MADE', 'CHANGED', 'USED BY', ''],
    ...secrets.map((one) => [
      one.name,
      String(one.version),
      one.made,
      one.changed_at.slice(0, 10),
      one.units.join(' ') || '-',
      one.delivered ? '' : 'NOT DELIVERED: sudo pi-gateway secret deliver',
    ]),
  ]);
}
