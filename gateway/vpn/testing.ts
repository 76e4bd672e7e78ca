import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../builder/exec.ts';
import { project } from '../../builder/testing/build.ts';
import type { System } from '../../firstboot/system.ts';
import { TestDevice } from '../../firstboot/testing.ts';
import { firewall } from '../../stages/firewall/stage.ts';
import { renderStage } from '../../stages/testing.ts';
import { wireguard } from '../../stages/wireguard/stage.ts';

/** The image's files, made once for all tests of a file. */
const rendered = (async () => {
  const lan = { interfaces: ['eth1'], address4: '192.168.10.1/24', address6: 'fd10::1/64' };
  const zones = await renderStage(firewall, { zones: { lan } }, [wireguard]);
  return {
    env: (await renderStage(wireguard)).text('/usr/share/pi-gateway/wireguard.env'),
    table: zones.text('/usr/share/pi-gateway/firewall.json'),
  };
})();

/**
 * A device in a folder whose clients are looked after by the image's own wireguard-peer. Its wg(8) is a
 * stand-in that keeps peers in a file, so that a test sees what the interface would have; stages/wireguard's
 * own tests run the program with a real one.
 */
export class VpnDevice {
  readonly device: TestDevice;
  readonly #tools: string;
  system: System;
  /** What qrencode was given. */
  qrInput: string | undefined;

  private constructor(device: TestDevice, tools: string) {
    this.device = device;
    this.#tools = tools;
    this.system = this.on(device.root);
  }

  /** The same device with another disk; /run is gone with the power. */
  on(root: string): System {
    return {
      ...this.device.system,
      root,
      run: (command, args, options) => this.#run(root, command, args, options),
    };
  }

  /** Has a shell command run before each program that changes the disk, as wireguard-peer starts them. */
  async beforeEachChange(command: string): Promise<void> {
    for (const name of ['mv', 'rm', 'sync'])
      await run(
        'sh',
        ['-c', `cat > ${join(this.#tools, name)}; chmod 755 ${join(this.#tools, name)}`],
        {
          input: `#!/bin/sh\n${command}\nexec /bin/${name} "$@"\n`,
        },
      );
  }

  /** The interface after a start, without peers. */
  async restart(): Promise<void> {
    await rm(join(this.#tools, 'interface'), { force: true });
  }

  static async make(): Promise<VpnDevice> {
    const device = await TestDevice.make();
    const tools = await mkdtemp(join(tmpdir(), 'pi-gateway-wg-'));
    const made = new VpnDevice(device, tools);
    const { env, table } = await rendered;
    await device.put('usr/share/pi-gateway/wireguard.env', env);
    await device.put('usr/share/pi-gateway/firewall.json', table);
    const key = await run('wg', ['genkey']);
    const pub = await run('wg', ['pubkey'], { input: key.stdout });
    await device.put('etc/wireguard/server.key', key.stdout);
    await device.put('etc/wireguard/server.pub', pub.stdout);
    await run('sh', ['-c', `cat > ${join(tools, 'wg')}; chmod 755 ${join(tools, 'wg')}`], {
      input: fakeWg(join(tools, 'interface')),
    });
    return made;
  }

  async remove(): Promise<void> {
    await this.device.remove();
    await rm(this.#tools, { recursive: true });
  }

  /** Peers of the interface: lines of public key, preshared key and addresses. */
  async interface(): Promise<string[]> {
    const { stdout } = await run('sh', [
      '-c',
      `cat ${join(this.#tools, 'interface')} 2> /dev/null || :`,
    ]);
    return stdout.split('\n').filter(Boolean).sort();
  }

  /** Statements for nft(8) that fill the firewall's sets. */
  async sets(): Promise<string> {
    return await this.device.read('run/pi-gateway/nftables.d/vpn.nft').catch(() => '');
  }

  async #run(
    root: string,
    command: string,
    args: readonly string[],
    options: { input?: string } = {},
  ): Promise<string> {
    if (command === '/usr/lib/pi-gateway/wireguard-peer' || command === 'wg') {
      this.device.calls.push([command, ...args].join(' '));
      const script = join(project, 'overlays/wireguard', command);
      const { stdout } = await run(command === 'wg' ? join(this.#tools, 'wg') : script, args, {
        ...(options.input === undefined ? {} : { input: options.input }),
        env: {
          // No nft: the host's own rules are nobody's business.
          PATH: `${this.#tools}:/usr/bin:/bin`,
          PAUSE: '0.05',
          PEERS: join(root, 'etc/wireguard/peers.d'),
          RUN: join(root, 'run/pi-gateway'),
          SETTINGS: join(root, 'usr/share/pi-gateway/wireguard.env'),
        },
      });
      return stdout;
    }
    if (command === 'qrencode') {
      this.device.calls.push([command, ...args].join(' '));
      this.qrInput = options.input;
      return args.includes('--type=ansiutf8') ? '▄▄▄' : '<svg/>';
    }
    return await this.device.system.run(command, args, options);
  }
}

/** wg(8) as far as wireguard-peer uses it; its interface is a file. */
const fakeWg = (file: string) => `#!/bin/sh
set -eu
state=${file}
touch $state
case $1 in
  pubkey) exec /usr/bin/wg pubkey ;;
  genpsk) head -c 32 /dev/urandom | base64 -w0 ;;
  show)
    case $3 in
      dump)
        printf 'PRIVATE\\tPUBLIC\\t51820\\toff\\n'
        awk '{ ips = $3 == "" ? "(none)" : $3; print $1 "\\t" $2 "\\t(none)\\t" ips "\\t0\\t0\\t0\\toff" }' $state ;;
      latest-handshakes) awk -v i="$2" '{ print (i == "all" ? "wg0\\t" : "") $1 "\\t0" }' $state ;;
    esac ;;
  addconf)
    awk -v state=$state '
      function flush() { if (key != "") { psk = psk == "" ? "(none)" : psk; line[key] = key " " psk " " ips; order[++n] = key }; key = psk = ips = "" }
      BEGIN { while ((getline l < state) > 0) { split(l, p, " "); line[p[1]] = l; order[++n] = p[1] } }
      /^\\[Peer\\]/ { flush(); next }
      /^PublicKey/ { key = $3 }
      /^PresharedKey/ { psk = $3 }
      /^AllowedIPs/ { sub(/^AllowedIPs *= */, ""); gsub(/ /, ""); ips = $0 }
      END { flush(); for (i = 1; i <= n; i++) if (!(order[i] in done)) { done[order[i]] = 1; print line[order[i]] > (state ".new") } }
    ' "$3"
    if [ -e $state.new ]; then mv $state.new $state; fi ;;
  set)
    shift 2
    while [ $# -gt 0 ]; do
      if [ "$1" = peer ] && [ "\${3:-}" = remove ]; then
        grep -vF "$2" $state > $state.new || true
        mv $state.new $state
        shift 3
      else
        shift
      fi
    done ;;
esac
`;
