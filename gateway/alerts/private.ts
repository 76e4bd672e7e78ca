import { specialKind } from '../ddns/address.ts';

const kinds = new Set(['private (RFC 1918)', 'private (RFC 4193)', 'link-local', 'loopback']);

/** Whether what is sent to this address stays in the owner's own networks. */
export function isPrivate(address: string): boolean {
  return kinds.has(specialKind(address) ?? '');
}
