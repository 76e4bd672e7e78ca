import { readFileSync } from 'node:fs';
import { at, type System } from '../../firstboot/system.ts';
import type { Condition } from '../alerts/condition.ts';

/**
 * What everybody may know of the server's key and its replacement; wireguard-server writes it. The rest,
 * /etc/wireguard, is root's.
 */
export const serverStateFile = '/run/pi-gateway/vpn/server';

/** UDP port that the server listens on, if its key was ever replaced; else it is the image's. */
export function portIn(text: string | undefined): number | undefined {
  const port = Number(/^port=(\d+)$/m.exec(text ?? '')?.[1]);
  return port > 0 ? port : undefined;
}

export function serverPort(system: System): number | undefined {
  return portIn(textOf(system));
}

function textOf(system: System): string | undefined {
  try {
    return readFileSync(at(system, serverStateFile), 'utf8');
  } catch {
    return undefined;
  }
}

/** Milliseconds before the deadline at which the owner hears of who has not moved. */
const notice = 3 * 86_400_000;
/** Milliseconds for which those are told of that it has cut off. */
const told = 7 * 86_400_000;

/** What the owner should know of the replacement of the server's key. */
export function vpnConditions(system: System, now = Date.now()): Condition[] {
  const text = textOf(system);
  const field = (name: string) => new RegExp(`^${name}=(.+)$`, 'm').exec(text ?? '')?.[1]?.trim();
  const waiting = field('waiting');
  const deadline = field('deadline');
  const isNear = deadline !== undefined && Date.parse(deadline) - now < notice;
  const cutOff = field('cut_off');
  const isNew = now - Date.parse(field('ended') ?? '') < told;
  return [
    {
      source: 'vpn:server-key-waits',
      active: waiting !== undefined && isNear,
      severity: 'warning',
      text:
        waiting === undefined
          ? 'All VPN clients have the new key of the server'
          : `The old key of the VPN server ends ${deadline}, and these clients do not use the new one yet: ${waiting}. Hand them their new files: sudo pi-gateway vpn server status`,
      needs: [],
    },
    {
      source: 'vpn:server-key-ended',
      active: cutOff !== undefined && isNew,
      severity: 'warning',
      text: `The old key of the VPN server has ended, and cut off ${cutOff ?? 'nobody'}: they need new files (sudo pi-gateway vpn export NAME, or vpn rotate NAME)`,
      needs: [],
    },
  ];
}
