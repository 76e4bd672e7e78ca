type Ssh = (command: string, seconds?: number, input?: Uint8Array) => Promise<string>;

/** Asks the API at root's socket, as the commands do; the image has no curl. @throws if the answer is no JSON. */
export async function askDevice<T>(ssh: Ssh, path: string): Promise<T> {
  const program = `
    import { get } from 'node:http';
    get({ socketPath: '/run/pi-gatewayd/api.sock', path: '/api/v1${path}', headers: { host: 'localhost' } },
      (answer) => answer.pipe(process.stdout));`;
  const encoded = Buffer.from(program).toString('base64');
  return JSON.parse(
    await ssh(`sudo node -e "import('data:text/javascript;base64,${encoded}')"`, 60),
  ) as T;
}

/** Puts settings in force; an empty object is a device as its image was built. */
export async function applySettings(ssh: Ssh, settings: object): Promise<void> {
  const text = Object.keys(settings).length === 0 ? '' : JSON.stringify(settings, null, 2);
  await ssh('sudo pi-gateway config apply - > /dev/null', 240, Buffer.from(text));
}

/** Milliseconds since 1970 by the device's clock, and how far this machine's is ahead of it. */
export async function deviceClock(ssh: Ssh): Promise<{ device: number; ahead: number }> {
  await ssh('true');
  const begun = Date.now();
  const device = Number(await ssh('date +%s%3N'));
  return { device, ahead: (begun + Date.now()) / 2 - device };
}
