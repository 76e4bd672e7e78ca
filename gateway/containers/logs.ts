import type { System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { withoutSecretsLike } from '../logs/redact.ts';

/** What a container has said last; Podman's driver for the journal marks each line with its name. */
export async function showLogs(system: System, name: string, lines: number): Promise<string> {
  if (!/^[a-z0-9-]{2,70}$/.test(name) || !(lines >= 1 && lines <= 10_000))
    throw new GatewayError(
      'That is no container’s name, or too many lines',
      'See the names: sudo pi-gateway container status',
      'refused',
    );
  const text = await system.run('journalctl', [
    '--no-pager',
    '--output=short-iso',
    `--lines=${lines}`,
    `CONTAINER_NAME=${name}`,
  ]);
  return withoutSecretsLike(text.trimEnd());
}
