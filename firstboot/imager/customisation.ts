import type * as z from 'zod';
import { locale, publicKeyProblem, timeZone } from '../../builder/config/fields.ts';
import {
  adminName,
  country,
  deviceName,
  keyboardLayout,
  keyboardVariant,
  passwordHash,
  ssid,
  wifiPassword,
} from '../device-fields.ts';
import { readOwnerText } from '../owner-file.ts';
import type { Settings } from '../settings.ts';
import { OwnerError } from '../step.ts';
import { once, type System } from '../system.ts';
import { fromCloudInit } from './cloud-init.ts';
import { fromFirstrun } from './firstrun.ts';
import { damaged, type Found } from './found.ts';
import { fromPreseed } from './preseed.ts';

/** Of the formats before Imager 2; Raspberry Pi OS reads them, this image does not. */
const legacy = ['custom.toml', 'userconf.txt', 'wpa_supplicant.conf'];

/** Files of the boot partition that may hold secrets by Imager, to be wiped once they are in use. */
export const imagerFiles: readonly string[] = [
  'user-data',
  'network-config',
  'meta-data',
  'firstrun.sh',
  'rpi-preseed.toml',
  ...legacy,
];

export type ImagerCustomisation = {
  settings: Partial<Settings>;
  /** What Imager was asked for and is not applied, for people. */
  notes: string[];
  /** Which of `imagerFiles` are there. */
  files: string[];
};

/**
 * Raspberry Pi Imager's customisation as it lies on the boot partition, of whichever `init_format`:
 * cloudinit, cloudinit-rpi, systemd, rpi-preseed. Nothing of it is run.
 * @throws OwnerError if a file is damaged, or if there are two customisations.
 */
export function imagerCustomisation(system: System): Promise<ImagerCustomisation> {
  return once(system, readCustomisation);
}

async function readCustomisation(system: System): Promise<ImagerCustomisation> {
  const texts = new Map<string, string>();
  for (const name of imagerFiles) {
    const text = await readOwnerText(system, name);
    if (text !== undefined) texts.set(name, text);
  }
  const formats: [string, Found | undefined][] = [
    [
      texts.has('user-data') ? 'user-data' : 'network-config',
      fromCloudInit({
        userData: texts.get('user-data'),
        networkConfig: texts.get('network-config'),
        metaData: texts.get('meta-data'),
      }),
    ],
    ['firstrun.sh', fromFirstrun(texts.get('firstrun.sh') ?? '')],
    ['rpi-preseed.toml', fromPreseed(texts.get('rpi-preseed.toml') ?? '')],
  ];
  const [one, other] = formats.flatMap(([name, found]) => (found ? [{ name, found }] : []));
  if (one && other)
    throw new OwnerError(
      `${one.name} and ${other.name} are both there, and it is not clear which counts`,
      'Remove one of them, or write the card again with Raspberry Pi Imager',
    );
  // Imager names the country on the kernel's command line, for all formats.
  const commandLine = (await readOwnerText(system, 'cmdline.txt')) ?? '';
  const domain = /(?:^|\s)cfg80211\.ieee80211_regdom=([A-Za-z]{2})(?=\s|$)/.exec(commandLine)?.[1];
  const found = one?.found ?? { unused: [] };
  const result = settingsOf(
    { ...found, country: found.country ?? domain },
    one?.name ?? 'cmdline.txt',
  );
  const old = legacy.filter((name) => texts.has(name));
  return {
    settings: result.settings,
    notes: [
      ...[...found.unused, ...result.unused].map((text) => note(text)),
      ...old.map((name) => `${name} is not used: its settings belong in gateway-device.yaml`),
    ],
    files: [...texts.keys()],
  };
}

/** `Raspberry Pi Imager: X is not used: reason`, from `X: reason`. */
function note(unused: string): string {
  const [what = '', ...reason] = unused.split(': ');
  const verb = /^(commands|further|hardware|fixed|sudo's rules)/.test(what) ? 'are' : 'is';
  return [`Raspberry Pi Imager: ${what} ${verb} not used`, ...reason].join(': ');
}

/** Who the device is and who gets in must be right; what only makes it comfortable may be left out. */
function settingsOf(
  found: Omit<Found, 'unused'>,
  file: string,
): { settings: Partial<Settings>; unused: string[] } {
  const unused: string[] = [];
  const must = (schema: z.ZodType<string>, value: string | undefined, what: string) => {
    const problem = value === undefined ? undefined : problemOf(schema, value);
    if (problem) throw damaged(file, `${what} ${problem}`);
    return value;
  };
  const may = (schema: z.ZodType<string>, value: string | undefined, what: string) => {
    const problem = value === undefined ? undefined : problemOf(schema, value);
    if (problem) unused.push(`${what}: it ${problem}`);
    return problem ? undefined : value;
  };
  const { wifi } = found;
  const regulatory = may(country, found.country?.toUpperCase(), "the Wi-Fi's country");
  const layout = may(keyboardLayout, found.layout, 'the keyboard layout');
  const variant = layout && may(keyboardVariant, found.variant, 'the keyboard variant');
  for (const key of found.keys ?? []) {
    const problem = publicKeyProblem(key);
    if (problem) throw damaged(file, `an SSH key ${problem}`);
  }
  const admin = defined({
    name: must(adminName, found.user, 'the user name'),
    ssh_authorized_keys: found.keys?.length ? [...found.keys] : undefined,
    password_hash: must(passwordHash, found.passwordHash, "the user's password"),
  });
  const network = defined({
    ssid: must(ssid, wifi?.ssid, "the Wi-Fi's name"),
    password: must(wifiPassword, wifi?.password, "the Wi-Fi's password"),
    hidden: wifi?.hidden || undefined,
  });
  if (wifi && !regulatory)
    unused.push(
      'the Wi-Fi: without a country (ISO 3166-1) the radio stays off; `network:` in gateway-device.yaml has both',
    );
  const settings = defined({
    // Names of hosts are alike in both cases (RFC 4343); ours are in lower case.
    hostname: must(deviceName, found.hostname?.toLowerCase(), 'the host name'),
    admin: Object.keys(admin).length > 0 ? admin : undefined,
    locale: may(locale, found.locale, 'the locale'),
    timezone: may(timeZone, found.timezone, 'the time zone'),
    keyboard: layout === undefined ? undefined : defined({ layout, variant: variant || undefined }),
    network: regulatory === undefined ? undefined : { wifi: { country: regulatory, ...network } },
  });
  return { settings, unused };
}

function problemOf(schema: z.ZodType<string>, value: string): string | undefined {
  const result = schema.safeParse(value);
  return result.success ? undefined : (result.error.issues[0]?.message ?? 'is wrong');
}

type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(
    Object.entries(value).filter(([, entry]) => entry !== undefined),
  ) as Defined<T>;
}

/**
 * The owner's own file and Imager's customisation in one: the own file wins key by key, and whoever has
 * a key in either gets in. A Wi-Fi network is taken whole from one of them, as its password belongs to it.
 */
export function withImager(own: Settings, imager: Partial<Settings>): Settings {
  const keys = [
    ...(own.admin?.ssh_authorized_keys ?? []),
    ...(imager.admin?.ssh_authorized_keys ?? []),
  ];
  const admin = {
    ...imager.admin,
    ...own.admin,
    ...(keys.length > 0 ? { ssh_authorized_keys: [...new Set(keys)] } : {}),
  };
  const wifi = own.network?.wifi?.ssid
    ? own.network.wifi
    : { ...imager.network?.wifi, ...own.network?.wifi };
  const network = {
    ...own.network,
    ...(wifi.country === undefined ? {} : { wifi: { ...wifi, country: wifi.country } }),
  };
  return {
    ...imager,
    ...own,
    ...(Object.keys(admin).length > 0 ? { admin } : {}),
    ...(Object.keys(network).length > 0 ? { network } : {}),
  };
}
