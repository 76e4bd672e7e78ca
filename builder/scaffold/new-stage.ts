import { access, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BuildError, exitCode } from '../errors.ts';

/** Writes a stage that builds, boots and passes its tests as it is. @returns paths below the project. */
export async function newStage(root: string, name: string): Promise<string[]> {
  if (!/^[a-z][a-z0-9-]{0,30}$/.test(name))
    throw new BuildError({
      what: `'${name}' is no name for a stage`,
      fix: 'Take a-z, 0-9 and -, starting with a letter, e.g. hello',
      code: exitCode.usage,
    });
  const files = templates(name);
  for (const path of Object.keys(files)) {
    const there = await access(join(root, path)).then(
      () => true,
      () => false,
    );
    if (there)
      throw new BuildError({
        what: `There is a stage '${name}' already`,
        where: path,
        fix: 'Take another name, or remove the old one',
        code: exitCode.usage,
      });
  }
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
  return Object.keys(files);
}

function templates(name: string): Record<string, string> {
  const variable = name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  return {
    [`stages/${name}/stage.ts`]: `import { z } from 'zod';
import { defineStage } from '../define.ts';

export const ${variable} = defineStage({
  name: '${name}',
  summary: 'Says hello at login',
  options: z.strictObject({
    greeting: z.string().default('Hello from ${name}').describe('What it says'),
  }),
  // Debian packages, systemd units and code, where the stage has any:
  // packages: () => ['htop'],
  // services: () => ({ enable: ['htop.service'] }),
  // run: async (chroot, options) => { await chroot.run('true'); },
});
`,
    [`overlays/${name}/etc/update-motd.d/60-${name}.hbs`]: `#!/bin/sh
echo {{sh options.greeting}}
`,
    [`stages/${name}/stage.test.ts`]: `import { expect, test } from 'vitest';
import { renderStage } from '../testing.ts';
import { ${variable} } from './stage.ts';

test('the greeting of gateway.yaml is said, quoted for the shell', async () => {
  const files = await renderStage(${variable}, { greeting: "it's me" });
  expect(files.text('/etc/update-motd.d/60-${name}')).toContain("echo 'it'\\\\''s me'");
});
`,
    [`stages/${name}/boot.test.ts`]: `import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

test('the device has the greeting', async () => {
  expect(await device().ssh('cat /etc/update-motd.d/60-${name}')).toContain('Hello from ${name}');
});
`,
  };
}
