import { once, requireLive, settings } from '../facts.ts';

export type Listener = {
  protocol: 'tcp' | 'udp';
  /** As /proc/net has it, in hexadecimal. */
  address: string;
  port: number;
  loopback: boolean;
};

/** 127.0.0.0/8 in the host's byte order (the devices and builders are little-endian), and ::1. */
const loopback = /^(.{6}7F|0{24}01000000|0000000000000000FFFF0000.{6}7F)$/;

/** Sockets that wait for others: TCP in state LISTEN (0A), UDP without a peer: proc(5). */
export const listening = once((facts): readonly Listener[] => {
  requireLive(facts);
  if (!/local_address/.test(facts.tree.read('/proc/net/tcp')))
    throw new Error('/proc/net/tcp is no table of sockets');
  return (['tcp', 'tcp6', 'udp', 'udp6'] as const).flatMap((name) =>
    // A kernel without IPv6 has no tcp6; without tcp nothing is known.
    facts.tree.stat(`/proc/net/${name}`) || !name.endsWith('6')
      ? settings(facts.tree.read(`/proc/net/${name}`))
          .slice(1)
          .flatMap((line): Listener[] => {
            const [, local = '', , state] = line.split(/\s+/);
            const [address = '', port = ''] = local.split(':');
            const protocol = name.startsWith('tcp') ? 'tcp' : 'udp';
            if (state !== (protocol === 'tcp' ? '0A' : '07')) return [];
            return [
              { protocol, address, port: parseInt(port, 16), loopback: loopback.test(address) },
            ];
          })
      : [],
  );
});
