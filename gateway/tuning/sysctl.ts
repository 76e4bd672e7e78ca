import type { TuningSettings } from './settings.ts';

/** A kernel setting with why it is so, and who says so. stages/kernel has those that protect; none is in both. */
export type Sysctl = { key: string; value: string; why: string; source: string };

/** What the settings ask of the kernel. */
export function sysctls({ congestion, buffers, spread }: TuningSettings): Sysctl[] {
  return [
    {
      key: 'net.ipv4.tcp_congestion_control',
      value: congestion,
      why: "The gateway's own connections (backups, proxy, downloads) keep their rate on lines that lose packets; what it routes is its ends' business",
      source: 'Cardwell et al., BBR, ACM Queue 14(5), 2016; paces by itself since Linux 4.13',
    },
    ...(buffers
      ? [
          {
            key: 'net.core.rmem_max',
            value: '7500000',
            why: 'A program may ask for as much as comes in while it waits: 0.06 s at 1 Gbit/s',
            source: 'quic-go, wiki "UDP Buffer Sizes"; Linux has 212992',
          },
          {
            key: 'net.core.wmem_max',
            value: '7500000',
            why: 'The same for what is sent',
            source: 'quic-go, wiki "UDP Buffer Sizes"',
          },
          {
            key: 'net.ipv4.tcp_notsent_lowat',
            value: '131072',
            why: "What the proxy and the API have not sent yet stays theirs, not the kernel's: less memory, newer data first",
            source: 'Linux, networking/ip-sysctl.rst',
          },
          {
            key: 'net.ipv4.tcp_mtu_probing',
            value: '1',
            why: 'Connections live on where routers lose the messages about too large packets',
            source: 'RFC 4821; Linux, networking/ip-sysctl.rst',
          },
        ]
      : []),
    ...(spread
      ? [
          {
            key: 'net.core.rps_sock_flow_entries',
            value: String(flowEntries),
            why: 'Packets are worked on where their program runs (RFS)',
            source: 'Linux, networking/scaling.rst: connections at one time, as a power of two',
          },
        ]
      : []),
  ];
}

/** Connections that are remembered for RFS; a home has fewer at work at one time. */
export const flowEntries = 4096;
