import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fetchHttps } from '../../ddns/http.ts';
import { quote, redact } from '../../ddns/redact.ts';
import { parseDdnsSettings, runProgram } from '../../ddns/service.ts';
import { secretsOf } from '../../ddns/settings.ts';
import { type AcmeOptions, proveName, runAcme } from './client.ts';
import { acmePlan } from './plan.ts';

/** pi-gateway-acme.service, and the hook that uacme(1) calls for each proof: `acme.mjs hook …`. */

/** systemd.exec(5): the unit's LoadCredential= and StateDirectory=. */
const { CREDENTIALS_DIRECTORY: credentials, STATE_DIRECTORY: folder } = process.env;
if (!credentials || !folder)
  throw new Error('Start it with: systemctl start pi-gateway-acme.service');

const say = (text: string) => process.stdout.write(`${text}\n`);
/** Milliseconds for one request to a provider. */
const timeout = 30_000;

/** uacme's hook is this program: it needs the places of its files. @throws Error with what uacme says. */
const runHooked: AcmeOptions['run'] = (command, args, { timeout: patience = 0 } = {}) =>
  new Promise((resolve, reject) => {
    execFile(
      command,
      [...args],
      {
        timeout: patience,
        env: {
          PATH: process.env.PATH ?? '/usr/bin:/bin',
          LC_ALL: 'C.UTF-8',
          CREDENTIALS_DIRECTORY: credentials,
          STATE_DIRECTORY: folder,
        },
      },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        reject(new Error(stderr.trim() || `${command} ended with ${error.code ?? error.signal}`));
      },
    );
  });

const ddns = parseDdnsSettings(await readFile(join(credentials, 'ddns.yaml'), 'utf8'));
const plan = acmePlan.parse(JSON.parse(await readFile(join(credentials, 'acme.json'), 'utf8')));
try {
  if (process.argv[2] === 'hook')
    process.exitCode = await proveName(process.argv.slice(3), ddns, plan.wait, {
      timeout,
      run: runProgram,
      exchange: (request) => {
        const [ca] = ddns.providers.flatMap((one) => ('ca' in one && one.ca ? [one.ca] : []));
        return fetchHttps(request, { ca, timeout });
      },
    });
  else {
    // What a CA or a provider refused is in its status, of which monitoring tells.
    await runAcme({
      plan,
      ddns,
      folder,
      hook: '/usr/lib/pi-gateway/acme-hook',
      run: runHooked,
      say,
    });
  }
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`${quote(redact(message, secretsOf(ddns)))}\n`);
  process.exitCode = 2;
}
