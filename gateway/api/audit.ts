import type { Context } from './context.ts';

/**
 * Puts a change in the audit log. It is done already: where the log cannot be written, the journal has it.
 * Not awaited where the client should not wait for a helper that starts.
 */
export async function record(
  context: Context,
  action: string,
  details: Record<string, string | number | boolean | null>,
): Promise<void> {
  try {
    await context.call('audit.record', { action, details });
  } catch {
    const { name, via } = context.principal ?? { name: 'nobody', via: 'api' };
    context.system.say(`Not in the audit log: ${action} by ${name} (${via}, ${context.address})`);
  }
}
