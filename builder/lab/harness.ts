import { beforeEach, inject, onTestFailed } from 'vitest';
import type { RunResult } from '../exec.ts';
import { keepEvidence } from '../qemu/evidence.ts';
import { bootSeconds } from '../qemu/harness-facts.ts';
import { closeSsh, ssh, sshResult, waitForSsh } from '../qemu/ssh.ts';
import { adminTarget, consoleText, type LabFacts, labHost } from './lab.ts';
import type { LabHost } from './namespace.ts';

declare module 'vitest' {
  interface ProvidedContext {
    lab: LabFacts;
    /** Tree with the scanners, see probes.ts. */
    probes: string;
  }
}

/** The running router and the hosts around it, for a lab test. */
export type LabDevice = {
  facts: LabFacts;
  probes: string;
  wan: LabHost;
  lan: LabHost;
  guest: LabHost;
  dmz: LabHost;
  /** A WireGuard client's host, two hops beyond wan. */
  peer: LabHost;
  /** Output of a shell command of the admin on the device; throws if it fails. */
  ssh(command: string, seconds?: number, input?: Uint8Array): Promise<string>;
  sshResult(command: string): Promise<RunResult>;
  /**
   * Restarts the device without any warning, as a power cut does, and waits for SSH.
   * @param trigger Command that returns at once and does that in the next seconds.
   */
  powerCycle(trigger?: string): Promise<void>;
};

/** Called once, at the top of a lab test's file; evidence of a failure goes to output/boot-test/. */
export function lab(): LabDevice {
  const facts = inject('lab');
  const target = adminTarget(facts);
  beforeEach(() => {
    onTestFailed(async ({ task }) => {
      const state = await sshResult(
        target,
        'sudo journalctl -b --no-pager | tail -n 2000; sudo nft list ruleset',
      ).catch(() => undefined);
      await keepEvidence(`lab ${task.name} journal`, state?.stdout ?? 'no SSH');
      await keepEvidence(`lab ${task.name} console`, await consoleText(facts));
    });
  });
  return {
    facts,
    probes: inject('probes'),
    wan: labHost(facts, 'wan'),
    lan: labHost(facts, 'lan'),
    guest: labHost(facts, 'guest'),
    dmz: labHost(facts, 'dmz'),
    peer: labHost(facts, 'peer'),
    ssh: (command, seconds, input) => ssh(target, command, seconds, input),
    sshResult: (command) => sshResult(target, command),
    powerCycle: async (trigger) => {
      const bootId = 'cat /proc/sys/kernel/random/boot_id';
      const before = await ssh(target, bootId);
      // sysrq-trigger "b": at once, without syncing or unmounting (kernel, admin-guide/sysrq.rst).
      await sshResult(
        target,
        trigger ?? "sudo sh -c '(sleep 1; echo b > /proc/sysrq-trigger) > /dev/null 2>&1 &'",
      );
      await closeSsh(target);
      // Log-ins under emulation would slow down what is to be cut off.
      if (trigger !== undefined) await new Promise((resolve) => setTimeout(resolve, 12_000));
      const until = Date.now() + bootSeconds * 1000;
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 3000));
        await waitForSsh(target, (until - Date.now()) / 1000);
        const now = await sshResult(target, bootId).catch(() => undefined);
        if (now?.exitCode === 0 && now.stdout !== before) return;
        await closeSsh(target);
      }
    },
  };
}
