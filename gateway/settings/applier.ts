import type { Problem } from '../../firstboot/owner-yaml.ts';
import type { System } from '../../firstboot/system.ts';
import type { Settings, SettingsArea } from './schema.ts';

/** A mistake in settings that a schema can't say: key path and message. */
export type SettingsMistake = { path: readonly (string | number)[]; message: Problem['message'] };

/** How settings of some areas come into force. */
export type Applier = {
  /** `all`: any change of the file, be it of a comment. */
  areas: readonly SettingsArea[] | 'all';
  /** Mistakes that the device tells, e.g. an address in none of its networks. */
  check?(system: System, settings: Settings): Promise<SettingsMistake[]>;
  /**
   * Files that follow from the settings, by path on the device; null: there must be none. With them
   * written, and nothing else done, the settings are in force from the next start on.
   */
  files?(system: System, settings: Settings): Promise<Record<string, string | null>>;
  /**
   * Lets the programs concerned say whether they take the files, before any is written.
   * @throws GatewayError with what they say.
   */
  prove?(system: System, files: Record<string, string | null>): Promise<void>;
  /** Puts what the files say in force on the running device. @throws if that fails. */
  activate(system: System, changed: readonly string[]): Promise<void>;
};
