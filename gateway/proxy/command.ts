import { type Command, Option } from 'commander';
import { localClient } from '../api/client.ts';
import { requireRoot } from '../errors.ts';
import { withoutStage } from '../pki/command.ts';
import { type Output, print, table } from '../terminal.ts';
import { type ProxyZone, proxyZones } from './facts.ts';

const collect = (value: string, before: string[]) => [...before, value];

/** pi-gateway proxy … */
export function addProxyCommands(program: Command): void {
  const proxy = program
    .command('proxy')
    .description('services that are found by name, with TLS: https://NAME.home.arpa/');

  proxy
    .command('list')
    .description('which name leads where, for whom, and until when its certificate is good')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const found = await localClient().call('proxyList');
      if (!found.available) throw withoutStage();
      const rows = found.sites.map((one) => [
        one.name,
        one.urls.join(' '),
        one.to,
        one.zones.join(' '),
        one.mtls === false ? '-' : one.mtls === true ? 'any' : one.mtls.join(' '),
        one.certificates
          .map(({ not_after, problem }) => problem ?? not_after?.slice(0, 10) ?? 'none yet')
          .join(' '),
      ]);
      const head = ['name', 'found at', 'leads to', 'zones', 'clients', 'certificate'];
      print(o, found, rows.length === 0 ? 'There is no service.' : table([head, ...rows]));
    });

  proxy
    .command('add')
    .description('serves one by name; it is in force at once, and part of the settings')
    .argument('<name>', 'e.g. grafana: it is found at https://grafana.home.arpa/')
    .argument('<to>', 'where it is, e.g. http://127.0.0.1:3000')
    .option('--host <name>', 'a further host name; may be given again', collect, [])
    .addOption(new Option('--zone <zone>', 'for this zone alone').choices([...proxyZones]))
    .option('--mtls', 'only for clients with a certificate (pi-gateway certificate client)')
    .option('--json', 'for machines')
    .action(
      async (
        name: string,
        to: string,
        o: Output & { host: string[]; zone?: ProxyZone; mtls?: boolean },
      ): Promise<void> => {
        requireRoot();
        const added = await localClient().call('proxyAdd', {
          body: {
            name,
            to,
            names: o.host,
            ...(o.zone ? { zones: [o.zone] } : {}),
            mtls: o.mtls ?? false,
          },
        });
        print(
          o,
          added,
          `${added.urls.join(', ')} leads to ${added.to}, for ${added.zones.join(' and ')}.\n  Devices that do not know the gateway's CA yet: sudo pi-gateway certificate trust`,
        );
      },
    );

  proxy
    .command('remove')
    .description('serves it no more')
    .argument('<name>', 'as proxy list shows it')
    .option('--json', 'for machines')
    .action(async (name: string, o: Output) => {
      requireRoot();
      await localClient().call('proxyRemove', { params: { name } });
      print(o, { removed: name }, `Removed: ${name}.`);
    });
}
