import { isUtf8 } from 'node:buffer';
import { parseOwnerYaml } from '../owner-yaml.ts';
import { connect, damaged, type Found, interfaces, passwordLogin, sudoRules } from './found.ts';

/**
 * What Raspberry Pi Imager writes for init_format `cloudinit` and `cloudinit-rpi`
 * (rpi-imager, src/customization_generator.cpp): user-data in cloud-init's "cloud config" format,
 * network-config in netplan's version 2, meta-data with an instance-id. They are read, never run.
 */
export type CloudInitFiles = {
  userData?: string | undefined;
  networkConfig?: string | undefined;
  metaData?: string | undefined;
};

type Mapping = Readonly<Record<string, unknown>>;

/** Undefined if the files are those of an image without customisation: comments alone. */
export function fromCloudInit(files: CloudInitFiles): Found | undefined {
  const user = read(files.userData, 'user-data');
  const network = read(files.networkConfig, 'network-config');
  if (user.isEmpty && network.isEmpty) return undefined;
  // cloud-init: the first line says what the rest is.
  if (!user.isEmpty && !/^#cloud-config\s*$/m.test(files.userData?.split('\n')[0] ?? ''))
    throw damaged('user-data:1:1', 'does not start with #cloud-config, as Imager writes it');
  const meta = read(files.metaData, 'meta-data');
  const config = fromUserData(user);
  return {
    ...config,
    hostname: config.hostname ?? meta.text(meta.data, 'local-hostname'),
    ...fromNetworkConfig(network),
    unused: [...config.unused, ...unusedOfNetwork(network)],
  };
}

type Reader = {
  data: Mapping;
  isEmpty: boolean;
  text(at: Mapping, key: string): string | undefined;
  mapping(at: Mapping, key: string): Mapping;
  texts(at: Mapping, key: string): string[];
  decode(value: string): string;
};

function read(source: string | undefined, name: string): Reader {
  const yaml = parseOwnerYaml(source ?? '');
  const [problem] = yaml.problems;
  if (problem) throw damaged(`${name}:${yaml.place(problem.offset)}`, problem.message);
  const wrong = (key: string, what: string) => damaged(name, `${key}: ${what}`);
  const decode = (value: string) => decodeOctets(value, source ?? '', name);
  const data = yaml.data as Mapping;
  return {
    data,
    isEmpty: Object.keys(data).length === 0,
    decode,
    text: (at, key) => {
      const value = at[key];
      if (value === undefined || value === null) return undefined;
      // Imager before 2.0 wrote names without quotes, so that one of digits reads as a number.
      if (typeof value === 'number') return String(value);
      if (typeof value !== 'string') throw wrong(key, 'must be text');
      return value === '' ? undefined : decode(value);
    },
    mapping: (at, key) => {
      const value = at[key] ?? {};
      if (!isMapping(value)) throw wrong(key, 'must have keys below it');
      return value;
    },
    texts: (at, key) => {
      const value = at[key] ?? [];
      if (!Array.isArray(value) || !value.every((item) => typeof item === 'string'))
        throw wrong(key, 'must be a list of texts');
      return value.map(decode);
    },
  };
}

const isMapping = (value: unknown): value is Mapping =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Imager writes each octet beyond ASCII as \xHH, which YAML takes for the character of that number: é
 * comes as two. The octets are UTF-8 (or no text at all, as an SSID may be).
 */
function decodeOctets(value: string, source: string, name: string): string {
  if (!/\\x[0-9a-f]{2}/i.test(source) || !/[\u0080-\u00ff]/.test(value)) return value;
  if (/[\u0100-\uffff]/.test(value)) return value;
  const octets = Buffer.from(value, 'latin1');
  if (!isUtf8(octets)) throw damaged(name, 'holds a name that is not in UTF-8');
  return octets.toString('utf8');
}

/** Keys that ask for what is so anyway, or for what only cloud-init itself needs. */
const met = new Set([
  'hostname',
  'manage_etc_hosts',
  'manage_resolv_conf',
  'preserve_hostname',
  'enable_ssh',
  'timezone',
  'locale',
  'keyboard',
  'user',
  'users',
  'ssh_authorized_keys',
  'ssh_pwauth',
  'rpi',
  'runcmd',
]);

const reasons: Readonly<Record<string, string>> = {
  packages: 'software is part of the image',
  apt: "the image's own settings of apt stay",
};

function fromUserData(reader: Reader): Found {
  const { data } = reader;
  const keyboard = reader.mapping(data, 'keyboard');
  const { account, others } = accountOf(reader);
  const unused: string[] = [];
  for (const key of Object.keys(data)) {
    if (met.has(key)) continue;
    const name = /^[a-z][a-z0-9_-]{0,31}$/.test(key) ? key : 'a further key';
    unused.push(`${name}: ${reasons[key] ?? 'only settings are taken from user-data'}`);
  }
  if (others) unused.push('further users: there is one admin');
  if (data.ssh_pwauth === true) unused.push(passwordLogin);
  if (data.rpi !== undefined) unused.push(interfaces);
  if (account.plain_text_passwd !== undefined)
    unused.push('a password in clear: only a hash is taken (`passwd:`)');
  if (account.sudo !== undefined && account.sudo !== null) unused.push(sudoRules);
  return {
    hostname: reader.text(data, 'hostname'),
    user: reader.text(account, 'name'),
    passwordHash: reader.text(account, 'passwd') ?? reader.text(account, 'hashed_passwd'),
    keys: [
      ...reader.texts(account, 'ssh_authorized_keys'),
      ...reader.texts(data, 'ssh_authorized_keys'),
    ],
    timezone: reader.text(data, 'timezone'),
    locale: reader.text(data, 'locale'),
    layout: reader.text(keyboard, 'layout'),
    variant: reader.text(keyboard, 'variant'),
    unused: [...unused, ...unusedCommands(data.runcmd)],
  };
}

/** `user:` of today's Imager, or `users:` of the earlier ones; "default" there is the distribution's. */
function accountOf(reader: Reader): { account: Mapping; others: boolean } {
  const { data } = reader;
  const one = reader.mapping(data, 'user');
  const list = data.users ?? [];
  if (!Array.isArray(list)) throw damaged('user-data', 'users: must be a list');
  const all = [one, ...list.filter(isMapping)].filter((entry) => Object.keys(entry).length > 0);
  return { account: all[0] ?? {}, others: all.length > 1 };
}

/** Commands are not run. Some ask for what is so anyway: SSH on, the radio on. None is quoted: it may hold a token. */
function unusedCommands(commands: unknown): string[] {
  if (!Array.isArray(commands)) return [];
  const lines = commands.map((command) =>
    Array.isArray(command) ? command.join(' ') : `${command}`,
  );
  const others = lines.filter(
    (line) => !/^systemctl enable (--now )?ssh$/.test(line) && !/rfkill/.test(line),
  );
  const isConnect = (line: string) =>
    /rpi-connect|com\.raspberrypi\.connect|systemd\/(user|linger)|\.config\/systemd|enable-linger|@\.host|^sleep 2$/.test(
      line,
    );
  const isSudo = (line: string) => line.includes('/etc/sudoers.d/');
  return [
    ...(others.some((line) => /rpi-connect|com\.raspberrypi\.connect/.test(line)) ? [connect] : []),
    ...(others.some(isSudo) ? [sudoRules] : []),
    ...(others.some((line) => !isConnect(line) && !isSudo(line))
      ? ['commands (runcmd): they are not run']
      : []),
  ];
}

/** The first access point of the first Wi-Fi interface, and the country. */
function fromNetworkConfig(reader: Reader): Pick<Found, 'wifi' | 'country'> {
  const [wlan] = radios(reader);
  if (!wlan) return {};
  const country = reader.text(wlan, 'regulatory-domain');
  const points = reader.mapping(wlan, 'access-points');
  const [name] = Object.keys(points);
  if (name === undefined) return { country };
  const point = reader.mapping(points, name);
  const auth = reader.mapping(point, 'auth');
  return {
    country,
    wifi: {
      ssid: reader.decode(name),
      password: reader.text(point, 'password') ?? reader.text(auth, 'password'),
      hidden: point.hidden === true,
    },
  };
}

function topOf(reader: Reader): Mapping {
  return 'network' in reader.data ? reader.mapping(reader.data, 'network') : reader.data;
}

function radios(reader: Reader): Mapping[] {
  const wifis = reader.mapping(topOf(reader), 'wifis');
  return Object.keys(wifis).map((name) => reader.mapping(wifis, name));
}

function unusedOfNetwork(reader: Reader): string[] {
  const points = radios(reader).flatMap((wlan) =>
    Object.keys(reader.mapping(wlan, 'access-points')),
  );
  const wired = reader.mapping(topOf(reader), 'ethernets');
  const isFixed = Object.keys(wired).some(
    (name) => reader.mapping(wired, name).addresses !== undefined,
  );
  return [
    ...(points.length > 1 ? ['further Wi-Fi networks: the first is used'] : []),
    ...(isFixed ? ['fixed addresses: `network:` in gateway-device.yaml has them'] : []),
  ];
}
