/** What cutter.ts and its program on the device tell each other. */

/** A client that no job touches. */
export const keeper = 'cut-keep';

/** A change, and when it is cut off. */
export type Job = {
  kind: 'add' | 'zones' | 'rotate' | 'cancel' | 'config';
  /** The client that it is about. */
  name?: string;
  zones?: readonly string[];
  text?: string;
  /** Milliseconds after it was asked for; null: never. */
  after: number | null;
};
export type PowerJob = Job & { after: number };

/** What the device has, of all that these changes change. */
export type DeviceState = {
  /** Files in peers.d and clients, by name. */
  peers: Record<string, string>;
  held: Record<string, string>;
  interface: { key: string; psk: string; allowed: string[] }[];
  /** Elements of the firewall's sets of clients. */
  sets: Record<string, string[]>;
  settings: string | null;
  forwards: string | null;
  /** The chain in force that the settings' forwards make. */
  destinations: string;
  apt: string | null;
  /** Files that say that a change is under way, or was cut off. */
  halfway: string[];
  temporaries: string[];
};

/** What came of a job whose helper was killed. */
export type Cut = {
  job: Job;
  /** Of the answer; 0: there was none. */
  status: number;
  /** Milliseconds until the answer. */
  took: number;
  halfway: string[];
  /** Seconds. */
  recovered: number;
  after: DeviceState;
  /** Statuses of questions afterwards. */
  answers: number[];
};
