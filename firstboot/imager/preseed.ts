import { isUtf8 } from 'node:buffer';
import { passwordHashProblem } from '../device-fields.ts';
import { connect, damaged, type Found, interfaces, passwordLogin, sudoRules } from './found.ts';
import { parseToml, type Toml, type TomlValue } from './toml.ts';

const file = 'rpi-preseed.toml';

/**
 * What Raspberry Pi Imager writes for init_format `rpi-preseed` (rpi-imager,
 * src/customization_generator.cpp; the format: rpi-preseed.toml(5) of raspberrypi/rpi-preseed).
 */
export function fromPreseed(text: string): Found | undefined {
  const toml = parseToml(text, file);
  if ([...toml.values()].every((section) => section.size === 0)) return undefined;
  const version = get(toml, '', 'config_version', 'string');
  // Semantic: what 2.0 means is not known, what 1.x adds is noted as unused.
  if (!version || !/^1(\.|$)/.test(version))
    throw damaged(file, 'config_version must be 1.0, the version that is known here');
  const text_ = (section: string, key: string) => get(toml, section, key, 'string') || undefined;
  return {
    hostname: text_('system', 'hostname'),
    user: text_('user', 'name'),
    passwordHash: hashOf(toml),
    keys: keysOf(toml),
    wifi: wifiOf(toml),
    country: text_('wlan', 'country'),
    timezone: text_('locale', 'timezone'),
    locale: text_('locale', 'lang'),
    layout: text_('locale', 'keymap'),
    variant: text_('locale', 'keymap_variant'),
    unused: unusedOf(toml),
  };
}

type Kinds = { string: string; boolean: boolean };

function get<K extends keyof Kinds>(
  toml: Toml,
  section: string,
  key: string,
  kind: K,
): Kinds[K] | undefined {
  const value = toml.get(section)?.get(key);
  if (value === undefined) return undefined;
  if (typeof value !== kind)
    throw damaged(
      file,
      `[${section}] ${key}: must be ${kind === 'string' ? 'text in quotes' : 'true or false'}`,
    );
  return value as Kinds[K];
}

/** Without password_encrypted the password is in clear, and no password in clear is taken. */
function hashOf(toml: Toml): string | undefined {
  const password = get(toml, 'user', 'password', 'string') || undefined;
  if (password !== undefined && get(toml, 'user', 'password_encrypted', 'boolean') !== true)
    throw damaged(
      file,
      `[user] password: ${passwordHashProblem('') ?? ''}; then password_encrypted = true`,
    );
  return password;
}

function keysOf(toml: Toml): readonly string[] | undefined {
  const keys: TomlValue | undefined = toml.get('ssh')?.get('authorized_keys');
  if (keys === undefined || typeof keys === 'object') return keys;
  throw damaged(file, '[ssh] authorized_keys: must be a list');
}

function wifiOf(toml: Toml): Found['wifi'] {
  const hex = get(toml, 'wlan', 'ssid_hex', 'string');
  const ssid = hex ? octets(hex) : get(toml, 'wlan', 'ssid', 'string');
  if (!ssid) return undefined;
  return {
    ssid,
    password: get(toml, 'wlan', 'password', 'string') || undefined,
    hidden: get(toml, 'wlan', 'hidden', 'boolean') ?? false,
  };
}

function octets(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  if (!/^([0-9a-f]{2})+$/i.test(hex) || !isUtf8(bytes))
    throw damaged(file, '[wlan] ssid_hex: names of networks that are no UTF-8 are not supported');
  return bytes.toString('utf8');
}

/** What is taken, or is so anyway. The rest is noted. */
const used: Readonly<Record<string, readonly string[]>> = {
  '': ['config_version'],
  system: ['hostname'],
  user: ['name', 'password', 'password_encrypted', 'groups', 'passwordless_sudo'],
  ssh: ['enabled', 'authorized_keys', 'password_authentication'],
  wlan: ['ssid', 'ssid_hex', 'password', 'password_encrypted', 'hidden', 'country', 'key_mgmt'],
  locale: ['timezone', 'lang', 'locales', 'keymap', 'keymap_variant', 'keymap_model'],
};

function unusedOf(toml: Toml): string[] {
  const unused: string[] = [];
  for (const [section, values] of toml) {
    if (section === 'connect') unused.push(connect);
    else if (section === 'interfaces') unused.push(interfaces);
    else if (!(section in used)) unused.push(`[${section}]: only settings are taken from ${file}`);
    else
      for (const key of values.keys())
        if (!used[section]?.includes(key))
          unused.push(`[${section}] ${key}: there is no such setting here`);
  }
  if (get(toml, 'ssh', 'password_authentication', 'boolean')) unused.push(passwordLogin);
  if (get(toml, 'user', 'passwordless_sudo', 'boolean')) unused.push(sudoRules);
  return unused;
}
