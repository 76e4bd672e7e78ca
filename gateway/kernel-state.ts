/** One peer of WireGuard as the kernel has it: wg(8), `show all dump`, without keys that are secret. */
export type PeerState = {
  interface: string;
  publicKey: string;
  /** Address and port that it was last heard from. */
  endpoint: string | undefined;
  allowedIps: readonly string[];
  /** Seconds since 1970; 0: never. */
  handshake: number;
  /** Bytes since the interface came up. */
  received: number;
  sent: number;
};

/**
 * What only root can read of the kernel and changes all the time: asked over a socket whose service knows
 * these words alone, and needs neither node nor memory between two questions.
 */
export type KernelState = {
  /** @throws GatewayError if the socket's service does not answer. */
  wireguard(): Promise<readonly PeerState[]>;
  /** Packets and bytes by name of the counter in table inet gateway. */
  counters(): Promise<Record<string, { packets: number; bytes: number }>>;
};
