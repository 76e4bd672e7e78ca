import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deviceId } from '../device-id.ts';
import { buildTime } from '../image.ts';
import type { Step } from '../step.ts';
import { at, makeFolder, readIfThere, type System, writeDurably } from '../system.ts';

const folder = '/etc/pi-gateway/ca';
export const caKeyPath = `${folder}/root.key`;
export const caPath = `${folder}/root.crt`;

/** Days: ten years with their leap days. A device that lives longer makes a new root, announced ahead. */
const lifetime = 3653;

/**
 * The only names this root may vouch for: a stolen one cannot pretend to be a bank to the machines that
 * trust it. home.arpa (RFC 8375), local (RFC 6762), internal (reserved by ICANN, 2024); addresses that no
 * one has on the internet: RFC 1918, 6598 and 3927, and 127.0.0.0/8; RFC 4193, fe80::/10 and ::1.
 */
export const permitted = [
  'DNS:home.arpa',
  'DNS:local',
  'DNS:internal',
  'DNS:localhost',
  'IP:10.0.0.0/255.0.0.0',
  'IP:172.16.0.0/255.240.0.0',
  'IP:192.168.0.0/255.255.0.0',
  'IP:100.64.0.0/255.192.0.0',
  'IP:169.254.0.0/255.255.0.0',
  'IP:127.0.0.0/255.0.0.0',
  'IP:fc00:0:0:0:0:0:0:0/fe00:0:0:0:0:0:0:0',
  'IP:fe80:0:0:0:0:0:0:0/ffc0:0:0:0:0:0:0:0',
  'IP:0:0:0:0:0:0:0:1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
];

/** The root of the device's own certificates: EC P-384, self-signed by openssl(1). */
export const ca: Step<Root | undefined> = {
  name: 'internal-ca',
  needs: ['entropy', 'machine-id'],
  check: async (system) => {
    const key = await readKey(system);
    return key !== undefined && matches(await readIfThere(at(system, caPath)), key);
  },
  begin: async (system) => {
    const there = await readIfThere(at(system, caKeyPath));
    return there === undefined ? await newRoot(system) : undefined;
  },
  apply: async (system, begun) => {
    await makeFolder(at(system, folder), 0o700);
    const there = (await readKey(system)) && (await readIfThere(at(system, caKeyPath)));
    const root = there ? await rootOf(system, there) : (begun ?? (await newRoot(system)));
    if (!there) await writeDurably(at(system, caKeyPath), root.key, 0o600);
    await writeDurably(at(system, caPath), root.certificate);
  },
};

/** Both in PEM. */
type Root = { key: string; certificate: string };

async function newRoot(system: System): Promise<Root> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  return await rootOf(system, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
}

async function readKey(system: System): Promise<KeyObject | undefined> {
  try {
    const key = createPrivateKey((await readIfThere(at(system, caKeyPath))) ?? '');
    return key.asymmetricKeyDetails?.namedCurve === 'secp384r1' ? key : undefined;
  } catch {
    return undefined;
  }
}

function matches(text: string | undefined, key: KeyObject): boolean {
  try {
    const certificate = new X509Certificate(text ?? '');
    return (
      certificate.ca &&
      certificate.checkPrivateKey(key) &&
      certificate.verify(certificate.publicKey)
    );
  } catch {
    return false;
  }
}

/** `openssl ca`, as it alone takes both dates in every version that devices have (3.0 to 3.5). */
async function rootOf(system: System, key: string): Promise<Root> {
  // Valid since the image was made: the clock of a first boot may be years off until the network sets it.
  const from = new Date((await buildTime(system)) * 1000);
  const to = new Date(from.getTime() + lifetime * 86_400_000);
  const work = at(system, `${folder}/.new`);
  await rm(work, { recursive: true, force: true });
  await makeFolder(work, 0o700);
  const config = join(work, 'openssl.cnf');
  const keyFile = join(work, 'root.key');
  const write = (path: string, text: string) => writeFile(path, text, { mode: 0o600 });
  await write(config, opensslConfig(work));
  await write(join(work, 'index.txt'), '');
  await write(keyFile, key);
  const name = `/O=Pi Gateway/CN=Pi Gateway CA ${await deviceId(system)}`;
  const request = join(work, 'root.csr');
  await system.run('openssl', [
    ...['req', '-new', '-config', config, '-key', keyFile, '-subj', name, '-out', request],
  ]);
  const certificate = await system.run('openssl', [
    ...['ca', '-config', config, '-selfsign', '-batch', '-notext'],
    ...[
      '-keyfile',
      keyFile,
      '-in',
      request,
      '-startdate',
      asn1Time(from),
      '-enddate',
      asn1Time(to),
    ],
  ]);
  await rm(work, { recursive: true });
  return { key, certificate };
}

/** GeneralizedTime of RFC 5280 §4.1.2.5.2, as openssl-ca(1) takes it. */
export function asn1Time(date: Date): string {
  return `${date.toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`;
}

function opensslConfig(work: string): string {
  return [
    ...['[req]', 'distinguished_name = name', '[name]'],
    ...['[ca]', 'default_ca = root', '[root]'],
    `new_certs_dir = ${work}`,
    ...[`database = ${work}/index.txt`, 'rand_serial = yes'],
    ...['default_md = sha384', 'policy = any', 'x509_extensions = extensions', 'email_in_dn = no'],
    ...['[any]', 'organizationName = supplied', 'commonName = supplied'],
    '[extensions]',
    'basicConstraints = critical, CA:TRUE, pathlen:1',
    'keyUsage = critical, keyCertSign, cRLSign',
    'subjectKeyIdentifier = hash',
    ...constraintLines(),
    '',
  ].join('\n');
}

/** {@link permitted} as x509v3_config(5) has it: the extension, and the section that it refers to. */
export function constraintLines(): string[] {
  return [
    'nameConstraints = critical, @permitted',
    '[permitted]',
    ...permitted.map((one, index) => {
      const [kind, value] = [one.slice(0, one.indexOf(':')), one.slice(one.indexOf(':') + 1)];
      return `permitted;${kind}.${index} = ${value}`;
    }),
  ];
}
