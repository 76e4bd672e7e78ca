import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { chromiumArguments } from '../testing/chromium.ts';
import type { LabHost } from './namespace.ts';

export type LabBrowser = { browser: Browser; close(): Promise<void> };

/**
 * Debian's Chromium on a host of the lab; it is steered by a pipe, which no network namespace cuts.
 * @param spki SHA-256 of the public key (base64) of the only certificate that is taken without an authority:
 * the browser's own store of authorities needs tools of NSS, so the test checks the chain itself.
 */
export async function openBrowser(host: LabHost, spki: string): Promise<LabBrowser> {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-browser-'));
  const program = join(folder, 'chromium');
  await writeFile(
    program,
    // pdeathsig (setpriv(1)): nothing outlives the test run.
    `#!/bin/sh\nexec setpriv --pdeathsig KILL ip netns exec '${host.namespace}' /usr/bin/chromium "$@"\n`,
  );
  await chmod(program, 0o755);
  const close = () => rm(folder, { recursive: true, force: true });
  try {
    const browser = await chromium.launch({
      executablePath: program,
      args: [...chromiumArguments, `--ignore-certificate-errors-spki-list=${spki}`],
    });
    return {
      browser,
      close: async () => {
        await browser.close();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}
