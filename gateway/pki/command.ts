import { readFile, writeFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { localClient } from '../api/client.ts';
import { GatewayError, requireRoot } from '../errors.ts';
import { type Output, print, table } from '../terminal.ts';
import { reasons } from './openssl.ts';
import type { CertificateView } from './view.ts';

function days(text: string): number {
  const value = Number(text);
  if (!/^\d{1,3}$/.test(text) || value < 1)
    throw new InvalidArgumentError('It must be a number of days, e.g. 365.');
  return value;
}

const collect = (value: string, before: string[]) => [...before, value];

/** pi-gateway certificate … */
export function addCertificateCommands(program: Command): void {
  const certificate = program
    .command('certificate')
    .description("certificates of the gateway's own CA, for services and for people's devices");

  certificate
    .command('list')
    .description('what was issued, and until when it is good')
    .option('--all', 'also what is over or replaced')
    .option('--json', 'for machines')
    .action(async (o: Output & { all?: boolean }) => {
      requireRoot();
      const found = await localClient().call('certificateList', {
        query: { all: o.all ? 'true' : 'false' },
      });
      if (!found.available) throw withoutStage();
      print(o, found, listText(found.certificates));
    });

  certificate
    .command('issue')
    .description('a certificate for a server in your networks; renewed by itself')
    .argument('<name>', 'what it is called here, e.g. nas')
    .requiredOption(
      '--for <name>',
      'host name below home.arpa, internal or local, or private address; may be given again',
      collect,
      [],
    )
    .option('--request <file>', "sign the server's own request (PKCS#10, PEM) instead of a new key")
    .option('--days <days>', 'of a signed request; at most 199', days, 90)
    .option('--json', 'for machines')
    .addHelpText(
      'after',
      `
Examples:
  sudo pi-gateway certificate issue nas --for nas.home.arpa --for 192.168.10.5
  sudo pi-gateway certificate export nas nas.pem
  sudo pi-gateway certificate issue switch --for switch.home.arpa --request switch.csr`,
    )
    .action(
      async (
        name: string,
        o: Output & { for: string[]; request?: string; days: number },
      ): Promise<void> => {
        requireRoot();
        const body = { name, names: o.for };
        if (o.request === undefined) {
          const made = await localClient().call('certificateIssue', { body });
          print(
            o,
            made,
            `Issued: ${name}, for ${made.names.join(', ')}, until ${made.not_after.slice(0, 10)}; renewed by itself.\n  With its key, for the server: sudo pi-gateway certificate export ${name} ${name}.pem`,
          );
          return;
        }
        const request = await readFile(o.request, 'utf8').catch((cause: Error) => {
          throw new GatewayError(`${o.request} cannot be read: ${cause.message}`, 'Check its name');
        });
        const made = await localClient().call('certificateSign', {
          body: { ...body, request, days: o.days },
        });
        if (!o.json) process.stderr.write('It is not renewed by itself, as its key is not here.\n');
        print(o, made, made.pem.trimEnd());
      },
    );

  certificate
    .command('client')
    .description("a certificate with its key for a person's device, as PKCS#12")
    .argument('<name>', 'whose it is, e.g. anns-phone')
    .argument('<file>', 'where to, e.g. anns-phone.p12; - for standard output')
    .option('--days <days>', 'how long it is good; at most 825', days, 365)
    .option('--old', 'for systems before Android 12, iOS 16, macOS 13, Windows 10 1809')
    .option('--json', 'for machines')
    .action(
      async (
        name: string,
        file: string,
        o: Output & { days: number; old?: boolean },
      ): Promise<void> => {
        requireRoot();
        const made = await localClient().call('certificateClient', {
          body: { name, days: o.days, old: o.old ?? false },
        });
        await hand(file, Buffer.from(made.p12, 'base64'));
        const { serial } = made.certificate;
        if (file === '-') process.stderr.write(`Password: ${made.password}\n`);
        else
          print(
            o,
            { certificate: made.certificate, password: made.password, file },
            `${file} is for ${name}, until ${made.certificate.not_after.slice(0, 10)}. Its password, this once:\n\n  ${made.password}\n\n  There is no copy of it here. To end it: sudo pi-gateway certificate revoke ${serial}`,
          );
      },
    );

  certificate
    .command('renew')
    .description('a new one now, with a new key; else it comes by itself 30 days before its end')
    .argument('<name>', 'as certificate list shows it')
    .option('--json', 'for machines')
    .action(async (name: string, o: Output) => {
      requireRoot();
      const made = await localClient().call('certificateRenew', { params: { name } });
      print(o, made, `Renewed: ${name}, until ${made.not_after.slice(0, 10)}.`);
    });

  certificate
    .command('revoke')
    .description('ends one before its time; the proxy refuses it at once')
    .argument('<serial>', 'as certificate list shows it')
    .addOption(
      new Option('--reason <reason>', 'for the list').choices([...reasons]).default('unspecified'),
    )
    .option('--json', 'for machines')
    .action(async (serial: string, o: Output & { reason: (typeof reasons)[number] }) => {
      requireRoot();
      const ended = await localClient().call('certificateRevoke', {
        params: { serial },
        body: { reason: o.reason },
      });
      print(o, ended, `Revoked: ${ended.name} (${serial}).`);
    });

  certificate
    .command('export')
    .description('certificate, chain and key of a server, in one PEM file of mode 0600')
    .argument('<name>', 'as certificate list shows it')
    .argument('<file>', 'where to; - for standard output')
    .action(async (name: string, file: string) => {
      requireRoot();
      const { pem } = await localClient().call('certificateExport', { params: { name } });
      await hand(file, pem);
    });

  certificate
    .command('trust')
    .description("the CA's root with its fingerprint, and how devices come to trust it")
    .option('--pem', 'the root alone')
    .option('--json', 'for machines')
    .action(async (o: Output & { pem?: boolean }) => {
      requireRoot();
      const found = await localClient().call('certificateTrust');
      print(
        o,
        found,
        o.pem
          ? found.pem.trimEnd()
          : [
              `${found.name}, until ${found.not_after.slice(0, 10)}`,
              `SHA-256 ${found.fingerprint}`,
              '',
              found.url
                ? `On each device open ${found.url} and compare the fingerprint.`
                : 'The root alone: sudo pi-gateway certificate trust --pem',
              ...found.steps.map(({ system, file, steps }) => `\n${system} (${file})\n  ${steps}`),
            ].join('\n'),
      );
    });
}

/** Writes a file that has a key: for its owner alone, and over none that is there. */
async function hand(file: string, content: string | Buffer): Promise<void> {
  if (file === '-') {
    process.stdout.write(content);
    return;
  }
  await writeFile(file, content, { mode: 0o600, flag: 'wx' }).catch(
    (cause: NodeJS.ErrnoException) => {
      throw new GatewayError(
        cause.code === 'EEXIST'
          ? `${file} is there already`
          : `${file} cannot be written: ${cause.message}`,
        'Give another name for the file',
      );
    },
  );
}

/** What an image without the stage has to say. */
export function withoutStage(): GatewayError {
  return new GatewayError(
    'This image was built without certificates for services and their proxy',
    'Put `proxy: {}` below `stages:` in gateway.yaml, and build the image anew: docs/certificates.md',
  );
}

function listText(list: readonly CertificateView[]): string {
  if (list.length === 0) return 'Nothing was issued yet.';
  const rows = list.map((one) => [
    one.name,
    one.kind,
    one.names.join(' ') || '-',
    one.not_after.slice(0, 10),
    one.state,
    one.serial,
  ]);
  return table([['name', 'kind', 'for', 'until', 'state', 'serial'], ...rows]);
}
