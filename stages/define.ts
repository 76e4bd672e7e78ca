import type { z } from 'zod';

/** Networks that the gateway tells apart; stages/firewall/zones.ts says what passes between them. */
export const zones = ['wan', 'lan', 'vpn', 'containers', 'dmz', 'guest'] as const;
export type Zone = (typeof zones)[number];

/** A port of the gateway itself that a stage's service listens on. */
export type Port = {
  port: number;
  protocol: 'tcp' | 'udp';
  /** Zones that it answers to; none for one that only the gateway itself uses. */
  zones: readonly Zone[];
  /** The option that sets it, for messages: key path below the stage. */
  path: readonly (string | number)[];
  /** The service, e.g. `ssh`. Two stages may have the same port only for the same service. */
  name: string;
  /** Where an extension's manifest has it, for messages, unless the configuration sets another. */
  declared?: { file: string; position?: { line: number; column: number }; line?: string };
};

export type StagePort = Port & { stage: string };

/** What every stage, template and check may know of the whole configuration. */
export type GatewayConfig = {
  name: string;
  /** Options of every enabled stage, by stage name. */
  stages: Record<string, unknown>;
  /** Ports of every enabled stage. */
  ports: readonly StagePort[];
};

/** The device's root filesystem while it is built: every path is one on the device. */
export type Chroot = {
  /** Where the root lies on the host; for reading. Prefer the methods below. */
  readonly root: string;
  /** Runs a command in the chroot, logged to the stage's log. Throws when it fails. */
  run(
    command: string,
    args?: readonly string[],
    options?: { input?: string; env?: Record<string, string> },
  ): Promise<string>;
  /** Writes a file (mode 0644 unless said), making its directories. */
  write(path: string, content: string | Uint8Array, mode?: number): Promise<void>;
  /** The file's text; throws when there is none. */
  read(path: string): Promise<string>;
  exists(path: string): Promise<boolean>;
  remove(path: string): Promise<void>;
};

export type Services = {
  /** systemd units to enable, as `systemctl enable` takes them. */
  enable?: readonly string[];
  disable?: readonly string[];
  mask?: readonly string[];
};

export type FileAttributes = {
  /** Octal mode, e.g. 0o440. */
  mode?: number;
  /** Names on the device, `root:root` unless said. */
  owner?: string;
};

/** A mistake that a stage finds in its options: key path below the stage (`['port']`) and message. */
export type OptionProblem = { path: readonly (string | number)[]; message: string };

export type StageDefinition<Schema extends z.ZodType = z.ZodType> = {
  /** Lower case; also the name of overlays/<name>/ and of its key in gateway.yaml. */
  name: string;
  /** One line, shown by `stage ls`. */
  summary: string;
  /** Stages that must be applied before this one; they must be enabled. */
  needs?: readonly string[];
  /** False for a stage that is off unless gateway.yaml turns it on. Default true. */
  enabledByDefault?: boolean;
  /** zod object; every key has a default and a `.describe()` (they make the reference and JSON Schema). */
  options: Schema;
  /** Debian packages to install (without Recommends). */
  packages?(options: z.output<Schema>): readonly string[];
  /** Packages to purge first, where the base has them: what the stage replaces, or nobody needs. */
  purge?(options: z.output<Schema>): readonly string[];
  /** Values computed from the options; templates see them as `derived`. Pure. */
  derive?(options: z.output<Schema>, config: GatewayConfig): Record<string, unknown>;
  services?(options: z.output<Schema>): Services;
  /** Ports that its services listen on: the firewall opens these, and no two stages may share one. */
  ports?(options: z.output<Schema>): readonly Port[];
  /** Mode and owner of overlay files that are not 0644/0755 root:root, by path on the device. */
  files?: Record<string, FileAttributes>;
  /** TypeScript programs that are bundled by esbuild into one file for the device's nodejs. */
  bundles?: readonly { entry: string; path: string; mode?: number }[];
  /** Web pages, bundled with all that they refer to into a folder on the device (builder/overlay/assets.ts). */
  assets?: readonly { html: string; worker?: string; folder: string }[];
  /** Checks that a schema can't say, e.g. across stages. */
  validate?(options: z.output<Schema>, config: GatewayConfig): readonly OptionProblem[];
  /** Only for what files, packages and services cannot say. */
  run?(chroot: Chroot, options: z.output<Schema>, config: GatewayConfig): Promise<void>;
};

/** Types a stage; the options' type flows from the schema into every function. */
export function defineStage<Schema extends z.ZodType>(
  stage: StageDefinition<Schema>,
): StageDefinition<Schema> {
  return stage;
}
